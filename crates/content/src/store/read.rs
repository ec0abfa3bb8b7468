//! Reading: where a block lies, its bytes, and the check that they are the right ones.

use std::sync::Arc;

use atoll_core::block::{IDENTITY, Multihash};
use bytes::Bytes;

use super::Inner;
use super::error::{StoreError, hex};
use super::index::Place;
use super::pack::{Pack, is_intact, pack_name};
use super::record::block_head_bytes;

/// How often a read follows a block that garbage collection moves meanwhile. One pass moves a block once.
const MOVES_MAX: usize = 8;

impl Inner {
    /// Where a block lies, damaged or not.
    pub(crate) fn lookup(&self, hash: &Multihash) -> Result<Option<Place>, StoreError> {
        // In this order: a change leaves the table only after the index has it.
        match self.table().changed(hash) {
            Some(changed) => Ok(changed),
            None => self.index.get(hash),
        }
    }

    /// Notes that a block is found present, if that has to be noted; `false` when it is not here.
    pub(crate) fn touch(&self, hash: &Multihash) -> Result<bool, StoreError> {
        if !self.gate.is_watching() || hash.code() == IDENTITY {
            return Ok(true);
        }
        // Only what is here, so that asking for what is not costs no memory.
        let here = self.lookup(hash)?.is_some();
        if here {
            self.gate.touch(hash);
        }
        Ok(here)
    }

    /// As [`Inner::read`], and what an identity hash carries in itself.
    pub(crate) fn read_any(&self, hash: &Multihash) -> Result<Option<Bytes>, StoreError> {
        if hash.code() == IDENTITY { Ok(Some(Bytes::copy_from_slice(hash.digest()))) } else { self.read(hash) }
    }

    /// The block's bytes, hashed.
    pub(crate) fn read(&self, hash: &Multihash) -> Result<Option<Bytes>, StoreError> {
        for _ in 0..MOVES_MAX {
            let Some(place) = self.lookup(hash)? else { return Ok(None) };
            let Some(pack) = self.pack(place.pack) else { continue };
            let data = read_data(&pack, hash, &place)?;
            let intact = data.filter(|data| is_intact(hash, data));
            if intact.is_some() != place.damaged {
                return match intact {
                    Some(data) => Ok(Some(data)),
                    None => Err(damaged(hash, &place)),
                };
            }
            self.mark(hash, &place, intact.is_none())?;
            return intact.map(Some).ok_or_else(|| damaged(hash, &place));
        }
        // The pack of its place is gone for good, though the packs were all there when the store was opened.
        Ok(None)
    }

    pub(crate) fn pack(&self, number: u32) -> Option<Arc<Pack>> {
        self.table().packs.get(&number).cloned()
    }

    /// Notes that a copy is damaged, or whole again, unless the block has moved meanwhile.
    pub(crate) fn mark(&self, hash: &Multihash, place: &Place, damaged: bool) -> Result<(), StoreError> {
        tracing::warn!(hash = hex(hash), pack = place.pack, offset = place.offset, damaged, "a block changed on disk");
        let _head = self.head();
        if self.lookup(hash)? == Some(*place) {
            self.table_mut().set_block(hash, Some(*place), Some(Place { damaged, ..*place }));
        }
        Ok(())
    }
}

/// The bytes at a place, `None` when the file ends before.
pub(crate) fn read_data(pack: &Pack, hash: &Multihash, place: &Place) -> Result<Option<Bytes>, StoreError> {
    let mut data = vec![0; place.len as usize];
    match pack.file.read_at(u64::from(place.offset).saturating_add(block_head_bytes(hash)), &mut data) {
        Ok(()) => Ok(Some(data.into())),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(StoreError::io("reading", pack_name(pack.number), error)),
    }
}

pub(crate) fn damaged(hash: &Multihash, place: &Place) -> StoreError {
    StoreError::Damaged { hash: Box::new(*hash), pack: place.pack, offset: u64::from(place.offset) }
}
