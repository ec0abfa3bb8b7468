//! The entries of a directory, in the order of its blocks.
//!
//! A directory in one block is listed with the memory of the names that were taken, a sharded one with that of one path
//! through its trie. Each name of the latter is checked to stand where its
//! hash leads, so that no block can be listed twice: a small DAG cannot pretend to be an endless directory. A crash loses
//! nothing.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use atoll_core::dagpb::{self, Link};
use atoll_core::hamt::{Slot, SlotPath};
use atoll_core::unixfs::Node;
use atoll_core::{Blocks, Cid};
use bytes::Bytes;
use futures_util::Stream;

use super::{Resolved, decode, node_error};
use crate::dag::{AHEAD_BLOCKS, Ahead};
use crate::error::ReadError;

/// An entry of a directory. The name is whatever the publisher wrote: escape it, and never use it as a file name unseen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// What it names.
    pub cid: Cid,
    /// The bytes of all blocks below, as the publisher claims.
    pub tsize: Option<u64>,
}

impl Entry {
    fn of(link: &Link<'_>) -> Self {
        Self { name: link.name().to_owned(), cid: link.cid, tsize: link.tsize }
    }
}

/// Entries of a directory. After an error nothing follows.
pub struct EntryStream {
    ahead: Ahead<SlotPath>,
    /// The directory, if it is one block.
    flat: Option<Flat>,
    /// Entries of the shards read so far that were not taken yet, last first.
    found: Vec<Entry>,
    failed: bool,
}

/// Streams the entries of the directory that `resolved` names.
pub fn list(blocks: Arc<dyn Blocks>, resolved: &Resolved) -> EntryStream {
    let root = resolved.roots.first().copied().unwrap_or(resolved.cid);
    let mut ahead = Ahead::new(blocks, root, AHEAD_BLOCKS);
    ahead.push_ready(resolved.cid, SlotPath::default(), resolved.bytes.clone());
    EntryStream { ahead, flat: None, found: Vec::new(), failed: false }
}

impl EntryStream {
    /// Reads one block: its entries, and the shards below it. Entries come before the shards beside them.
    fn expand(&mut self, cid: Cid, path: &SlotPath, bytes: &Bytes) -> Result<(), ReadError> {
        match decode(&cid, bytes)? {
            Some(Node::Directory(_)) if path.is_root() => {
                self.flat = Some(Flat { cid, bytes: bytes.clone(), at: 0, seen: HashSet::new() });
            }
            Some(Node::Shard(_)) => {
                let mut below = Vec::new();
                for (at, slot) in list_shard(cid, path, bytes)? {
                    match slot {
                        Slot::Shard(next) => below.push((next, at)),
                        Slot::Entry(link) => self.found.push(Entry::of(&link)),
                    }
                }
                self.ahead.push_front(below)?;
            }
            _ => return Err(ReadError::NotListable(cid)),
        }
        self.found.reverse();
        Ok(())
    }
}

impl Stream for EntryStream {
    type Item = Result<Entry, ReadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while !this.failed {
            if let Some(next) = this.flat.as_mut().and_then(Flat::next) {
                this.failed = next.is_err();
                return Poll::Ready(Some(next));
            }
            if let Some(entry) = this.found.pop() {
                return Poll::Ready(Some(Ok(entry)));
            }
            let Some(next) = ready!(this.ahead.poll_next(cx, &|_| false)) else { return Poll::Ready(None) };
            if let Err(error) = next.and_then(|(cid, path, bytes)| this.expand(cid, &path, &bytes)) {
                this.failed = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Ready(None)
    }
}

/// A directory in one block, which was decoded once as a whole.
struct Flat {
    cid: Cid,
    bytes: Bytes,
    /// Where the next link begins.
    at: usize,
    /// The names so far, each a part of `bytes`: the first of a name is the one that a path leads to.
    seen: HashSet<Bytes>,
}

impl Flat {
    fn next(&mut self) -> Option<Result<Entry, ReadError>> {
        loop {
            match dagpb::link_at(&self.bytes, self.at) {
                Ok(None) => return None,
                Ok(Some((link, next))) => {
                    self.at = next;
                    if self.seen.insert(self.bytes.slice_ref(link.name().as_bytes())) {
                        return Some(Ok(Entry::of(&link)));
                    }
                }
                Err(cause) => return Some(Err(node_error(self.cid, cause.into()))),
            }
        }
    }
}

/// The slots of one shard that stands at `path`, checked to belong there.
pub(crate) fn list_shard<'a>(
    cid: Cid,
    path: &SlotPath,
    bytes: &'a Bytes,
) -> Result<Vec<(SlotPath, Slot<'a>)>, ReadError> {
    let Some(Node::Shard(shard)) = decode(&cid, bytes)? else { return Err(ReadError::NotListable(cid)) };
    let slots = shard.placed(path).map_err(|cause| node_error(cid, cause.into()))?;
    let misplaced = |(place, slot): &(SlotPath, Slot<'_>)| match slot {
        Slot::Entry(link) => !place.leads_to(link.name()),
        Slot::Shard(_) => false,
    };
    // A shard of nothing would let a small DAG have endlessly many.
    if slots.is_empty() && !path.is_root() || slots.iter().any(misplaced) {
        return Err(ReadError::Misplaced(cid));
    }
    Ok(slots)
}
