//! Writing blocks: many records in one write, each visible only when it is whole.

use std::collections::HashSet;
use std::io::IoSlice;

use atoll_core::Block;
use atoll_core::block::{IDENTITY, Multihash};

use super::error::StoreError;
use super::index::Place;
use super::log::Head;
use super::record::{Record, block_head_bytes};
use super::{Inner, Put};

/// The most blocks of one write: each takes two buffers, and the kernel takes 1,024.
const WRITE_BLOCKS_MAX: usize = 256;
/// The most bytes of one write, so that other writers get their turn.
const WRITE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A block that is to be written, and the damaged copy that it replaces.
struct Pending<'a> {
    block: &'a Block,
    replaces: Option<Place>,
    bytes: u64,
}

impl Inner {
    /// Stores blocks; says of each whether it was new, and how full the backlog is afterwards.
    pub(crate) fn write(&self, blocks: &[Block]) -> Result<(Vec<Put>, u64), StoreError> {
        let mut puts = Vec::with_capacity(blocks.len());
        let mut pending = Vec::new();
        let mut names = HashSet::new();
        let mut head = self.head();
        self.writable()?;
        for block in blocks {
            let hash = block.cid().hash();
            let place = self.lookup(hash)?;
            let present = place.is_some_and(|place| !place.damaged) || hash.code() == IDENTITY;
            if present && self.gate.is_watching() {
                self.gate.touch(hash);
            }
            if present || (blocks.len() > 1 && !names.insert(hash)) {
                puts.push(Put::Present);
                continue;
            }
            puts.push(Put::Stored);
            let bytes = block_head_bytes(hash).saturating_add(block.bytes().len() as u64);
            pending.push(Pending { block, replaces: place, bytes });
        }
        let mut rest = pending.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.fitting(&head, rest));
            self.write_group(&mut head, now)?;
            rest = later;
        }
        let backlog = self.backlog(&head);
        Ok((puts, backlog))
    }

    /// How many of the blocks go into one write: at least one.
    fn fitting(&self, head: &Head, pending: &[Pending<'_>]) -> usize {
        let mut room = self.room(head).min(WRITE_BYTES_MAX);
        let fits = |next: &&Pending<'_>| match room.checked_sub(next.bytes) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        pending.iter().take(WRITE_BLOCKS_MAX).take_while(fits).count().max(1).min(pending.len())
    }

    fn write_group(&self, head: &mut Head, group: &[Pending<'_>]) -> Result<(), StoreError> {
        let bytes = group.iter().fold(0u64, |sum, next| sum.saturating_add(next.bytes));
        self.check_budget(head, bytes)?;
        let heads: Vec<Vec<u8>> = group.iter().map(|next| self.record_head(next.block)).collect();
        let parts = heads.iter().zip(group).flat_map(|(head, next)| [head.as_slice(), next.block.bytes().as_ref()]);
        // An empty part would end a vectored write early.
        let mut parts: Vec<_> = parts.filter(|part| !part.is_empty()).map(IoSlice::new).collect();
        let (pack, start) = self.append(head, &mut parts, bytes)?;
        let mut table = self.table_mut();
        let mut offset = start;
        for next in group {
            let len = u32::try_from(next.block.bytes().len()).unwrap_or(u32::MAX);
            let place = Place { pack: pack.number, offset, len, damaged: false };
            table.set_block(next.block.cid().hash(), next.replaces, Some(place));
            offset = offset.saturating_add(u32::try_from(next.bytes).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    fn check_budget(&self, head: &Head, needed: u64) -> Result<(), StoreError> {
        let bytes_max = self.options.bytes_max;
        if head.used.saturating_add(needed) > bytes_max {
            return Err(StoreError::BudgetExceeded { needed, used: head.used, bytes_max });
        }
        Ok(())
    }

    fn record_head(&self, block: &Block) -> Vec<u8> {
        let hash: Multihash = *block.cid().hash();
        let len = u32::try_from(block.bytes().len()).unwrap_or(u32::MAX);
        let mut out = Vec::new();
        Record::Block { hash, len }.encode(&self.salt, &mut out);
        out
    }
}
