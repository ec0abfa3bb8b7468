//! The entries of a directory, in the order of its blocks.
//!
//! A sharded directory is listed with the memory of one path through its trie. Each name is checked to stand where its
//! hash leads, so that no block can be listed twice: a small DAG cannot pretend to be an endless directory. A crash loses
//! nothing.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

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

/// Entries of a directory. After an error nothing follows.
pub struct EntryStream {
    ahead: Ahead<SlotPath>,
    /// Entries of the blocks read so far that were not taken yet, last first.
    found: Vec<Entry>,
    failed: bool,
}

/// Streams the entries of the directory that `resolved` names.
pub fn list(blocks: Arc<dyn Blocks>, resolved: &Resolved) -> EntryStream {
    let root = resolved.roots.first().copied().unwrap_or(resolved.cid);
    let mut ahead = Ahead::new(blocks, root, AHEAD_BLOCKS);
    ahead.push_ready(resolved.cid, SlotPath::default(), resolved.bytes.clone());
    EntryStream { ahead, found: Vec::new(), failed: false }
}

impl EntryStream {
    /// Reads one block: its entries, and the shards below it. Entries come before the shards beside them.
    fn expand(&mut self, cid: Cid, path: &SlotPath, bytes: &Bytes) -> Result<(), ReadError> {
        let entry = |link: &atoll_core::dagpb::Link<'_>| Entry {
            name: link.name().to_owned(),
            cid: link.cid,
            tsize: link.tsize,
        };
        match decode(&cid, bytes)? {
            Some(Node::Directory(directory)) if path.is_root() => {
                let mut seen = HashSet::with_capacity(directory.entries.len());
                let first = directory.entries.iter().filter(|link| seen.insert(link.name()));
                self.found.extend(first.map(entry));
            }
            Some(Node::Shard(_)) => {
                let mut below = Vec::new();
                for (at, slot) in list_shard(cid, path, bytes)? {
                    match slot {
                        Slot::Shard(next) => below.push((next, at)),
                        Slot::Entry(link) => self.found.push(entry(&link)),
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
