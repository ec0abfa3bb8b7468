//! Reading blocks of a DAG in the order in which they are needed, a few ahead of the one that is needed now.
//!
//! [`Ahead`] is the engine under file reading, CAR export and extraction: a list of blocks to come, the first few of
//! which are being fetched. Memory is bounded by [`PENDING_MAX`] names and [`AHEAD_BLOCKS`] (and one per level) blocks.
//! A crash loses nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use atoll_core::{Block, Blocks, BoxFuture, Cid, FetchError};
use bytes::Bytes;

use crate::error::ReadError;

/// The most blocks that one walk remembers to visit: some 40 MB.
pub const PENDING_MAX: usize = 262_144;
/// Blocks that are fetched ahead of the one that is needed.
pub const AHEAD_BLOCKS: usize = 4;

/// Blocks to come, each with what the reader wants to remember of it.
pub(crate) struct Ahead<T> {
    blocks: Arc<dyn Blocks>,
    root: Cid,
    slots: VecDeque<Slot<T>>,
    /// Slots whose block is there or under way.
    started: usize,
    ahead: usize,
}

struct Slot<T> {
    cid: Cid,
    what: T,
    fetch: Fetch,
}

enum Fetch {
    Waiting,
    Running(BoxFuture<'static, Result<Bytes, FetchError>>),
    Done(Result<Bytes, FetchError>),
}

impl<T> Ahead<T> {
    /// An empty list. `root` names the DAG to the source of blocks.
    pub(crate) fn new(blocks: Arc<dyn Blocks>, root: Cid, ahead: usize) -> Self {
        Self { blocks, root, slots: VecDeque::new(), started: 0, ahead }
    }

    /// Puts blocks before all others, keeping their order.
    pub(crate) fn push_front(&mut self, items: Vec<(Cid, T)>) -> Result<(), ReadError> {
        if let Some((cid, _)) = items.first().filter(|_| self.slots.len() + items.len() > PENDING_MAX) {
            return Err(ReadError::TooWide(*cid));
        }
        for (cid, what) in items.into_iter().rev() {
            self.slots.push_front(Slot { cid, what, fetch: Fetch::Waiting });
        }
        Ok(())
    }

    /// Puts a block whose bytes are there already before all others.
    pub(crate) fn push_ready(&mut self, cid: Cid, what: T, bytes: Bytes) {
        self.started += 1;
        self.slots.push_front(Slot { cid, what, fetch: Fetch::Done(Ok(bytes)) });
    }

    /// The next block; those that `skip` names are left out, however often they come.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        skip: &dyn Fn(&Cid) -> bool,
    ) -> Poll<Option<Result<(Cid, T, Bytes), ReadError>>> {
        while self.slots.front().is_some_and(|slot| skip(&slot.cid)) {
            self.pop();
        }
        self.start(cx, skip);
        let Some(front) = self.slots.front_mut() else { return Poll::Ready(None) };
        ready!(front.fetch.poll(cx));
        let Some(Slot { cid, what, fetch: Fetch::Done(result) }) = self.pop() else { return Poll::Ready(None) };
        // What comes next is asked for before this one is worked on.
        self.start(cx, skip);
        Poll::Ready(Some(result.map(|bytes| (cid, what, bytes)).map_err(ReadError::from)))
    }

    fn pop(&mut self) -> Option<Slot<T>> {
        let slot = self.slots.pop_front()?;
        self.started -= usize::from(!matches!(slot.fetch, Fetch::Waiting));
        Some(slot)
    }

    /// Starts and drives the front slots. The first is always started, whatever still runs further behind.
    fn start(&mut self, cx: &mut Context<'_>, skip: &dyn Fn(&Cid) -> bool) {
        let mut room = self.ahead.saturating_sub(self.started).max(1);
        for slot in self.slots.iter_mut().take(self.ahead.max(1)) {
            if matches!(slot.fetch, Fetch::Waiting) {
                if room == 0 || skip(&slot.cid) {
                    continue;
                }
                room -= 1;
                self.started += 1;
                slot.fetch = Fetch::begin(&self.blocks, self.root, slot.cid);
            }
            let _ = slot.fetch.poll(cx);
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

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Waiting => Poll::Pending,
            Self::Done(_) => Poll::Ready(()),
            Self::Running(future) => {
                let result = ready!(future.as_mut().poll(cx));
                *self = Self::Done(result);
                Poll::Ready(())
            }
        }
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
