//! Reading UnixFS: a path to what it names, a file to a stream of bytes, a directory to a stream of entries.
//!
//! Each comes in two forms: one that waits for blocks, and one that answers at once if everything is in memory, which is
//! the hot path of the gateway. Everything read is hostile: depth, width and repeats are bounded, sizes are checked
//! against each other. Nothing is kept, a crash loses nothing.

use atoll_core::hamt::{NameHash, Slot};
use atoll_core::unixfs::{Meta, Node, UnixFsError};
use atoll_core::{Blocks, Cid};
use bytes::Bytes;

use crate::dag::{Turn, cached, fetch};
use crate::error::ReadError;

mod file;
mod list;

pub(crate) use file::{Expanded, Part, expand};
pub use file::{FileStream, read, read_cached};
pub(crate) use list::list_shard;
pub use list::{Entry, EntryStream, list};

/// The most segments of a path.
pub const SEGMENTS_MAX: usize = 256;
/// The most levels of a file's tree. Writers make 3 for a terabyte.
pub const DEPTH_MAX: usize = 64;

/// What a path names.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The block with which it begins.
    pub cid: Cid,
    /// That block.
    pub bytes: Bytes,
    /// What it is.
    pub kind: Kind,
    /// What the node says beside its content.
    pub meta: Meta,
    /// The root, and what each segment led to; the last is `cid` (`X-Ipfs-Roots`).
    pub roots: Vec<Cid>,
    /// Every block that was passed through, shards too, without `cid`: what a verifier of the path needs.
    pub trail: Vec<Cid>,
}

/// The kinds of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A file, with its bytes.
    File {
        /// Bytes of the whole file.
        len: u64,
    },
    /// A directory, in one block or sharded.
    Directory,
    /// A symlink, which is never followed.
    Symlink {
        /// Where it points.
        target: Bytes,
    },
    /// Not UnixFS: a block of another codec.
    Data,
}

/// Follows `path`, segment by segment, from `root`.
///
/// # Errors
/// [`ReadError`] names the segment and the block at which the way ends.
pub async fn resolve<S: AsRef<str>>(blocks: &dyn Blocks, root: &Cid, path: &[S]) -> Result<Resolved, ReadError> {
    let (mut walk, mut turn) = (Walk::new(root, path)?, Turn::default());
    loop {
        turn.pass().await;
        let bytes = fetch(blocks, root, &walk.wanted).await?;
        turn.worked(&walk.wanted, &bytes);
        if let Some(resolved) = walk.step(bytes)? {
            return Ok(resolved);
        }
    }
}

/// [`resolve`] for paths whose blocks are all in memory and soon decoded; `None` if they are not.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_cached<S: AsRef<str>>(
    blocks: &dyn Blocks,
    root: &Cid,
    path: &[S],
) -> Option<Result<Resolved, ReadError>> {
    let (mut walk, mut turn) = match Walk::new(root, path) {
        Ok(walk) => (walk, Turn::default()),
        Err(error) => return Some(Err(error)),
    };
    loop {
        let bytes = cached(blocks, &walk.wanted)?;
        turn.worked(&walk.wanted, &bytes);
        if turn.is_over() {
            return None;
        }
        match walk.step(bytes) {
            Ok(None) => {}
            Ok(Some(resolved)) => return Some(Ok(resolved)),
            Err(error) => return Some(Err(error)),
        }
    }
}

/// A walk along a path that is handed its blocks. It ends: each step uses up a segment or bits of a name's hash.
struct Walk<'p, S> {
    path: std::slice::Iter<'p, S>,
    /// The block that the next step needs.
    wanted: Cid,
    /// The segment that is being looked up in a sharded directory, and the directory.
    inside: Option<(&'p str, NameHash, Cid)>,
    roots: Vec<Cid>,
    trail: Vec<Cid>,
}

impl<'p, S: AsRef<str>> Walk<'p, S> {
    fn new(root: &Cid, path: &'p [S]) -> Result<Self, ReadError> {
        if path.len() > SEGMENTS_MAX {
            return Err(ReadError::PathTooLong(path.len()));
        }
        let mut roots = Vec::with_capacity(path.len() + 1);
        roots.push(*root);
        Ok(Self { path: path.iter(), wanted: *root, inside: None, roots, trail: Vec::with_capacity(path.len()) })
    }

    /// Takes the block of `wanted`; `None` says that another is wanted.
    fn step(&mut self, bytes: Bytes) -> Result<Option<Resolved>, ReadError> {
        let cid = self.wanted;
        let node = decode(&cid, &bytes);
        let Some((name, mut hash, directory)) = self.inside.take().or_else(|| self.next_segment()) else {
            return self.arrive(node, &bytes).map(Some);
        };
        self.trail.push(cid);
        let missing = || ReadError::NoEntry { name: name.to_owned(), directory };
        match node? {
            Some(Node::Directory(entries)) if directory == cid => {
                let entry = entries.find(name).ok_or_else(missing)?;
                self.wanted = entry.cid;
                self.roots.push(entry.cid);
            }
            Some(Node::Shard(shard)) => {
                let found = shard.find(name, &mut hash).map_err(|cause| node_error(cid, cause.into()))?;
                match found.ok_or_else(missing)? {
                    Slot::Entry(entry) => {
                        self.wanted = entry.cid;
                        self.roots.push(entry.cid);
                    }
                    Slot::Shard(next) => {
                        self.wanted = next;
                        self.inside = Some((name, hash, directory));
                    }
                }
            }
            _ => return Err(ReadError::NotDirectory { name: name.to_owned(), cid }),
        }
        Ok(None)
    }

    fn next_segment(&mut self) -> Option<(&'p str, NameHash, Cid)> {
        let name = self.path.next()?.as_ref();
        Some((name, NameHash::new(name), self.wanted))
    }

    fn arrive(&mut self, node: Result<Option<Node<'_>>, ReadError>, bytes: &Bytes) -> Result<Resolved, ReadError> {
        let (kind, meta) = match node? {
            None => (Kind::Data, Meta::default()),
            Some(Node::File(file)) => (Kind::File { len: file.len }, file.meta),
            Some(Node::Directory(directory)) => (Kind::Directory, directory.meta),
            Some(Node::Shard(shard)) => (Kind::Directory, shard.meta),
            Some(Node::Symlink(link)) => (Kind::Symlink { target: link.target }, link.meta),
            Some(_) => (Kind::Data, Meta::default()),
        };
        Ok(Resolved {
            cid: self.wanted,
            bytes: bytes.clone(),
            kind,
            meta,
            roots: std::mem::take(&mut self.roots),
            trail: std::mem::take(&mut self.trail),
        })
    }
}

/// Decodes a UnixFS node; `None` for a codec that carries none.
pub(crate) fn decode<'a>(cid: &Cid, bytes: &'a Bytes) -> Result<Option<Node<'a>>, ReadError> {
    match Node::decode(cid, bytes) {
        Ok(node) => Ok(Some(node)),
        Err(UnixFsError::Codec(_)) => Ok(None),
        Err(cause) => Err(node_error(*cid, cause)),
    }
}

fn node_error(cid: Cid, cause: UnixFsError) -> ReadError {
    ReadError::Node { cid, cause }
}

#[cfg(test)]
pub(crate) mod tests;
