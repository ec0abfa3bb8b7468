//! Reading UnixFS: a path to what it names, a file to a stream of bytes, a directory to a stream of entries. A path may
//! lead through IPLD data, and from there back to UnixFS.
//!
//! Each comes in two forms: one that waits for blocks, and one that answers at once if everything is in memory, which is
//! the hot path of the gateway. Everything read is hostile: depth, width and repeats are bounded, sizes are checked
//! against each other. Nothing is kept, a crash loses nothing.

use atoll_core::data::{self, DataError, Found, is_data};
use atoll_core::hamt::{NameHash, Slot};
use atoll_core::unixfs::{Meta, Node, UnixFsError};
use atoll_core::{Blocks, Cid, FetchError};
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
/// The most blocks of a path that are nothing but a link to the next.
const BARE_LINKS_MAX: usize = 64;
/// The largest block of IPLD data in which a path is followed on the thread that serves others too: half a millisecond at
/// worst. One of 2 MiB can take 50.
const DATA_BYTES_AT_ONCE: usize = 16 * 1024;

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
    /// How many segments at the end of the path lead to a value in the block; 0 if the path names the block as a whole, as
    /// it does of all but [`Kind::Data`].
    pub inside: usize,
}

impl Resolved {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory { .. })
    }
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
    /// A directory.
    Directory {
        /// Whether it is spread over several blocks: listing it may have to wait for others.
        sharded: bool,
    },
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
        if let Some(resolved) = walk.step_apart(bytes).await? {
            return Ok(resolved);
        }
    }
}

/// The blocks through which `path` leads from `root`, shards too, up to the one in which it ends because it goes no further:
/// with them a verifier sees for itself that there is nothing under that path.
///
/// # Errors
/// As [`resolve`], but for the two that say that the path leads nowhere.
pub async fn trail<S: AsRef<str>>(blocks: &dyn Blocks, root: &Cid, path: &[S]) -> Result<Vec<Cid>, ReadError> {
    let (mut walk, mut turn) = (Walk::new(root, path)?, Turn::default());
    loop {
        turn.pass().await;
        let bytes = fetch(blocks, root, &walk.wanted).await?;
        turn.worked(&walk.wanted, &bytes);
        match walk.step_apart(bytes).await {
            Ok(None) => {}
            Ok(Some(resolved)) => return Ok([resolved.trail, vec![resolved.cid]].concat()),
            Err(error) if error.is_absence() => return Ok(walk.trail),
            Err(error) => return Err(error),
        }
    }
}

/// [`resolve`] for paths whose blocks are all in memory; `None` if one is not, or they take long to look through.
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
        let bytes = cached(blocks, &walk.wanted).filter(|bytes| !walk.takes_long(bytes))?;
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

/// A walk along a path that is handed its blocks. It ends: each step uses up a segment, bits of a name's hash, or one of
/// [`BARE_LINKS_MAX`].
struct Walk<'p, S> {
    /// The segments to come.
    path: &'p [S],
    bare_links: usize,
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
        let trail = Vec::with_capacity(path.len());
        Ok(Self { path, bare_links: 0, wanted: *root, inside: None, roots, trail })
    }

    /// Whether the next step is through a lot of data.
    fn takes_long(&self, bytes: &Bytes) -> bool {
        bytes.len() > DATA_BYTES_AT_ONCE && self.goes_through_data()
    }

    /// Whether the path goes on inside the wanted block, which is IPLD data.
    fn goes_through_data(&self) -> bool {
        is_data(self.wanted.codec()) && !self.path.is_empty() && self.inside.is_none()
    }

    /// [`Self::step`], on a thread of its own if it takes long.
    async fn step_apart(&mut self, bytes: Bytes) -> Result<Option<Resolved>, ReadError> {
        if !self.takes_long(&bytes) {
            return self.step(bytes);
        }
        let (codec, block) = (self.wanted.codec(), bytes.clone());
        let path: Vec<String> = self.path.iter().map(|segment| segment.as_ref().to_owned()).collect();
        let found = tokio::task::spawn_blocking(move || data::lookup(codec, &block, &path)).await;
        let found = found.map_err(|_| FetchError::Store("the node stops, or failed at a block".to_owned()))?;
        self.follow(found, &bytes)
    }

    /// Takes the block of `wanted`; `None` says that another is wanted.
    fn step(&mut self, bytes: Bytes) -> Result<Option<Resolved>, ReadError> {
        if self.goes_through_data() {
            return self.follow(data::lookup(self.wanted.codec(), &bytes, self.path), &bytes);
        }
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

    /// Goes on from where the path leads inside a block of IPLD data.
    fn follow(&mut self, found: Result<Found, DataError>, bytes: &Bytes) -> Result<Option<Resolved>, ReadError> {
        let cid = self.wanted;
        match found.map_err(|cause| ReadError::Data { cid, cause })? {
            Found::Link { cid: next, segments } => {
                self.bare_links += usize::from(segments == 0);
                if self.bare_links > BARE_LINKS_MAX {
                    return Err(ReadError::TooDeep { cid, max: BARE_LINKS_MAX });
                }
                self.path = self.path.get(segments..).unwrap_or_default();
                self.trail.push(cid);
                self.roots.push(next);
                self.wanted = next;
                Ok(None)
            }
            Found::Value => {
                Ok(Some(Resolved { inside: self.path.len(), ..self.resolved(bytes, Kind::Data, Meta::default()) }))
            }
            Found::Missing { segment } => {
                self.trail.push(cid);
                self.trail.push(cid);
                let name = self.path.get(segment).map_or_else(String::new, |name| name.as_ref().to_owned());
                Err(ReadError::NoValue { name, cid })
            }
        }
    }

    fn next_segment(&mut self) -> Option<(&'p str, NameHash, Cid)> {
        let (name, rest) = self.path.split_first()?;
        self.path = rest;
        let name = name.as_ref();
        Some((name, NameHash::new(name), self.wanted))
    }

    fn arrive(&mut self, node: Result<Option<Node<'_>>, ReadError>, bytes: &Bytes) -> Result<Resolved, ReadError> {
        let (kind, meta) = match node? {
            None => (Kind::Data, Meta::default()),
            Some(Node::File(file)) => (Kind::File { len: file.len }, file.meta),
            Some(Node::Directory(directory)) => (Kind::Directory { sharded: false }, directory.meta),
            Some(Node::Shard(shard)) => (Kind::Directory { sharded: true }, shard.meta),
            Some(Node::Symlink(link)) => (Kind::Symlink { target: link.target }, link.meta),
            Some(_) => (Kind::Data, Meta::default()),
        };
        Ok(self.resolved(bytes, kind, meta))
    }

    fn resolved(&mut self, bytes: &Bytes, kind: Kind, meta: Meta) -> Resolved {
        Resolved {
            cid: self.wanted,
            bytes: bytes.clone(),
            kind,
            meta,
            roots: std::mem::take(&mut self.roots),
            trail: std::mem::take(&mut self.trail),
            inside: 0,
        }
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
