//! The bytes of a file, in order, from any range.
//!
//! Parts that hold nothing of the range are never fetched, and a part of no bytes never is, so that a DAG of nothing
//! but itself cannot keep a reader busy. A crash loses nothing.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use atoll_core::unixfs::Node;
use atoll_core::{Blocks, Cid};
use bytes::Bytes;
use futures_util::Stream;

use super::{DEPTH_MAX, Kind, Resolved, decode};
use crate::dag::{AHEAD_BLOCKS, Ahead, Turn, cached};
use crate::error::ReadError;

/// A part of a file that is to be read.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The bytes of the file that it holds, as its parent says.
    pub(crate) len: u64,
    /// Those of them that are wanted.
    pub(crate) range: Range<u64>,
    pub(crate) depth: usize,
}

/// The bytes of a file: one item per leaf, sharing its memory. After an error nothing follows.
pub struct FileStream {
    ahead: Ahead<Part>,
    failed: bool,
}

/// Streams the bytes `range` of the file that `resolved` names; an end behind the file's is the file's.
///
/// # Errors
/// [`ReadError::NotFile`], or [`ReadError::Range`] if the range begins behind the end.
pub fn read(blocks: Arc<dyn Blocks>, resolved: &Resolved, range: Range<u64>) -> Result<FileStream, ReadError> {
    let part = whole(resolved, range)?;
    let root = resolved.roots.first().copied().unwrap_or(resolved.cid);
    let mut ahead = Ahead::new(blocks, root, AHEAD_BLOCKS);
    ahead.push_ready(resolved.cid, part, resolved.bytes.clone());
    Ok(FileStream { ahead, failed: false })
}

/// The bytes of a file whose blocks are all in memory and soon decoded, leaf by leaf and without a copy; `None` if they are
/// not, or the range is longer than `max`.
///
/// # Errors
/// As [`read`], and whatever is wrong with the blocks.
pub fn read_cached(
    blocks: &dyn Blocks,
    resolved: &Resolved,
    range: Range<u64>,
    max: u64,
) -> Option<Result<Vec<Bytes>, ReadError>> {
    let part = match whole(resolved, range) {
        Ok(part) if part.range.end - part.range.start > max => return None,
        Ok(part) => part,
        Err(error) => return Some(Err(error)),
    };
    let (mut found, mut turn) = (Vec::new(), Turn::default());
    let mut pending = vec![(resolved.cid, part, Some(resolved.bytes.clone()))];
    while let Some((cid, part, bytes)) = pending.pop() {
        let bytes = bytes.or_else(|| cached(blocks, &cid))?;
        turn.worked(&cid, &bytes);
        if turn.is_over() {
            return None;
        }
        match expand(&cid, &part, &bytes) {
            Ok(Expanded { inline, children }) => {
                found.extend(inline);
                pending.extend(children.into_iter().rev().map(|(cid, part)| (cid, part, None)));
            }
            Err(error) => return Some(Err(error)),
        }
    }
    Some(Ok(found))
}

fn whole(resolved: &Resolved, range: Range<u64>) -> Result<Part, ReadError> {
    let Kind::File { len } = resolved.kind else { return Err(ReadError::NotFile(resolved.cid)) };
    if range.start > len {
        return Err(ReadError::Range { start: range.start, len });
    }
    Ok(Part { len, range: range.start..range.end.clamp(range.start, len), depth: 0 })
}

/// What a part consists of, as far as it is wanted.
pub(crate) struct Expanded {
    /// Bytes that stand in its own block.
    pub(crate) inline: Option<Bytes>,
    /// The parts below it, which come after.
    pub(crate) children: Vec<(Cid, Part)>,
}

/// Decodes the block of a part.
pub(crate) fn expand(cid: &Cid, part: &Part, bytes: &Bytes) -> Result<Expanded, ReadError> {
    let Some(Node::File(file)) = decode(cid, bytes)? else { return Err(ReadError::NotFile(*cid)) };
    if file.len != part.len {
        return Err(ReadError::SizeLies { cid: *cid, claimed: part.len, actual: file.len });
    }
    if part.depth > DEPTH_MAX {
        return Err(ReadError::TooDeep { cid: *cid, max: DEPTH_MAX });
    }
    let inline = slice(&file.inline, &part.range);
    let mut at = file.inline.len() as u64;
    let mut children = Vec::new();
    for child in file.children {
        // Decoding checked that the sizes add up to `len`.
        let range = part.range.start.saturating_sub(at)..part.range.end.saturating_sub(at).min(child.len);
        at = at.saturating_add(child.len);
        if range.start < range.end {
            children.push((child.cid, Part { len: child.len, range, depth: part.depth + 1 }));
        }
    }
    Ok(Expanded { inline, children })
}

/// The part of `bytes` in `range`, if there is any.
fn slice(bytes: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    let (start, end) = (index(range.start), index(range.end));
    (start < end).then(|| bytes.slice(start..end))
}

impl Stream for FileStream {
    type Item = Result<Bytes, ReadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while !this.failed {
            let Some(next) = ready!(this.ahead.poll_next(cx, &|_| false)) else { return Poll::Ready(None) };
            let expanded = next.and_then(|(cid, part, bytes)| {
                let Expanded { inline, children } = expand(&cid, &part, &bytes)?;
                this.ahead.push_front(children)?;
                Ok(inline)
            });
            match expanded {
                Ok(None) => {}
                Ok(Some(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Err(error) => {
                    this.failed = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }
}
