//! A DAG as a CAR: depth-first; with each block once it is byte for byte what `ipfs dag export ROOT` writes.
//!
//! Memory is 16 bytes and some per block for telling which were sent, whatever their size. A stream that breaks ends with
//! an error, never as if it were complete. A crash loses nothing.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use atoll_core::block::IDENTITY;
use atoll_core::hamt::Slot;
use atoll_core::unixfs::Node;
use atoll_core::{Blocks, Cid, car, links};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use crate::dag::{AHEAD_BLOCKS, Ahead, BLOCKS_MAX, DEPTH_MAX, Seen};
use crate::error::ReadError;
use crate::reader::{Expanded, Kind, Part, Resolved, decode, expand};

mod range;

pub use range::{EntityBytes, Malformed, Outside};

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

/// What a CAR is to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// How much of what the path names.
    pub scope: Scope,
    /// The bytes that are wanted, if it is a file and the scope is [`Scope::Entity`]; else it means nothing.
    pub bytes: Option<EntityBytes>,
    /// Whether a block comes each time that the walk meets it (`dups=y`). At most [`BLOCKS_MAX`] come then.
    pub repeats: bool,
}

impl From<Scope> for Selection {
    fn from(scope: Scope) -> Self {
        Self { scope, ..Self::default() }
    }
}

/// The bytes of a CAR. After an error nothing follows.
pub struct CarStream {
    ahead: Ahead<Visit>,
    selection: Selection,
    sent: Sent,
    out: Out,
    /// Set when no more blocks come, with what is to be said at last.
    ended: Option<Option<ReadError>>,
}

/// What is to be sent: small blocks are gathered, since many small parts cost a connection more than a copy does.
struct Out {
    gathered: BytesMut,
    /// What follows it, shared with whoever holds the block.
    large: Option<Bytes>,
}

/// Blocks up to so many bytes are copied.
const COPIED_BYTES_MAX: usize = 16 * 1024;
/// Gathered bytes that are worth sending.
const GATHERED_BYTES: usize = 64 * 1024;

impl Out {
    fn push(&mut self, cid: &Cid, bytes: Bytes) {
        self.gathered.extend_from_slice(&car::encode_section_prefix(cid, bytes.len()));
        if bytes.len() > COPIED_BYTES_MAX {
            self.large = Some(bytes);
        } else {
            self.gathered.extend_from_slice(&bytes);
        }
    }

    /// Whether something should be sent before more is read.
    fn is_due(&self) -> bool {
        self.large.is_some() || self.gathered.len() >= GATHERED_BYTES
    }

    /// The next part, however small.
    fn next(&mut self) -> Option<Bytes> {
        if self.gathered.is_empty() { self.large.take() } else { Some(self.gathered.split().freeze()) }
    }
}

/// What was sent.
#[derive(Default)]
struct Sent {
    seen: Seen,
    /// Blocks of a file that were sent, but of whose parts only some were wanted. There are two on each level at most: those
    /// around the ends of the range.
    in_part: HashSet<Cid>,
    /// Blocks, repeats counted.
    count: usize,
}

#[derive(Clone)]
enum Visit {
    /// A block on the way to what is exported: its links are not followed.
    Trail,
    /// A block of what is exported, that many levels down.
    Below(usize),
    /// A block of the file that is exported.
    File(Part),
}

/// Exports what `resolved` names, after the blocks that prove its path. The header names the root of the path.
///
/// # Errors
/// [`ReadError::TooWide`] if the path has more blocks than are remembered, [`ReadError::Outside`] if a file has none of the
/// bytes that are wanted.
pub fn export(
    blocks: Arc<dyn Blocks>,
    resolved: &Resolved,
    selection: impl Into<Selection>,
) -> Result<CarStream, ReadError> {
    let selection = selection.into();
    let root = resolved.roots.first().copied().unwrap_or(resolved.cid);
    let mut ahead = Ahead::new(blocks, root, AHEAD_BLOCKS);
    ahead.push_ready(resolved.cid, begin(resolved, &selection)?, resolved.bytes.clone());
    CarStream::after_trail(ahead, selection, root, &resolved.trail)
}

/// Exports the blocks of a path that leads nowhere: they prove that it does not. The header names `root`.
///
/// # Errors
/// As [`export`].
pub fn export_trail(blocks: Arc<dyn Blocks>, root: Cid, trail: &[Cid]) -> Result<CarStream, ReadError> {
    let ahead = Ahead::new(blocks, root, AHEAD_BLOCKS);
    CarStream::after_trail(ahead, Selection::default(), root, trail)
}

/// How the walk begins at what the path names.
fn begin(resolved: &Resolved, selection: &Selection) -> Result<Visit, ReadError> {
    let Kind::File { len } = resolved.kind else { return Ok(Visit::Below(0)) };
    if selection.scope != Scope::Entity {
        return Ok(Visit::Below(0));
    }
    let range = selection.bytes.map_or(Ok(0..len), |bytes| bytes.within(len));
    let range = range.map_err(|Outside| ReadError::Outside { len })?;
    Ok(Visit::File(Part { len, range, depth: 0 }))
}

impl CarStream {
    fn after_trail(mut ahead: Ahead<Visit>, selection: Selection, root: Cid, trail: &[Cid]) -> Result<Self, ReadError> {
        ahead.push_front(trail.iter().map(|cid| (*cid, Visit::Trail)).collect())?;
        let out = Out { gathered: BytesMut::from(&car::encode_header(&[root])?[..]), large: None };
        Ok(Self { ahead, selection, sent: Sent::default(), out, ended: None })
    }

    fn visit(&mut self, cid: Cid, visit: Visit, bytes: Bytes) -> Result<(), ReadError> {
        let fresh = match visit {
            // A DAG has no cycles: what leads to a block cannot come again below it.
            Visit::Trail => true,
            Visit::Below(depth) => {
                let children = self.children(&cid, &bytes, depth)?;
                if depth == DEPTH_MAX && !children.is_empty() {
                    return Err(ReadError::TooDeep { cid, max: DEPTH_MAX });
                }
                self.ahead.push_front(children.into_iter().map(|child| (child, Visit::Below(depth + 1))).collect())?;
                self.sent.insert(&cid, false, self.selection.repeats)?
            }
            Visit::File(part) => {
                let Expanded { children, inline: _ } = expand(&cid, &part, &bytes)?;
                let in_part = !children.is_empty() && part.range != (0..part.len);
                let below = children.into_iter().map(|(child, part)| (child, Visit::File(part)));
                self.ahead.push_front(below.collect())?;
                self.sent.insert(&cid, in_part, self.selection.repeats)?
            }
        };
        if fresh && cid.hash().code() != IDENTITY {
            self.out.push(&cid, bytes);
        }
        Ok(())
    }

    fn children(&self, cid: &Cid, bytes: &Bytes, depth: usize) -> Result<Vec<Cid>, ReadError> {
        match self.selection.scope {
            Scope::Block => Ok(Vec::new()),
            Scope::All => links::links(cid, bytes).map_err(|cause| ReadError::Links { cid: *cid, cause }),
            Scope::Entity => match decode(cid, bytes) {
                Ok(Some(Node::Shard(shard))) => {
                    let below = |slot| if let Slot::Shard(cid) = slot { Some(cid) } else { None };
                    Ok(shard.slots().filter_map(below).collect())
                }
                // What is no UnixFS is an entity of one block; a part of a directory must be of it.
                Err(error) if depth > 0 => Err(error),
                _ => Ok(Vec::new()),
            },
        }
    }
}

impl Sent {
    /// Notes that a block was visited, and says whether it is to be sent.
    fn insert(&mut self, cid: &Cid, in_part: bool, repeats: bool) -> Result<bool, ReadError> {
        if repeats {
            self.count += 1;
            return if self.count > BLOCKS_MAX { Err(ReadError::TooManyBlocks) } else { Ok(true) };
        }
        let again = self.seen.contains(cid);
        // A block without its mark is skipped from here on, so one that is visited again still has it.
        if in_part {
            self.in_part.insert(*cid);
        } else {
            self.in_part.remove(cid);
        }
        if !again {
            self.seen.insert(cid)?;
        }
        Ok(!again)
    }

    /// Whether nothing new comes of a visit.
    fn is_done(&self, cid: &Cid) -> bool {
        self.seen.contains(cid) && !self.in_part.contains(cid)
    }
}

impl Stream for CarStream {
    type Item = Result<Bytes, ReadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while this.ended.is_none() && !this.out.is_due() {
            let sent = &this.sent;
            let next = match this.ahead.poll_next(cx, &|cid| sent.is_done(cid)) {
                Poll::Ready(next) => next,
                // Nobody waits for a block while there is something to send.
                Poll::Pending => return this.out.next().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(bytes)))),
            };
            let visited = next.map(|next| next.and_then(|(cid, visit, bytes)| this.visit(cid, visit, bytes)));
            match visited {
                Some(Ok(())) => {}
                Some(Err(error)) => this.ended = Some(Some(error)),
                None => this.ended = Some(None),
            }
        }
        let last = |ended: &mut Option<Option<ReadError>>| ended.as_mut().and_then(Option::take).map(Err);
        Poll::Ready(this.out.next().map(Ok).or_else(|| last(&mut this.ended)))
    }
}

#[cfg(test)]
mod tests;
