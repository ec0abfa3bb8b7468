//! Garbage collection: what no pin reaches is forgotten, and packs that are mostly garbage are rewritten.
//!
//! Readers and writers go on meanwhile. Live records are copied to the head of the log, synced and indexed before the
//! old pack is removed, so a crash at any point leaves each of them in at least one pack.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Display;
use std::io::IoSlice;
use std::sync::Arc;

use atoll_core::Cid;
use atoll_core::block::{Multihash, RAW};
use bytes::Bytes;

use super::disk::PACKS;
use super::error::StoreError;
use super::gate::fingerprint;
use super::index::{PinPlace, Place};
use super::log::Head;
use super::pack::{Found, Pack, is_intact, pack_name};
use super::read::read_data;
use super::record::{Pin, Record};
use super::{DAMAGED_NAMED_MAX, DamagedBlock, Inner, Store};

/// How many blocks are judged at a time; writers wait so long.
const PAGE_BLOCKS: usize = 1024;

/// Names the children of a block from its CID and bytes.
pub type Links<'a, E> = dyn Fn(&Cid, &Bytes) -> Result<Vec<Cid>, E> + 'a;

/// How far a collection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GcProgress {
    /// Blocks that pins reach, so far.
    Marked(u64),
    /// Blocks that were forgotten, so far.
    Swept(u64),
    /// A pack was rewritten and removed.
    Compacted {
        /// Its number.
        pack: u32,
    },
}

/// What a collection did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Blocks that pins reach.
    pub marked: u64,
    /// Blocks that were forgotten.
    pub removed_blocks: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Bytes that the disk has back: those of removed packs less what was copied out of them.
    pub freed_bytes: u64,
    /// Packs that were removed.
    pub packs_removed: u64,
    /// Blocks that were to be copied and turned out damaged, at most [`DAMAGED_NAMED_MAX`]; they have to be fetched again.
    pub damaged: Vec<DamagedBlock>,
}

impl Store {
    /// Forgets what no pin reaches and gives the space back. `links` names the children of a block that is not raw.
    ///
    /// What a [`super::Hold`] covers stays, and so does what is stored or found present while this runs. Space comes back pack by pack, once the share of garbage in
    /// one reaches [`super::Options::gc_dead_percent`].
    ///
    /// # Errors
    /// [`StoreError::Collecting`] when one is running already; [`StoreError::PinIncomplete`] and
    /// [`StoreError::Links`] before anything is deleted that the pins known at the start could reach; and what the disk
    /// says.
    pub fn gc<E: Display>(
        &self,
        links: &Links<'_, E>,
        progress: &mut dyn FnMut(GcProgress),
    ) -> Result<GcReport, StoreError> {
        let inner = self.inner();
        let _collecting = inner.gate.collect()?;
        inner.writable()?;
        let links = |cid: &Cid, bytes: &Bytes| links(cid, bytes).map_err(|error| error.to_string());
        let mut run = Run { inner, links: &links, progress, marked: HashSet::new(), report: GcReport::default() };
        run.mark()?;
        run.sweep()?;
        run.compact()?;
        Ok(run.report)
    }
}

/// One collection.
struct Run<'a> {
    inner: &'a Inner,
    links: &'a Links<'a, String>,
    progress: &'a mut dyn FnMut(GcProgress),
    marked: HashSet<u128>,
    report: GcReport,
}

impl Run<'_> {
    /// Marks what all present pins reach; returns how many pins had been set when it looked.
    fn mark(&mut self) -> Result<u64, StoreError> {
        let (roots, pinned) = {
            let table = self.inner.table();
            (table.pins.keys().map(|pin| pin.cid).collect::<BTreeSet<_>>(), table.pinned)
        };
        for root in roots {
            let mut stack = vec![root];
            while let Some(cid) = stack.pop() {
                self.mark_block(&root, &cid, &mut stack)?;
            }
        }
        (self.progress)(GcProgress::Marked(self.report.marked));
        Ok(pinned)
    }

    fn mark_block(&mut self, root: &Cid, cid: &Cid, stack: &mut Vec<Cid>) -> Result<(), StoreError> {
        let mark = fingerprint(cid.hash());
        if self.marked.insert(mark) {
            self.report.marked = self.report.marked.saturating_add(1);
        }
        // The same bytes may be raw in one DAG and have links in another, so that walking is noted by codec.
        if cid.codec() == RAW || !self.marked.insert(mark.wrapping_add(u128::from(cid.codec()))) {
            return Ok(());
        }
        let bytes = match self.inner.read_any(cid.hash()) {
            Ok(Some(bytes)) => bytes,
            Ok(None) | Err(StoreError::Damaged { .. }) => {
                return Err(StoreError::PinIncomplete { root: Box::new(*root), cid: Box::new(*cid) });
            }
            Err(error) => return Err(error),
        };
        let links = (self.links)(cid, &bytes).map_err(|cause| StoreError::Links { cid: Box::new(*cid), cause })?;
        stack.extend(links);
        if self.report.marked.is_multiple_of(PAGE_BLOCKS as u64) {
            (self.progress)(GcProgress::Marked(self.report.marked));
        }
        Ok(())
    }

    /// Forgets what is not marked.
    fn sweep(&mut self) -> Result<(), StoreError> {
        let mut pinned = self.mark()?;
        // From here on the index knows every block but those that are stored meanwhile, and those stay anyway.
        self.inner.flush()?;
        let mut after = None;
        loop {
            let page = self.inner.index.page(after.as_ref(), PAGE_BLOCKS)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            while !self.sweep_page(&page, pinned)? {
                pinned = self.mark()?;
            }
            (self.progress)(GcProgress::Swept(self.report.removed_blocks));
            let backlog = self.inner.backlog(&self.inner.head());
            if backlog > 0 {
                self.inner.flush()?;
            }
        }
    }

    /// Forgets the garbage of a page, unless a pin was set since the last marking: then `false`, and nothing is done.
    fn sweep_page(&mut self, page: &[(Multihash, Place)], pinned: u64) -> Result<bool, StoreError> {
        let _head = self.inner.head();
        if self.inner.table().pinned != pinned {
            return Ok(false);
        }
        // Kept until the page is done: who finds a block present has noted it by then, or finds it gone.
        let guarded = self.inner.gate.guarded();
        for (hash, _) in page.iter().filter(|(hash, _)| !self.marked.contains(&fingerprint(hash))) {
            let place = self.inner.lookup(hash)?.filter(|place| !guarded.protects(hash, place));
            if let Some(place) = place {
                self.inner.table_mut().set_block(hash, Some(place), None);
                self.report.removed_blocks = self.report.removed_blocks.saturating_add(1);
                self.report.removed_bytes = self.report.removed_bytes.saturating_add(u64::from(place.len));
            }
        }
        Ok(true)
    }

    /// Rewrites packs that are mostly garbage, the emptiest first, so that space comes back before it is needed.
    fn compact(&mut self) -> Result<(), StoreError> {
        self.inner.flush()?;
        for pack in self.inner.wasteful()? {
            let copied = self.compact_pack(&pack)?;
            self.inner.flush()?;
            self.inner.remove_pack(&pack)?;
            self.report.freed_bytes = self.report.freed_bytes.saturating_add(pack.len().saturating_sub(copied));
            self.report.packs_removed = self.report.packs_removed.saturating_add(1);
            (self.progress)(GcProgress::Compacted { pack: pack.number });
        }
        Ok(())
    }

    /// Copies what is live in a pack, and says how many bytes that were.
    fn compact_pack(&mut self, pack: &Pack) -> Result<u64, StoreError> {
        let mut copied = 0u64;
        let mut scanner = pack.scan(super::pack::PACK_HEADER_BYTES);
        while let Some(found) =
            scanner.next().map_err(|error| StoreError::io("reading", pack_name(pack.number), error))?
        {
            let bytes = match found {
                Found::Block { at, hash, data } => self.inner.move_block(pack, at, &hash, &data)?,
                Found::Damaged { .. } | Found::Gap { .. } | Found::Tail { .. } => 0,
                Found::Pin { at, pin, on } => self.inner.move_pin(pack, at, pin, on)?,
            };
            copied = copied.saturating_add(bytes);
        }
        let left = self.inner.table().live.get(&pack.number).is_some_and(|live| live.blocks > 0);
        let rescued = if left { self.rescue(pack)? } else { 0 };
        Ok(copied.saturating_add(rescued))
    }

    /// Moves blocks that the index finds in a pack though their records cannot be read, and names those that are lost.
    fn rescue(&mut self, pack: &Pack) -> Result<u64, StoreError> {
        self.inner.flush()?;
        let (mut after, mut copied) = (None, 0u64);
        loop {
            let page = self.inner.index.page(after.as_ref(), PAGE_BLOCKS)?;
            let Some((last, _)) = page.last() else { return Ok(copied) };
            after = Some(*last);
            for (hash, place) in page.iter().filter(|(_, place)| place.pack == pack.number) {
                let data = read_data(pack, hash, place)?.filter(|data| is_intact(hash, data));
                let Some(data) = data else {
                    self.give_up(hash, place)?;
                    continue;
                };
                let bytes = self.inner.move_block(pack, u64::from(place.offset), hash, &data)?;
                copied = copied.saturating_add(bytes);
            }
        }
    }

    fn give_up(&mut self, hash: &Multihash, place: &Place) -> Result<(), StoreError> {
        let _head = self.inner.head();
        if self.inner.lookup(hash)? == Some(*place) {
            self.inner.table_mut().set_block(hash, Some(*place), None);
            if self.report.damaged.len() < DAMAGED_NAMED_MAX {
                let offset = u64::from(place.offset);
                self.report.damaged.push(DamagedBlock { hash: *hash, pack: place.pack, offset });
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Packs whose share of garbage is over the limit, those with the least to copy first. The head gets a successor.
    fn wasteful(&self) -> Result<Vec<Arc<Pack>>, StoreError> {
        let mut head = self.head();
        let mut packs: Vec<_> = {
            let table = self.table();
            let live = |number| table.live.get(number).map_or(0, |live| live.bytes);
            let packs = table.packs.iter().map(|(number, pack)| (live(number), pack.clone()));
            packs.filter(|(live, pack)| is_wasteful(*live, pack.len(), self.options.gc_dead_percent)).collect()
        };
        packs.sort_by_key(|(live, pack)| (*live, pack.number));
        let current = head.pack.as_ref().map(|pack| pack.number);
        if packs.iter().any(|(_, pack)| Some(pack.number) == current || pack.number == head.known.pack) {
            self.rotate(&mut head)?;
        }
        Ok(packs.into_iter().map(|(_, pack)| pack).collect())
    }

    /// Copies a block to the head of the log, if this is the copy that the index points to, and says how many bytes.
    fn move_block(&self, pack: &Pack, at: u64, hash: &Multihash, data: &Bytes) -> Result<u64, StoreError> {
        let mut head = self.head();
        let place = self.lookup(hash)?;
        let Some(old) = place.filter(|place| place.pack == pack.number && u64::from(place.offset) == at) else {
            return Ok(0);
        };
        let record = Record::Block { hash: *hash, len: old.len };
        let (pack, offset) = self.append_record(&mut head, &record, data)?;
        let new = Place { pack: pack.number, offset, len: old.len, damaged: false };
        self.table_mut().set_block(hash, Some(old), Some(new));
        Ok(record.bytes())
    }

    /// Copies a pin to the head of the log if it holds; and the end of one while an older pack may still tell of it.
    fn move_pin(&self, pack: &Pack, at: u64, pin: Pin, on: bool) -> Result<u64, StoreError> {
        let mut head = self.head();
        let (place, oldest) = {
            let table = self.table();
            (table.pins.get(&pin).copied(), table.packs.keys().next().copied())
        };
        let here: PinPlace = (pack.number, u32::try_from(at).unwrap_or(u32::MAX));
        let moves = if on { place == Some(here) } else { place.is_none() && oldest < Some(pack.number) };
        if !moves {
            return Ok(0);
        }
        let record = Record::Pin { pin: pin.clone(), on };
        let (pack, offset) = self.append_record(&mut head, &record, &[])?;
        self.table_mut().set_pin(pin, on.then_some((pack.number, offset)));
        Ok(record.bytes())
    }

    fn append_record(&self, head: &mut Head, record: &Record, data: &[u8]) -> Result<(Arc<Pack>, u32), StoreError> {
        let mut bytes = Vec::new();
        record.encode(&self.salt, &mut bytes);
        let mut parts = [IoSlice::new(&bytes), IoSlice::new(data)];
        let parts = if data.is_empty() { &mut parts[..1] } else { &mut parts[..] };
        self.append(head, parts, record.bytes())
    }

    /// Removes a pack that nothing points to any more, neither in memory nor in the committed index.
    fn remove_pack(&self, pack: &Pack) -> Result<(), StoreError> {
        let mut head = self.head();
        let mut table = self.table_mut();
        table.packs.remove(&pack.number);
        table.live.remove(&pack.number);
        head.used = head.used.saturating_sub(pack.len());
        drop((table, head));
        let name = pack_name(pack.number);
        let removed = self.disk.remove(&name).and_then(|()| self.disk.sync_dir(PACKS));
        removed.map_err(|error| StoreError::io("removing", name, error))
    }
}

/// Whether at least `percent` of a pack is garbage.
fn is_wasteful(live: u64, len: u64, percent: u8) -> bool {
    let records = len.saturating_sub(super::pack::PACK_HEADER_BYTES);
    let dead = records.saturating_sub(live);
    dead > 0 && u128::from(dead) * 100 >= u128::from(records) * u128::from(percent.min(100))
}
