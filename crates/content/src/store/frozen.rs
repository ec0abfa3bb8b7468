//! Handing the folder to another process while this one goes on reading through its open packs.
//!
//! A frozen store is memory and descriptors only: the next process may collect garbage and remove packs, and what was
//! there at the moment of handing over can still be read here. A crash loses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use atoll_core::block::Multihash;
use bytes::Bytes;

use super::error::StoreError;
use super::gate::fingerprint;
use super::index::Place;
use super::pack::{Pack, is_intact};
use super::read::{damaged, read_data};
use super::{Inner, Store};

/// How many entries of the index are copied at a time.
const PAGE_BLOCKS: usize = 16 * 1024;

/// The blocks of a store at one moment; clones share them.
#[derive(Clone, Debug)]
pub struct FrozenStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    packs: BTreeMap<u32, Arc<Pack>>,
    /// Sorted by fingerprint; 32 bytes a block.
    places: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    fingerprint: [u64; 2],
    pack: u32,
    offset: u32,
    len: u32,
}

impl FrozenStore {
    /// As [`Store::get`].
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and what the disk says.
    pub fn get(&self, hash: &Multihash) -> Result<Option<Bytes>, StoreError> {
        let Some((pack, place)) = self.place(hash) else { return Ok(None) };
        let data = read_data(pack, hash, &place)?.filter(|data| is_intact(hash, data));
        data.map(Some).ok_or_else(|| damaged(hash, &place))
    }

    /// The size of a block in bytes, `None` when it was not there.
    pub fn len_of(&self, hash: &Multihash) -> Option<u64> {
        self.place(hash).map(|(_, place)| u64::from(place.len))
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> usize {
        self.shared.places.len()
    }

    fn place(&self, hash: &Multihash) -> Option<(&Pack, Place)> {
        let places = &self.shared.places;
        let at = places.binary_search_by_key(&halves(hash), |entry| entry.fingerprint).ok()?;
        let Entry { pack, offset, len, .. } = *places.get(at)?;
        let place = Place { pack, offset, len, damaged: false };
        Some((self.shared.packs.get(&pack)?, place))
    }
}

fn halves(hash: &Multihash) -> [u64; 2] {
    let print = fingerprint(hash);
    let low = u64::try_from(print & u128::from(u64::MAX)).unwrap_or_default();
    let high = u64::try_from(print >> 64).unwrap_or_default();
    [high, low]
}

impl Store {
    /// Gives the folder up for another process and keeps reading: from now on this store, and its clones, only read
    /// what was there at this moment. Everything is durable and indexed when this returns.
    ///
    /// # Errors
    /// [`StoreError::Collecting`] while garbage is collected, [`StoreError::HandedOver`] the second time, and what the
    /// disk says; after an error the store goes on as before.
    pub fn handover(&self) -> Result<FrozenStore, StoreError> {
        let inner = self.inner();
        let _alone = inner.gate.collect()?;
        inner.writable()?;
        inner.closing.store(true, Ordering::SeqCst);
        let frozen = inner.freeze().inspect_err(|_| inner.closing.store(false, Ordering::SeqCst))?;
        // Readers look here first, and the index is closed only after that.
        if inner.frozen.set(frozen.clone()).is_err() {
            return Err(StoreError::HandedOver);
        }
        inner.index.close();
        inner.unlock();
        Ok(frozen)
    }
}

impl Inner {
    fn freeze(&self) -> Result<FrozenStore, StoreError> {
        // Whoever writes now has the head; whoever comes later is refused.
        drop(self.head());
        self.flush()?;
        let mut places = Vec::new();
        let mut after = None;
        loop {
            let page = self.index.page(after.as_ref(), PAGE_BLOCKS)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            places.extend(page.iter().filter(|(_, place)| !place.damaged).map(|(hash, place)| {
                let Place { pack, offset, len, .. } = *place;
                Entry { fingerprint: halves(hash), pack, offset, len }
            }));
        }
        places.sort_unstable_by_key(|entry| entry.fingerprint);
        places.shrink_to_fit();
        Ok(FrozenStore { shared: Arc::new(Shared { packs: self.table().packs.clone(), places }) })
    }
}
