//! Reading blocks of a DAG in the order in which they are needed, a few ahead of the one that is needed now.
//!
//! `Ahead` is the engine under file reading, CAR export and extraction: a list of blocks to come, the first few of
//! which are being fetched. Memory is bounded by [`PENDING_MAX`] names, [`PENDING_ALL_MAX`] for all walks together, and
//! four times [`AHEAD_BLOCKS`] blocks of at most about [`AHEAD_BYTES_MAX`]. Work is done in turns, so that a DAG that takes long
//! leaves its thread to others. A crash loses nothing.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use atoll_core::block::RAW;
use atoll_core::links::links;
use atoll_core::{Block, Blocks, BoxFuture, Cid, FetchError};
use bytes::Bytes;

use crate::error::ReadError;

mod room;

pub use room::PENDING_ALL_MAX;
use room::Places;

/// The most blocks that one walk remembers to visit: some 16 MB. A block has at most some 50,000 links.
pub const PENDING_MAX: usize = 131_072;
/// Bytes of nodes after which a walk leaves its thread to others: about half a millisecond of decoding.
pub(crate) const TURN_BYTES: usize = 256 * 1024;
/// Blocks that are fetched ahead of the one that is needed: enough for several sources at a time that are far away.
pub const AHEAD_BLOCKS: usize = 32;
/// Their bytes, as far as they are known: a block under way counts as the largest that the walk has seen, or as a usual one.
pub const AHEAD_BYTES_MAX: usize = 8 * 1024 * 1024;
const USUAL_BYTES: usize = AHEAD_BYTES_MAX / AHEAD_BLOCKS;
/// Which part of those ahead is begun at least together: one in so many.
const BEGUN_TOGETHER: usize = 4;
/// A reader that takes longer between two blocks is not fetched ahead for.
const SLOW_READER: Duration = Duration::from_millis(100);
/// Blocks that are held or under way at most, as a multiple of those ahead: a walk may go down that many levels before
/// what it fetched ahead on the levels above keeps it from fetching ahead.
const HELD_PER_AHEAD: usize = 4;

/// The most blocks of a DAG that is walked as a whole, some 4 TiB of file: some 150 MB of memory.
pub const BLOCKS_MAX: usize = 4_194_304;
/// The most levels of a DAG that is walked as a whole (Kubo's limit too).
pub const DEPTH_MAX: usize = 1024;

/// Blocks to come, each with what the reader wants to remember of it.
pub(crate) struct Ahead<T> {
    blocks: Arc<dyn Blocks>,
    root: Cid,
    slots: VecDeque<Slot<T>>,
    /// Slots whose block is there or under way.
    started: usize,
    /// Those of them that are under way.
    running: usize,
    /// Bytes of the others, and of the largest block so far.
    held_bytes: usize,
    largest: usize,
    ahead: usize,
    /// How many blocks in a row the reader took without delay: it is fetched ahead for accordingly.
    keen: usize,
    /// When the last block was taken, until the next is asked for.
    taken: Option<Instant>,
    places: Places,
    turn: Turn,
}

struct Slot<T> {
    cid: Cid,
    what: T,
    /// `None` until it is begun: most slots only wait, and are to be small.
    fetch: Option<Box<Fetch>>,
}

/// A block that is there, with what was remembered of it.
pub(crate) type Next<T> = Result<(Cid, T, Bytes), ReadError>;

enum Fetch {
    Running(BoxFuture<'static, Result<Bytes, FetchError>>),
    Done(Result<Bytes, FetchError>),
}

impl<T> Ahead<T> {
    /// An empty list. `root` names the DAG to the source of blocks.
    pub(crate) fn new(blocks: Arc<dyn Blocks>, root: Cid, ahead: usize) -> Self {
        let (places, turn) = (Places::shared(), Turn::default());
        let (slots, started, running, largest) = (VecDeque::new(), 0, 0, USUAL_BYTES);
        Self {
            blocks,
            root,
            slots,
            started,
            running,
            held_bytes: 0,
            largest,
            ahead,
            keen: 0,
            taken: None,
            places,
            turn,
        }
    }

    /// Puts blocks before all others, keeping their order.
    pub(crate) fn push_front(&mut self, items: Vec<(Cid, T)>) -> Result<(), ReadError> {
        if let Some((cid, _)) = items.first().filter(|_| self.slots.len() + items.len() > PENDING_MAX) {
            return Err(ReadError::TooWide(*cid));
        }
        if !self.places.hold(self.slots.len() + items.len()) {
            return Err(ReadError::Crowded);
        }
        for (cid, what) in items.into_iter().rev() {
            self.slots.push_front(Slot { cid, what, fetch: None });
        }
        Ok(())
    }

    /// Puts a block whose bytes are there already before all others.
    pub(crate) fn push_ready(&mut self, cid: Cid, what: T, bytes: Bytes) {
        self.started += 1;
        self.held_bytes += bytes.len();
        self.slots.push_front(Slot { cid, what, fetch: Some(Box::new(Fetch::Done(Ok(bytes)))) });
    }

    /// The next block; those that `skip` names are left out, however often they come.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>, skip: &dyn Fn(&Cid) -> bool) -> Poll<Option<Next<T>>> {
        ready!(self.turn.poll(cx));
        self.pace();
        while self.slots.front().is_some_and(|slot| skip(&slot.cid)) {
            self.pop();
        }
        self.start(cx, skip, true);
        let Some(fetch) = self.slots.front_mut().and_then(|slot| slot.fetch.as_mut()) else { return Poll::Ready(None) };
        ready!(fetch.poll(cx));
        let Some(Slot { cid, what, fetch: Some(fetch) }) = self.pop() else { return Poll::Ready(None) };
        let Fetch::Done(result) = *fetch else { return Poll::Ready(None) };
        self.taken = Some(Instant::now());
        if let Ok(bytes) = &result {
            self.turn.worked(&cid, bytes);
        }
        // What comes next is asked for before this one is worked on; it need not be the front when that is done.
        self.start(cx, skip, false);
        Poll::Ready(Some(result.map(|bytes| (cid, what, bytes)).map_err(ReadError::from)))
    }

    /// Fetches ahead for readers that keep up. What is fetched for a slow one would only be held: that of hundreds of slow
    /// readers is all of a small machine's memory. One more for each two blocks, since the buffers of the network take the
    /// first few of them at once from anybody.
    fn pace(&mut self) {
        if let Some(taken) = self.taken.take() {
            self.keen = if taken.elapsed() < SLOW_READER { self.keen.saturating_add(1) } else { 0 };
        }
    }

    fn pop(&mut self) -> Option<Slot<T>> {
        let slot = self.slots.pop_front()?;
        self.started -= usize::from(slot.fetch.is_some());
        match slot.fetch.as_deref() {
            Some(Fetch::Running(_)) => self.running -= 1,
            Some(done) => self.held_bytes = self.held_bytes.saturating_sub(done.len()),
            None => {}
        }
        Some(slot)
    }

    /// Starts and drives the front slots, but only while not too many blocks are held: what was begun ahead moves back, and
    /// is kept, whenever a block puts its children before it. The first is started all the same if it is `needed`.
    fn start(&mut self, cx: &mut Context<'_>, skip: &dyn Fn(&Cid) -> bool, needed: bool) {
        let held_max = self.ahead * HELD_PER_AHEAD;
        let ahead = self.ahead.min(1 + self.keen / 2).max(1);
        // Several are begun together, so that small ones are asked for in one message.
        let waiting = self.slots.iter().take(ahead).filter(|slot| slot.fetch.is_none()).count();
        let begins = waiting * BEGUN_TOGETHER >= ahead || self.slots.len() <= ahead;
        for (at, slot) in self.slots.iter_mut().take(ahead).enumerate() {
            let is_new = slot.fetch.is_none();
            if is_new {
                let front = needed && at == 0;
                let bytes = self.held_bytes.saturating_add(self.largest.saturating_mul(self.running + 1));
                if !front && (!begins || self.started >= held_max || bytes > AHEAD_BYTES_MAX || skip(&slot.cid)) {
                    continue;
                }
                self.started += 1;
                self.running += 1;
            }
            let fetch = slot.fetch.get_or_insert_with(|| Box::new(Fetch::begin(&self.blocks, self.root, slot.cid)));
            let was_running = is_new || matches!(**fetch, Fetch::Running(_));
            if was_running && fetch.poll(cx).is_ready() {
                self.running -= 1;
                self.held_bytes = self.held_bytes.saturating_add(fetch.len());
                self.largest = self.largest.max(fetch.len());
            }
        }
    }
}

impl Fetch {
    fn begin(blocks: &Arc<dyn Blocks>, root: Cid, cid: Cid) -> Self {
        if let Some(bytes) = cached(&**blocks, &cid) {
            return Self::Done(Ok(bytes));
        }
        let blocks = Arc::clone(blocks);
        Self::Running(Box::pin(async move { blocks.block(&root, &cid).await }))
    }

    /// Bytes of the block, if it is there.
    fn len(&self) -> usize {
        if let Self::Done(Ok(bytes)) = self { bytes.len() } else { 0 }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Done(_) => Poll::Ready(()),
            Self::Running(future) => {
                let result = ready!(future.as_mut().poll(cx));
                *self = Self::Done(result);
                Poll::Ready(())
            }
        }
    }
}

/// How much of its thread's time a walk has taken, in bytes of nodes that it decoded.
#[derive(Debug, Default)]
pub(crate) struct Turn(usize);

impl Turn {
    /// Counts a block. One without links costs nothing to speak of.
    pub(crate) fn worked(&mut self, cid: &Cid, bytes: &Bytes) {
        if cid.codec() != RAW {
            self.0 = self.0.saturating_add(bytes.len());
        }
    }

    /// Whether it is somebody else's turn.
    pub(crate) fn is_over(&self) -> bool {
        self.0 >= TURN_BYTES
    }

    /// Ready unless it is somebody else's turn; the next call comes after theirs.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_over() {
            return Poll::Ready(());
        }
        self.0 = 0;
        // Has the task woken once everybody else had their turn, network included: that is all that its first poll does.
        std::pin::pin!(tokio::task::yield_now()).poll(cx)
    }

    /// Waits for the others' turn to end, if it is theirs.
    pub(crate) async fn pass(&mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }
}

/// A block that is in memory, or in its CID.
pub(crate) fn cached(blocks: &dyn Blocks, cid: &Cid) -> Option<Bytes> {
    Block::inline(cid).map(|block| block.into_parts().1).or_else(|| blocks.cached(cid))
}

/// A block from memory, else from wherever the source has it.
pub(crate) async fn fetch(blocks: &dyn Blocks, root: &Cid, cid: &Cid) -> Result<Bytes, FetchError> {
    match cached(blocks, cid) {
        Some(bytes) => Ok(bytes),
        None => blocks.block(root, cid).await,
    }
}

/// What is missing of a DAG.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// The first [`MISSING_MAX`] blocks that are not there, in the order of the walk.
    pub cids: Vec<Cid>,
    /// Blocks that are there.
    pub present: u64,
}

/// The most missing blocks that are named before a walk stops.
pub const MISSING_MAX: usize = 100;

/// Walks the DAG below `root` and says what of it is missing. `has` answers for blocks without links, which are not read;
/// all others come from `blocks`, where [`FetchError::NotFound`] and [`FetchError::NotAllowed`] mean missing.
///
/// # Errors
/// Any other failure of `blocks`; a DAG that is too deep, too wide or too large; a block whose links are not known.
pub async fn missing(blocks: Arc<dyn Blocks>, has: impl Fn(&Cid) -> bool, root: Cid) -> Result<Missing, ReadError> {
    let mut found = Missing::default();
    let mut seen = Seen::default();
    let mut ahead = Ahead::new(blocks, root, AHEAD_BLOCKS);
    ahead.push_front(vec![(root, 0_usize)])?;
    while found.cids.len() < MISSING_MAX {
        let next = std::future::poll_fn(|cx| ahead.poll_next(cx, &|cid| seen.contains(cid))).await;
        let (cid, depth, bytes) = match next {
            None => break,
            Some(Ok(next)) => next,
            Some(Err(ReadError::Fetch(FetchError::NotFound(cid) | FetchError::NotAllowed(cid)))) => {
                seen.insert(&cid)?;
                found.cids.push(cid);
                continue;
            }
            Some(Err(error)) => return Err(error),
        };
        seen.insert(&cid)?;
        found.present += 1;
        let children = links(&cid, &bytes).map_err(|cause| ReadError::Links { cid, cause })?;
        if depth == DEPTH_MAX && !children.is_empty() {
            return Err(ReadError::TooDeep { cid, max: DEPTH_MAX });
        }
        let mut below = Vec::new();
        for child in children {
            if child.codec() != RAW {
                below.push((child, depth + 1));
            } else if !seen.contains(&child) {
                seen.insert(&child)?;
                if has(&child) || Block::inline(&child).is_some() {
                    found.present += 1;
                } else {
                    found.cids.push(child);
                }
            }
        }
        ahead.push_front(below)?;
    }
    found.cids.truncate(MISSING_MAX);
    Ok(found)
}

/// The blocks that were visited, as 128 bits of a hash whose keys nobody knows: nobody can make two of them collide.
#[derive(Default)]
pub(crate) struct Seen {
    keys: [RandomState; 2],
    visited: HashSet<u128>,
}

impl Seen {
    /// Remembers a block.
    pub(crate) fn insert(&mut self, cid: &Cid) -> Result<(), ReadError> {
        if self.visited.len() == BLOCKS_MAX {
            return Err(ReadError::TooManyBlocks);
        }
        self.visited.insert(self.key(cid));
        Ok(())
    }

    /// Whether the block was inserted.
    pub(crate) fn contains(&self, cid: &Cid) -> bool {
        self.visited.contains(&self.key(cid))
    }

    fn key(&self, cid: &Cid) -> u128 {
        let [high, low] = self.keys.each_ref().map(|key| u128::from(key.hash_one(cid)));
        high << 64 | low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_fetched_ahead_for_a_slow_reader() {
        let blocks: Arc<dyn Blocks> = Arc::new(atoll_core::blocks::NoopBlocks);
        let mut ahead = Ahead::<()>::new(blocks, Cid::default(), AHEAD_BLOCKS);
        let mut after = |pause: Duration| {
            ahead.taken = Instant::now().checked_sub(pause);
            ahead.pace();
            ahead.keen
        };
        assert_eq!(
            [after(Duration::ZERO), after(Duration::ZERO), after(SLOW_READER), after(Duration::ZERO)],
            [1, 2, 0, 1]
        );
    }
}
