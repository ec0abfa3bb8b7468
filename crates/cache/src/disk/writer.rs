//! The thread that writes segments: at first it finds what they hold, then it adds what it is given and removes what is oldest. A crash
//! loses what it was not yet given, and the record that it is at.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Shared;
use super::index::Slot;
use super::record::{HEAD_BYTES_MAX, Head};
use super::segment::{HEADER_BYTES, Segment, path_of};
use crate::key::{Digest, Key};
use crate::purge::Left;
use crate::store::Entry;

/// URLs that are found again and kept in the index; over it the oldest segments are removed.
const URLS_MAX: usize = 4 * 1024 * 1024;
/// How long finding what segments hold may take; segments that were not read by then are removed.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// For how long nothing is written after the disk failed.
const PAUSE: Duration = Duration::from_secs(10);
/// Room that is left in a segment for a head, in bytes.
const HEAD_ROOM_BYTES: u64 = 64 * 1024;

/// What the writer is to do.
pub(super) enum Op {
    Write { key: Key, digest: Digest, entry: Arc<Entry>, bytes: u64 },
    Clear,
}

/// See the module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// The segment that grows.
    current: Option<Arc<Segment>>,
    /// The number of the next one.
    next: u32,
    paused: Option<Instant>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, current: None, next: 1, paused: None }
    }

    /// Works until nobody sends any more.
    pub(super) fn run(mut self, ops: &Receiver<Op>, recovered: &watch::Sender<bool>) {
        self.recover();
        recovered.send_replace(true);
        while let Ok(op) = ops.recv() {
            match op {
                Op::Write { key, digest, entry, bytes } => {
                    self.try_write(&key, &entry);
                    self.shared.is_done(digest, bytes);
                }
                Op::Clear => self.clear(),
            }
        }
        if let Some(segment) = &self.current
            && let Err(error) = segment.sync()
        {
            tracing::warn!(%error, "the cache could not be synced");
        }
    }

    /// Finds what the segments hold, the newest first.
    fn recover(&mut self) {
        let begun = Instant::now();
        let segments: Vec<_> = {
            let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
            segments.values().rev().cloned().collect()
        };
        self.next = segments.first().map_or(1, |newest| newest.number.saturating_add(1));
        for (n, segment) in segments.iter().enumerate() {
            let late = begun.elapsed() > RECOVERY_MAX || self.shared.index.len() > URLS_MAX;
            let found = if late { Err(io::ErrorKind::TimedOut.into()) } else { self.find(segment) };
            match found {
                Ok(end) if n == 0 && end > HEADER_BYTES => match segment.cut(end) {
                    Ok(()) => self.current = Some(Arc::clone(segment)),
                    Err(error) => tracing::warn!(%error, "an unfinished record could not be cut off"),
                },
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, segment = segment.number, "a segment of the cache cannot be read, and is removed");
                    self.remove(segment);
                }
            }
        }
        self.measure();
        let (urls, took) = (self.shared.index.len(), begun.elapsed());
        tracing::info!(urls, bytes = self.shared.bytes(), ?took, "the cache on disk is found again");
    }

    /// Finds what a segment holds; where that ends.
    fn find(&self, segment: &Segment) -> io::Result<u64> {
        segment.scan(|at, head| {
            let still = || !self.shared.purges.is_removed(head.digest, head.begun);
            self.shared.index.insert(head.digest, slot(segment, at, &head), still);
            true
        })
    }

    fn try_write(&mut self, key: &Key, entry: &Entry) {
        if self.paused.is_some_and(|until| Instant::now() < until) {
            self.shared.tally.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.paused = None;
        if let Err(error) = self.write(key, entry) {
            tracing::warn!(%error, "the cache on disk cannot be written; it is tried again in {PAUSE:?}");
            self.shared.tally.skipped.fetch_add(1, Ordering::Relaxed);
            self.give_up();
        }
    }

    /// Begins a new segment with the next record, later.
    fn give_up(&mut self) {
        self.paused = Instant::now().checked_add(PAUSE);
        if let Some(segment) = self.current.take() {
            // What is behind the last record does not count; a start reads as far as there are records.
            let _ = segment.cut(segment.len());
        }
    }

    fn write(&mut self, key: &Key, entry: &Entry) -> io::Result<()> {
        let Some(body) = entry.fill.whole() else { return Ok(()) };
        let gone = self.shared.purges.left(key.url(), entry.groups(), entry.begun) == Left::Nothing;
        if gone || self.shared.purges.is_removed(key.digest(), entry.begun) {
            return Ok(());
        }
        let segment = self.room(body.len)?;
        let Some(head) = Head::of(key, entry, body, &segment.salt) else { return Ok(()) };
        self.append(&segment, &head, body.parts.iter().map(|part| &part[..]), |slot| {
            let still = || !self.shared.purges.is_removed(head.digest, head.begun);
            self.shared.index.insert(head.digest, slot, still);
        })?;
        self.shared.tally.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Adds a record, and then has it known.
    fn append<'a>(
        &self,
        segment: &Segment,
        head: &Head,
        body: impl Iterator<Item = &'a [u8]>,
        known: impl FnOnce(Slot),
    ) -> io::Result<()> {
        let begin = segment.len();
        let bytes = head.encode(&segment.salt).ok_or(io::ErrorKind::InvalidInput)?;
        segment.write(&bytes, begin)?;
        let mut at = begin.saturating_add(bytes.len() as u64);
        for part in body {
            segment.write(part, at)?;
            at = at.saturating_add(part.len() as u64);
        }
        segment.grow(at);
        known(slot(segment, begin, head));
        Ok(())
    }

    /// A segment with room for a body of so many bytes.
    fn room(&mut self, bytes: u64) -> io::Result<Arc<Segment>> {
        let needed = bytes.saturating_add(HEAD_ROOM_BYTES);
        if let Some(current) = &self.current
            && current.len().saturating_add(needed) <= self.shared.segment_bytes
        {
            return Ok(Arc::clone(current));
        }
        if let Some(current) = self.current.take() {
            current.sync()?;
        }
        let mut used = Vec::new();
        // What is kept takes at most half of the new segment.
        let mut left = (self.shared.segment_bytes / 2).min(self.shared.segment_bytes.saturating_sub(needed));
        while let Some(oldest) = self.oldest_if_full() {
            used.extend(self.evict(&oldest, &mut left).into_iter().map(|kept| (Arc::clone(&oldest), kept)));
        }
        let now = self.shared.clock.load(Ordering::Acquire);
        let segment = Arc::new(Segment::create(&self.shared.folder, self.shared.id, self.next, now)?);
        self.next = self.next.saturating_add(1);
        let mut segments = self.shared.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.insert(segment.number, Arc::clone(&segment));
        drop(segments);
        self.current = Some(Arc::clone(&segment));
        self.measure();
        for (old, (at, head)) in used {
            self.keep(&old, at, &head, &segment)?;
        }
        Ok(segment)
    }

    /// The oldest segment, if it has to make room for a new one.
    fn oldest_if_full(&self) -> Option<Arc<Segment>> {
        let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        let bytes: u64 = segments.values().map(|segment| segment.len()).sum();
        let full = bytes.saturating_add(self.shared.segment_bytes) > self.shared.bytes_max;
        let many = self.shared.index.len() > URLS_MAX;
        segments.values().next().filter(|_| full || many).cloned()
    }

    /// Removes a segment; what of it was asked for, as far as `left` bytes reach, is still to be written.
    fn evict(&self, segment: &Segment, left: &mut u64) -> Vec<(u64, Head)> {
        let mut used = Vec::new();
        let scanned = segment.scan(|at, head| {
            let place = (segment.number, at);
            let is_used = self.shared.index.at(head.digest, place).is_some_and(|slot| slot.used);
            match left.checked_sub(head.bytes()).filter(|_| is_used) {
                Some(rest) => {
                    *left = rest;
                    used.push((at, head));
                }
                None => self.shared.index.remove_at(head.digest, place),
            }
            true
        });
        if scanned.is_err() || scanned.is_ok_and(|end| end < segment.len()) {
            // What lies behind the damage is in the index still.
            used.clear();
            self.shared.index.remove_before(segment.number.saturating_add(1));
        }
        self.remove(segment);
        used
    }

    /// Writes a record of a segment that is gone once more.
    fn keep(&self, old: &Segment, at: u64, head: &Head, segment: &Segment) -> io::Result<()> {
        let place = (old.number, at);
        let len = usize::try_from(head.body_len).unwrap_or(usize::MAX);
        let body = old.read(at.saturating_add(head.head_bytes() as u64), len)?;
        let whole = body.chunks(usize::try_from(super::PART_BYTES).unwrap_or(usize::MAX)).zip(0..);
        if self.shared.index.at(head.digest, place).is_none() {
            return Ok(());
        }
        if !whole.into_iter().all(|(part, number)| head.is_part(&old.salt, number, part)) {
            self.shared.is_damaged(head.digest, place);
            return Ok(());
        }
        let head = head.resalted(&segment.salt, &body);
        self.append(segment, &head, [&body[..]].into_iter(), |slot| {
            self.shared.index.moved(head.digest, place, slot);
        })?;
        self.shared.tally.kept.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Removes a segment's file. Who reads it goes on.
    fn remove(&self, segment: &Segment) {
        let mut segments = self.shared.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.remove(&segment.number);
        drop(segments);
        if let Err(error) = std::fs::remove_file(path_of(&self.shared.folder, segment.number)) {
            tracing::warn!(%error, segment = segment.number, "a segment of the cache could not be removed");
        }
    }

    fn clear(&mut self) {
        self.current = None;
        let segments: Vec<_> = {
            let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
            segments.values().cloned().collect()
        };
        self.shared.index.remove_before(self.next);
        segments.iter().for_each(|segment| self.remove(segment));
        self.measure();
    }

    /// Notes whether there is room for one more segment.
    fn measure(&self) {
        let current = self.current.as_ref().map_or(0, |segment| segment.len());
        let then =
            self.shared.bytes().saturating_sub(current).saturating_add(self.shared.segment_bytes.saturating_mul(2));
        let full = then > self.shared.bytes_max;
        self.shared.full.store(full, Ordering::Relaxed);
    }
}

fn slot(segment: &Segment, at: u64, head: &Head) -> Slot {
    let head_bytes = u32::try_from(head.head_bytes().min(HEAD_BYTES_MAX)).unwrap_or(u32::MAX);
    Slot { variant: head.variant, segment: segment.number, at, head: head_bytes, used: false }
}
