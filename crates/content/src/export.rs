//! A DAG as a CAR: depth-first, each block once, byte for byte what `ipfs dag export ROOT` writes.
//!
//! Memory is 16 bytes and some per block for telling which were sent, whatever their size. A stream that breaks ends with
//! an error, never as if it were complete. A crash loses nothing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use atoll_core::block::IDENTITY;
use atoll_core::hamt::Slot;
use atoll_core::unixfs::Node;
use atoll_core::{Blocks, Cid, car, links};
use bytes::Bytes;
use futures_util::Stream;

use crate::dag::{AHEAD_BLOCKS, Ahead, DEPTH_MAX, Seen};
use crate::error::ReadError;
use crate::reader::{Resolved, decode};

/// How much of a DAG is exported (`dag-scope` of the trustless gateway).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The block that the path names.
    Block,
    /// All of a file; the blocks of a directory without what its entries name.
    Entity,
    /// Everything below.
    #[default]
    All,
}

/// The bytes of a CAR. After an error nothing follows.
pub struct CarStream {
    ahead: Ahead<Visit>,
    scope: Scope,
    seen: Seen,
    /// What is to be sent before the next block is read.
    out: VecDeque<Bytes>,
    failed: bool,
}

#[derive(Clone, Copy)]
enum Visit {
    /// A block on the way to what is exported: its links are not followed.
    Trail,
    /// A block of what is exported, that many levels down.
    Below(usize),
}

/// Exports what `resolved` names, after the blocks that prove its path. The header names the root of the path.
///
/// # Errors
/// [`ReadError::TooWide`] if the path has more blocks than are remembered.
pub fn export(blocks: Arc<dyn Blocks>, resolved: &Resolved, scope: Scope) -> Result<CarStream, ReadError> {
    let root = resolved.roots.first().copied().unwrap_or(resolved.cid);
    let mut ahead = Ahead::new(blocks, root, AHEAD_BLOCKS);
    ahead.push_ready(resolved.cid, Visit::Below(0), resolved.bytes.clone());
    ahead.push_front(resolved.trail.iter().map(|cid| (*cid, Visit::Trail)).collect())?;
    let header = car::encode_header(&[root])?;
    Ok(CarStream { ahead, scope, seen: Seen::default(), out: VecDeque::from([header]), failed: false })
}

impl CarStream {
    fn visit(&mut self, cid: Cid, visit: Visit, bytes: Bytes) -> Result<(), ReadError> {
        match visit {
            // A DAG has no cycles: what leads to a block cannot come again below it.
            Visit::Trail => {}
            Visit::Below(depth) => {
                self.seen.insert(&cid)?;
                let children = self.children(&cid, &bytes)?;
                if depth == DEPTH_MAX && !children.is_empty() {
                    return Err(ReadError::TooDeep { cid, max: DEPTH_MAX });
                }
                self.ahead.push_front(children.into_iter().map(|child| (child, Visit::Below(depth + 1))).collect())?;
            }
        }
        if cid.hash().code() != IDENTITY {
            self.out.push_back(car::encode_section_prefix(&cid, bytes.len()));
            self.out.push_back(bytes);
        }
        Ok(())
    }

    fn children(&self, cid: &Cid, bytes: &Bytes) -> Result<Vec<Cid>, ReadError> {
        match self.scope {
            Scope::Block => Ok(Vec::new()),
            Scope::All => links::links(cid, bytes).map_err(|cause| ReadError::Links { cid: *cid, cause }),
            Scope::Entity => Ok(match decode(cid, bytes)? {
                Some(Node::File(file)) => file.children.iter().map(|child| child.cid).collect(),
                Some(Node::Shard(shard)) => {
                    let below = |slot| if let Slot::Shard(cid) = slot { Some(cid) } else { None };
                    shard.slots().filter_map(below).collect()
                }
                _ => Vec::new(),
            }),
        }
    }
}

impl Stream for CarStream {
    type Item = Result<Bytes, ReadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while !this.failed {
            if let Some(bytes) = this.out.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            let seen = &this.seen;
            let Some(next) = ready!(this.ahead.poll_next(cx, &|cid| seen.contains(cid))) else {
                return Poll::Ready(None);
            };
            if let Err(error) = next.and_then(|(cid, visit, bytes)| this.visit(cid, visit, bytes)) {
                this.failed = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests;
