//! A stored body, which is read by several while it still arrives. One that turns out to be too large to be stored is handed on to
//! those who read it already, no faster than the slowest of them takes it. A crash loses it.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use atoll_sealed::{SEALED_BYTES_MIN, Seal, Seals};
use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use crate::coding::Coding;

/// What is kept of a body that is only handed on, for readers of different speed, in bytes.
const WINDOW_BYTES: u64 = 1024 * 1024;
/// The parts that a whole body is kept in are no larger, in bytes.
const PART_BYTES_MAX: usize = 1024 * 1024;

/// A body that arrives, or is there.
#[derive(Debug)]
pub struct Fill {
    whole: OnceLock<Filled>,
    arriving: Mutex<Arriving>,
    /// A part came, or the end.
    changed: Notify,
    /// A reader took a part, or left.
    taken: Notify,
    /// The whole in each coding, once that was made; none where it is hardly smaller.
    coded: [OnceLock<Option<Filled>>; Coding::ALL.len()],
    /// Whether it is made, or was.
    coding: [AtomicBool; Coding::ALL.len()],
    budget: Arc<Budget>,
}

/// A body that is all there.
#[derive(Clone, Debug, Default)]
pub struct Filled {
    /// Its bytes, in parts.
    pub parts: Vec<Bytes>,
    /// How many.
    pub len: u64,
    /// The file that its only part is of, if it was sealed.
    pub seal: Option<Arc<Seal>>,
}

/// Memory for bodies that arrive.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    bytes_max: u64,
    object_bytes_max: u64,
}

#[derive(Debug, Default)]
struct Arriving {
    parts: VecDeque<Bytes>,
    /// How many parts were dropped before the first of `parts`.
    dropped: usize,
    /// Bytes of `parts`.
    kept: u64,
    /// Bytes that arrived.
    len: u64,
    /// Whether it is only handed on.
    passing: bool,
    /// Bytes that are counted in the budget.
    counted: u64,
    /// Whether all of it arrived.
    over: bool,
    broken: bool,
    /// The next part that each reader takes.
    readers: HashMap<u64, usize>,
    next_reader: u64,
}

/// The body did not arrive as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body broke off at its origin")]
pub struct Broken;

/// The one that fills a body; unless it ends it, the body is broken.
#[derive(Debug)]
pub struct Writing(Arc<Fill>);

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is kept.
    Kept,
    /// The body is too large to be stored, as of this part: it is only handed on.
    Passing,
    /// And nobody reads it.
    Unread,
}

impl Budget {
    pub(crate) fn new(bytes_max: u64, object_bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), bytes_max, object_bytes_max })
    }

    /// Whether a body of so many bytes may be begun.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        bytes <= self.object_bytes_max && self.used.load(Ordering::Relaxed).saturating_add(bytes) <= self.bytes_max
    }

    /// Counts bytes, if there is room.
    fn take(&self, bytes: u64) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.bytes_max;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Fill {
    /// A body to be filled, and who fills it.
    pub(crate) fn begin(budget: Arc<Budget>) -> (Arc<Self>, Writing) {
        let fill = Arc::new(Self::new(budget, Arriving::default()));
        (Arc::clone(&fill), Writing(fill))
    }

    fn new(budget: Arc<Budget>, arriving: Arriving) -> Self {
        let (coded, coding) = Default::default();
        let (changed, taken) = (Notify::new(), Notify::new());
        Self { whole: OnceLock::new(), arriving: Mutex::new(arriving), changed, taken, coded, coding, budget }
    }

    /// The body, if it is all there.
    pub fn whole(&self) -> Option<&Filled> {
        self.whole.get()
    }

    /// The whole in a coding, if that was made and is smaller.
    pub fn coded(&self, coding: Coding) -> Option<&Filled> {
        self.coded.get(coding as usize)?.get()?.as_ref()
    }

    /// Whether the caller is the one to make it.
    pub(crate) fn begin_coding(&self, coding: Coding) -> bool {
        self.coding.get(coding as usize).is_some_and(|begun| !begun.swap(true, Ordering::AcqRel))
    }

    /// Keeps what was made.
    pub(crate) fn set_coded(&self, coding: Coding, coded: Option<Filled>) {
        if let Some(slot) = self.coded.get(coding as usize) {
            let _ = slot.set(coded);
        }
    }

    /// The same body with the codings that were made, each in a file of its own; `None` if that changes nothing, since they are
    /// or can have none.
    pub(crate) fn sealed(&self, seals: &Arc<Seals>) -> Option<Arc<Self>> {
        let whole = self.whole()?;
        let fill = Self::new(Arc::clone(&self.budget), Arriving { over: true, ..Arriving::default() });
        let mut changed = false;
        let mut sealed = |filled: &Filled| {
            let sealed = filled.sealed(seals);
            changed |= sealed.is_some();
            sealed.unwrap_or_else(|| filled.clone())
        };
        let _ = fill.whole.set(sealed(whole));
        for coding in Coding::ALL {
            let made = self.coded.get(coding as usize).and_then(OnceLock::get);
            if let Some(made) = made.filter(|_| fill.begin_coding(coding)) {
                fill.set_coded(coding, made.as_ref().map(&mut sealed));
            }
        }
        changed.then(|| Arc::new(fill))
    }

    /// Bytes of memory that it takes.
    pub(crate) fn weight(&self) -> u64 {
        let coded: u64 = self.coded.iter().filter_map(|coded| coded.get()?.as_ref()).map(|coded| coded.len).sum();
        self.whole().map_or_else(|| self.arriving().kept, |whole| whole.len).saturating_add(coded)
    }

    /// Whether it can still become whole, or is.
    pub fn is_sound(&self) -> bool {
        let arriving = self.arriving();
        !arriving.broken && !arriving.passing
    }

    /// A reader from the first byte on; `None` if that is gone.
    pub fn read(self: &Arc<Self>) -> Option<Reading> {
        let mut arriving = self.arriving();
        if arriving.passing || arriving.broken {
            return None;
        }
        let id = arriving.next_reader;
        arriving.next_reader = id.wrapping_add(1);
        arriving.readers.insert(id, 0);
        drop(arriving);
        Some(Reading { fill: Arc::clone(self), id, next: 0, skip: 0, left: u64::MAX })
    }

    fn arriving(&self) -> MutexGuard<'_, Arriving> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filled {
    /// Whether it could be in a file, and is not.
    pub(crate) fn is_worth_sealing(&self) -> bool {
        self.len >= SEALED_BYTES_MIN && self.seal.is_none()
    }

    /// The same in one file; `None` if it is in one, is too small to be worth it, or can have none.
    fn sealed(&self, seals: &Arc<Seals>) -> Option<Self> {
        if !self.is_worth_sealing() {
            return None;
        }
        let seal = seals.seal(&self.parts)?;
        Some(Self { parts: vec![seal.bytes()], len: self.len, seal: Some(seal) })
    }

    /// The bytes of a range, without a copy.
    pub fn range(&self, range: &Range<u64>) -> Vec<Bytes> {
        cut(&self.parts, range)
    }
}

/// The bytes of `parts`, one after the other, that are in `range`, without a copy.
pub fn cut(parts: &[Bytes], range: &Range<u64>) -> Vec<Bytes> {
    let mut at = 0_u64;
    let mut found = Vec::new();
    for part in parts {
        let index = |offset: u64| usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX).min(part.len());
        let (start, end) = (index(range.start), index(range.end));
        if start < end {
            found.push(part.slice(start..end));
        }
        at = at.saturating_add(part.len() as u64);
    }
    found
}

impl Writing {
    /// Adds a part. Waits, where it is only handed on, until the slowest reader has taken enough.
    pub async fn push(&self, part: Bytes) -> Pushed {
        let fill = &*self.0;
        let pushed = self.add(part);
        fill.changed.notify_waiters();
        if pushed == Pushed::Kept {
            return pushed;
        }
        loop {
            let taken = fill.taken.notified();
            tokio::pin!(taken);
            taken.as_mut().enable();
            {
                let mut arriving = fill.arriving();
                arriving.drop_taken();
                if arriving.readers.is_empty() {
                    return Pushed::Unread;
                }
                if arriving.kept <= WINDOW_BYTES {
                    return Pushed::Passing;
                }
            }
            taken.await;
        }
    }

    fn add(&self, part: Bytes) -> Pushed {
        let budget = &self.0.budget;
        let mut arriving = self.0.arriving();
        let bytes = part.len() as u64;
        arriving.len = arriving.len.saturating_add(bytes);
        arriving.kept = arriving.kept.saturating_add(bytes);
        arriving.parts.push_back(part);
        if !arriving.passing {
            if arriving.len <= budget.object_bytes_max && budget.take(bytes) {
                arriving.counted = arriving.counted.saturating_add(bytes);
                return Pushed::Kept;
            }
            arriving.passing = true;
            budget.give_back(std::mem::take(&mut arriving.counted));
        }
        Pushed::Passing
    }

    /// The body is this, and no more.
    pub fn end_with(self, part: Bytes) {
        // If there is no memory for it, it is not stored, and for the reader it is there.
        self.add(part);
        self.end();
    }

    /// The body is whole, if it was kept as such.
    pub fn end(self) {
        let mut arriving = self.0.arriving();
        arriving.over = true;
        if !arriving.passing {
            // Readers find their next part among the old ones: those stay until the last reader is gone.
            let _ = self.0.whole.set(Filled { parts: arriving.whole(), len: arriving.len, seal: None });
        }
        arriving.forget_if_unread();
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut arriving = self.0.arriving();
        arriving.broken |= !arriving.over;
        self.0.budget.give_back(std::mem::take(&mut arriving.counted));
        drop(arriving);
        self.0.changed.notify_waiters();
    }
}

impl Arriving {
    /// Forgets parts that all readers have taken.
    fn drop_taken(&mut self) {
        let first = self.readers.values().copied().min().unwrap_or(usize::MAX);
        while self.dropped < first
            && let Some(part) = self.parts.pop_front()
        {
            self.dropped = self.dropped.saturating_add(1);
            self.kept = self.kept.saturating_sub(part.len() as u64);
        }
    }

    /// All bytes, copied out of the buffers that they came in, which are larger.
    fn whole(&self) -> Vec<Bytes> {
        if let (1, Some(part)) = (self.parts.len(), self.parts.front().filter(|part| part.len() <= PART_BYTES_MAX)) {
            return vec![Bytes::copy_from_slice(part)];
        }
        let mut whole = Vec::new();
        let mut buffer = BytesMut::new();
        for part in &self.parts {
            if !buffer.is_empty() && buffer.len().saturating_add(part.len()) > PART_BYTES_MAX {
                whole.push(std::mem::take(&mut buffer).freeze());
            }
            buffer.extend_from_slice(part);
        }
        if !buffer.is_empty() {
            whole.push(buffer.freeze());
        }
        // A buffer grows by doubling; what is kept is of just its size.
        whole.iter().map(|part| Bytes::copy_from_slice(part)).collect()
    }

    /// Forgets the parts of a body that is over, when nobody reads them any more.
    fn forget_if_unread(&mut self) {
        if self.over && self.readers.is_empty() {
            self.dropped = self.dropped.saturating_add(self.parts.len());
            self.parts = VecDeque::new();
            self.kept = 0;
        }
    }
}

/// Somebody who reads a body, as fast as it arrives.
#[derive(Debug)]
pub struct Reading {
    fill: Arc<Fill>,
    id: u64,
    next: usize,
    /// Bytes to leave out before the first that is wanted.
    skip: u64,
    /// Bytes that are still wanted after those.
    left: u64,
}

impl Reading {
    /// Of these bytes only.
    #[must_use]
    pub fn range(mut self, range: &Range<u64>) -> Self {
        (self.skip, self.left) = (range.start, range.end.saturating_sub(range.start));
        self
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`Broken`]: the body does not become whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            let fill = Arc::clone(&self.fill);
            let changed = fill.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.take() {
                Some(Ok(Some(part))) => {
                    let part = self.wanted(part);
                    if !part.is_empty() {
                        return Ok(Some(part));
                    }
                }
                Some(ended) => return ended,
                None => changed.await,
            }
        }
    }

    /// What is there: a part, the end, or nothing yet.
    fn take(&mut self) -> Option<Result<Option<Bytes>, Broken>> {
        let mut arriving = self.fill.arriving();
        let part = self.next.checked_sub(arriving.dropped).and_then(|at| arriving.parts.get(at)).cloned();
        match part {
            Some(part) => {
                self.next = self.next.saturating_add(1);
                arriving.readers.insert(self.id, self.next);
                if arriving.passing {
                    self.fill.taken.notify_waiters();
                }
                Some(Ok(Some(part)))
            }
            None if arriving.over => Some(Ok(None)),
            None if arriving.broken => Some(Err(Broken)),
            None => None,
        }
    }

    /// What of a part is wanted.
    fn wanted(&mut self, mut part: Bytes) -> Bytes {
        let len = |count: u64, part: &Bytes| usize::try_from(count).unwrap_or(usize::MAX).min(part.len());
        let skipped = part.split_to(len(self.skip, &part));
        self.skip = self.skip.saturating_sub(skipped.len() as u64);
        part.truncate(len(self.left, &part));
        self.left = self.left.saturating_sub(part.len() as u64);
        part
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut arriving = self.fill.arriving();
        arriving.readers.remove(&self.id);
        arriving.forget_if_unread();
        drop(arriving);
        self.fill.taken.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
