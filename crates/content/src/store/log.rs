//! The head of the log: the one place where packs grow, are made durable, and are claimed by the index.
//!
//! Order is everything here. Records are written first; then the packs are synced; then the index is committed with a
//! watermark up to which both hold. A crash between any two leaves a watermark that is too low, never too high.

use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::Inner;
use super::error::StoreError;
use super::index::Watermark;
use super::pack::{PACK_HEADER_BYTES, Pack, pack_name};

/// The most bytes and changes that may wait, in multiples of the flush limits, before a writer flushes by itself.
const BACKLOG_MAX: u64 = 4;

/// Where the log grows.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// The pack that is written to; none right after opening, or when the last write failed badly.
    pub(crate) pack: Option<Arc<Pack>>,
    /// The number of the next pack.
    pub(crate) next: u32,
    /// Up to where the table knows the log.
    pub(crate) known: Watermark,
    /// The watermark of the last commit, none when there was no commit yet.
    pub(crate) committed: Option<Watermark>,
    /// Bytes of all packs.
    pub(crate) used: u64,
    /// Bytes written since the last commit.
    pub(crate) unindexed: u64,
}

impl Inner {
    /// Takes the head of the log; whoever has it may change the table.
    pub(crate) fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses when this process must not write any more.
    pub(crate) fn writable(&self) -> Result<(), StoreError> {
        if self.closing.load(Ordering::SeqCst) {
            return Err(StoreError::HandedOver);
        }
        self.syncable()
    }

    fn syncable(&self) -> Result<(), StoreError> {
        if self.sync_failed.load(Ordering::Acquire) { Err(StoreError::SyncFailed) } else { Ok(()) }
    }

    /// How many bytes the current pack still takes; a new pack takes any record.
    pub(crate) fn room(&self, head: &Head) -> u64 {
        let len = head.pack.as_ref().map_or(0, |pack| pack.len());
        if len <= PACK_HEADER_BYTES { self.options.pack_bytes } else { self.options.pack_bytes.saturating_sub(len) }
    }

    /// Appends `parts`, together `bytes` long, and says in which pack and where. All or nothing is visible.
    pub(crate) fn append(
        &self,
        head: &mut Head,
        parts: &mut [IoSlice<'_>],
        bytes: u64,
    ) -> Result<(Arc<Pack>, u32), StoreError> {
        self.writable()?;
        let pack = match &head.pack {
            Some(pack) if bytes <= self.room(head) => pack.clone(),
            _ => self.rotate(head)?,
        };
        let at = pack.len();
        if let Err(error) = pack.file.write_at(at, parts) {
            // What was written of it must not be seen. If even cutting fails, nothing is written behind it any more.
            if pack.file.set_len(at).is_err() {
                head.pack = None;
            }
            return Err(StoreError::io("writing", pack_name(pack.number), error));
        }
        let end = at.saturating_add(bytes);
        pack.set_valid(end);
        self.reached(head, Watermark { pack: pack.number, offset: end });
        head.used = head.used.saturating_add(bytes);
        head.unindexed = head.unindexed.saturating_add(bytes);
        Ok((pack, u32::try_from(at).unwrap_or(u32::MAX)))
    }

    /// Notes up to where the table knows the log.
    pub(crate) fn reached(&self, head: &mut Head, end: Watermark) {
        head.known = end;
        self.gate.moved(end);
    }

    /// Begins a new pack.
    pub(crate) fn rotate(&self, head: &mut Head) -> Result<Arc<Pack>, StoreError> {
        let number = head.next;
        let pack = Pack::create(self.disk.as_ref(), number, self.salt);
        let pack = Arc::new(pack.map_err(|error| StoreError::io("creating", pack_name(number), error))?);
        head.next = number.checked_add(1).ok_or(StoreError::PacksMax)?;
        head.used = head.used.saturating_add(PACK_HEADER_BYTES);
        self.reached(head, Watermark { pack: number, offset: PACK_HEADER_BYTES });
        head.pack = Some(pack.clone());
        self.table_mut().packs.insert(number, pack.clone());
        Ok(pack)
    }

    /// Makes everything that was written durable.
    pub(crate) fn sync_packs(&self) -> Result<(), StoreError> {
        // One at a time: those who waited find their bytes synced, and nobody misses an error that is reported once.
        let _one = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.syncable()?;
        let packs: Vec<_> = self.table().packs.values().cloned().collect();
        for pack in packs {
            if let Err(error) = pack.sync() {
                // The kernel may have dropped the pages and call them clean: a second try would succeed and lie.
                self.sync_failed.store(true, Ordering::Release);
                tracing::error!(pack = pack.number, %error, "a pack could not be made durable");
                return Err(StoreError::SyncFailed);
            }
        }
        Ok(())
    }

    /// Syncs the packs and commits what the index does not know yet.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let _one = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let (changes, unindexed) = {
            let head = self.head();
            let table = self.table();
            if head.committed == Some(head.known) && table.waiting() == 0 {
                return Ok(());
            }
            (table.changes(head.known), head.unindexed)
        };
        self.sync_packs()?;
        self.index.commit(&self.salt, &changes)?;
        let mut head = self.head();
        head.committed = Some(changes.watermark);
        head.unindexed = head.unindexed.saturating_sub(unindexed);
        self.table_mut().committed(&changes);
        Ok(())
    }

    /// How full the backlog of uncommitted changes is, in multiples of the flush limits.
    pub(crate) fn backlog(&self, head: &Head) -> u64 {
        let changes = self.table().waiting() as u64;
        let by_count = changes.checked_div(self.options.flush_blocks.max(1)).unwrap_or_default();
        let by_bytes = head.unindexed.checked_div(self.options.flush_bytes.max(1)).unwrap_or_default();
        by_count.max(by_bytes)
    }

    /// Whether a writer has to flush by itself, since the flusher does not keep up.
    pub(crate) fn overdue(backlog: u64) -> bool {
        backlog >= BACKLOG_MAX
    }
}
