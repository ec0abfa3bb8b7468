//! Reading everything once, to name exactly the blocks that are damaged. Changes nothing but their marks.

use std::collections::HashSet;

use atoll_core::block::Multihash;

use super::error::StoreError;
use super::index::Place;
use super::pack::{Found, PACK_HEADER_BYTES, Pack, pack_name};
use super::{DAMAGED_NAMED_MAX, DamagedBlock, Inner, Store};

/// How many entries of the index are checked at a time.
const PAGE_BLOCKS: usize = 4096;

/// What [`Store::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Blocks that are whole.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that are damaged, at most [`DAMAGED_NAMED_MAX`]; from now on they count as absent.
    pub damaged: Vec<DamagedBlock>,
    /// How many they are.
    pub damaged_count: u64,
    /// Bytes between records that are no records: traces of damage or of an old crash.
    pub gap_bytes: u64,
}

impl Store {
    /// Reads and hashes every block; `progress` gets the bytes read and all bytes.
    ///
    /// Packs are read from front to back, which the disk likes; memory grows by some ten bytes a block.
    ///
    /// # Errors
    /// When packs or index cannot be read.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport, StoreError> {
        let inner = self.inner();
        inner.writable()?;
        inner.flush()?;
        let packs: Vec<_> = inner.table().packs.values().cloned().collect();
        let total = packs.iter().fold(0u64, |sum, pack| sum.saturating_add(pack.len()));
        let mut report = VerifyReport::default();
        let (mut whole, mut done) = (HashSet::new(), 0u64);
        for pack in &packs {
            let mut scanner = pack.scan(PACK_HEADER_BYTES);
            while let Some(found) = scanner.next().map_err(|error| reading(pack, error))? {
                match found {
                    Found::Block { at, .. } => {
                        whole.insert((pack.number, at));
                    }
                    Found::Gap { at, end } => report.gap(at, end),
                    Found::Tail { at } => report.gap(at, pack.len()),
                    Found::Damaged { .. } | Found::Pin { .. } => {}
                }
                progress(done.saturating_add(scanner.position()), total);
            }
            done = done.saturating_add(pack.len());
        }
        let is_whole = |place: &Place| !place.damaged && whole.contains(&(place.pack, u64::from(place.offset)));
        inner.check_entries(&is_whole, &mut report)?;
        inner.flush()?;
        Ok(report)
    }
}

impl Store {
    /// Names every block to `each`, in the order of their hashes, damaged ones left out.
    ///
    /// # Errors
    /// When the index cannot be read or written.
    pub fn hashes(&self, each: &mut dyn FnMut(Multihash)) -> Result<(), StoreError> {
        let inner = self.inner();
        inner.writable()?;
        inner.flush()?;
        let mut after: Option<Multihash> = None;
        loop {
            let page = inner.index.page(after.as_ref(), PAGE_BLOCKS)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            page.iter().filter(|(_, place)| !place.damaged).for_each(|(hash, _)| each(*hash));
        }
    }
}

impl Inner {
    /// Goes through the index: what was not met whole in its place is read by itself, which also marks it.
    fn check_entries(&self, is_whole: &dyn Fn(&Place) -> bool, report: &mut VerifyReport) -> Result<(), StoreError> {
        let mut after: Option<Multihash> = None;
        loop {
            let page = self.index.page(after.as_ref(), PAGE_BLOCKS)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            for (hash, place) in &page {
                let result = if is_whole(place) { Ok(Some(u64::from(place.len))) } else { self.reread(hash) };
                match result {
                    Ok(Some(bytes)) => {
                        report.blocks = report.blocks.saturating_add(1);
                        report.bytes = report.bytes.saturating_add(bytes);
                    }
                    // Collected meanwhile.
                    Ok(None) => {}
                    Err(StoreError::Damaged { hash, pack, offset }) => {
                        report.damaged(DamagedBlock { hash: *hash, pack, offset });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    fn reread(&self, hash: &Multihash) -> Result<Option<u64>, StoreError> {
        Ok(self.read(hash)?.map(|data| data.len() as u64))
    }
}

impl VerifyReport {
    fn gap(&mut self, at: u64, end: u64) {
        self.gap_bytes = self.gap_bytes.saturating_add(end.saturating_sub(at));
    }

    fn damaged(&mut self, block: DamagedBlock) {
        self.damaged_count = self.damaged_count.saturating_add(1);
        if self.damaged.len() < DAMAGED_NAMED_MAX {
            self.damaged.push(block);
        }
    }
}

fn reading(pack: &Pack, error: std::io::Error) -> StoreError {
    StoreError::io("reading", pack_name(pack.number), error)
}
