//! A UnixFS file or directory as a tar archive, as it is read: one block after the other, each leaf without a copy.
//!
//! The archive of a CID is always the same bytes. Names come from strangers: none leads out of the archive, and none onto
//! a symlink. Memory is bounded by the names of the directories that are open. A stream that breaks ends with an error,
//! before the end of the archive is written. A crash loses nothing.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::tar::{Builder, EntryType, Header};
use atoll_core::hamt::{Slot, SlotPath};
use atoll_core::unixfs::{Meta, Node};
use atoll_core::{Blocks, Cid};
use bytes::Bytes;
use futures_util::Stream;

use crate::dag::{AHEAD_BLOCKS, Ahead};
use crate::error::ReadError;
use crate::reader::{Expanded, Part, Resolved, decode, expand, list_shard};

/// The most files, directories and symlinks of an archive.
pub const ENTRIES_MAX: u64 = 1_000_000;
/// The most directories within directories.
pub const DIRECTORIES_DEEP_MAX: usize = 256;
/// The longest path in an archive, in bytes: what a kernel takes.
pub const PATH_BYTES_MAX: usize = 4096;
/// The unit of an archive, in bytes.
const RECORD_BYTES: u64 = 512;
/// Zeros: two records end an archive.
static ZEROS: [u8; 1024] = [0; 1024];

/// The bytes of an archive. After an error nothing follows.
pub struct ArchiveStream {
    ahead: Ahead<Visit>,
    entries: u64,
    /// Bytes of the open file that are to come, and of zeros behind them.
    left: (u64, u64),
    /// Whether a symlink was written, and whether a name that leads through directories was: with both, a name could lead
    /// through a symlink to wherever that points.
    links: bool,
    detours: bool,
    out: VecDeque<Bytes>,
    /// Whether all is in `out`.
    done: bool,
}

/// A directory that is being archived.
struct Directory {
    /// In the archive.
    path: String,
    depth: usize,
}

/// What a block is wanted for.
enum Visit {
    /// Whatever it is, under that path.
    Root(String),
    /// Whatever it is, under that name in that directory.
    Entry(Arc<Directory>, Box<str>),
    /// Entries of that directory, from that place of its trie.
    Shard(Arc<Directory>, SlotPath),
    /// Bytes of the open file.
    Part(Part),
}

/// Archives what `resolved` names, as an entry named by its CID.
pub fn archive(blocks: Arc<dyn Blocks>, resolved: &Resolved) -> ArchiveStream {
    let root = resolved.roots.first().copied().unwrap_or(resolved.cid);
    let mut ahead = Ahead::new(blocks, root, AHEAD_BLOCKS);
    ahead.push_ready(resolved.cid, Visit::Root(resolved.cid.to_string()), resolved.bytes.clone());
    ArchiveStream { ahead, entries: 0, left: (0, 0), links: false, detours: false, out: VecDeque::new(), done: false }
}

impl ArchiveStream {
    fn visit(&mut self, cid: Cid, visit: Visit, bytes: &Bytes) -> Result<(), ReadError> {
        match visit {
            Visit::Root(path) => self.entry(cid, path, 0, bytes),
            Visit::Entry(directory, name) => {
                let path = directory.path_of(&name).ok_or_else(|| bad_name(&name, cid))?;
                self.entry(cid, path, directory.depth + 1, bytes)
            }
            Visit::Shard(directory, place) => self.shard(cid, &directory, &place, bytes),
            Visit::Part(part) => self.part(&cid, &part, bytes),
        }
    }

    fn entry(&mut self, cid: Cid, path: String, depth: usize, bytes: &Bytes) -> Result<(), ReadError> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(ReadError::TooManyEntries);
        }
        match decode(&cid, bytes)? {
            Some(Node::File(file)) => {
                self.head(cid, &path, EntryType::Regular, &file.meta, file.len)?;
                self.left = (file.len, (RECORD_BYTES - file.len % RECORD_BYTES) % RECORD_BYTES);
                self.part(&cid, &Part { len: file.len, range: 0..file.len, depth: 0 }, bytes)
            }
            Some(Node::Directory(node)) => {
                let directory = self.directory(cid, path, depth)?;
                let mut seen = HashSet::with_capacity(node.entries.len());
                let first = node.entries.iter().filter(|link| seen.insert(link.name()));
                let visits = first.map(|link| self.below(&directory, cid, link.cid, link.name()));
                let visits = visits.collect::<Result<_, _>>()?;
                self.ahead.push_front(visits)?;
                self.head(cid, &directory.path, EntryType::Directory, &node.meta, 0)
            }
            Some(Node::Shard(node)) => {
                let directory = self.directory(cid, path, depth)?;
                self.shard(cid, &directory, &SlotPath::default(), bytes)?;
                self.head(cid, &directory.path, EntryType::Directory, &node.meta, 0)
            }
            Some(Node::Symlink(link)) => self.symlink(cid, &path, &link.target, &link.meta),
            _ => Err(ReadError::NotFile(cid)),
        }
    }

    fn directory(&self, cid: Cid, path: String, depth: usize) -> Result<Arc<Directory>, ReadError> {
        if depth > DIRECTORIES_DEEP_MAX {
            return Err(ReadError::TooDeep { cid, max: DIRECTORIES_DEEP_MAX });
        }
        Ok(Arc::new(Directory { path, depth }))
    }

    fn shard(
        &mut self,
        cid: Cid,
        directory: &Arc<Directory>,
        place: &SlotPath,
        bytes: &Bytes,
    ) -> Result<(), ReadError> {
        let mut visits = Vec::new();
        for (place, slot) in list_shard(cid, place, bytes)? {
            visits.push(match slot {
                Slot::Entry(link) => self.below(directory, cid, link.cid, link.name())?,
                Slot::Shard(next) => (next, Visit::Shard(Arc::clone(directory), place)),
            });
        }
        self.ahead.push_front(visits)
    }

    /// An entry to come. Its name is checked before its directory begins, so that a bad one in the first directory is known
    /// before the first byte is sent.
    fn below(
        &mut self,
        directory: &Arc<Directory>,
        block: Cid,
        cid: Cid,
        name: &str,
    ) -> Result<(Cid, Visit), ReadError> {
        self.detours |= name.contains('/');
        if directory.path_of(name).is_none() || self.links && self.detours {
            return Err(bad_name(name, block));
        }
        Ok((cid, Visit::Entry(Arc::clone(directory), name.into())))
    }

    fn symlink(&mut self, cid: Cid, path: &str, target: &Bytes, meta: &Meta) -> Result<(), ReadError> {
        self.links = true;
        let target = std::str::from_utf8(target).ok().filter(|target| !target.contains('\0') && !self.detours);
        let target = target.filter(|target| target.len() <= PATH_BYTES_MAX).ok_or_else(|| bad_name(path, cid))?;
        let mut header = header(EntryType::Symlink, meta, 0);
        self.write(cid, path, |builder| builder.append_link(&mut header, path, target))
    }

    fn part(&mut self, cid: &Cid, part: &Part, bytes: &Bytes) -> Result<(), ReadError> {
        let Expanded { inline, children } = expand(cid, part, bytes)?;
        if let Some(inline) = inline {
            self.left.0 = self.left.0.saturating_sub(inline.len() as u64);
            self.out.push_back(inline);
        }
        let (left, padding) = self.left;
        if left == 0 && padding > 0 {
            self.left = (0, 0);
            self.zeros(padding);
        }
        self.ahead.push_front(children.into_iter().map(|(cid, part)| (cid, Visit::Part(part))).collect())
    }

    /// The records that stand before the bytes of an entry.
    fn head(&mut self, cid: Cid, path: &str, kind: EntryType, meta: &Meta, len: u64) -> Result<(), ReadError> {
        let mut header = header(kind, meta, len);
        // A directory is known by its slash to old readers too.
        let path = if kind == EntryType::Directory { format!("{path}/") } else { path.to_owned() };
        self.write(cid, &path, |builder| builder.append_data(&mut header, &path, io::empty()))
    }

    /// Lets the crate write to memory what is more than one record if a name is long.
    fn write(
        &mut self,
        cid: Cid,
        path: &str,
        entry: impl FnOnce(&mut Builder<Vec<u8>>) -> io::Result<()>,
    ) -> Result<(), ReadError> {
        let mut builder = Builder::new(Vec::with_capacity(ZEROS.len()));
        entry(&mut builder).map_err(|_| bad_name(path, cid))?;
        // What the builder adds when it is dropped is the end of an archive.
        self.out.push_back(std::mem::take(builder.get_mut()).into());
        Ok(())
    }

    fn zeros(&mut self, len: u64) {
        let len = usize::try_from(len).unwrap_or(ZEROS.len());
        self.out.push_back(Bytes::from_static(ZEROS.get(..len).unwrap_or(&ZEROS)));
    }

    /// Reads one more block; `None` when all are read.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(), ReadError>>> {
        let Some(next) = ready!(self.ahead.poll_next(cx, &|_| false)) else { return Poll::Ready(None) };
        Poll::Ready(Some(next.and_then(|(cid, visit, bytes)| self.visit(cid, visit, &bytes))))
    }
}

impl Stream for ArchiveStream {
    type Item = Result<Bytes, ReadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(bytes) = this.out.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if this.done {
                return Poll::Ready(None);
            }
            match ready!(this.poll_read(cx)) {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    this.done = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.done = true;
                    this.zeros(ZEROS.len() as u64);
                }
            }
        }
    }
}

impl Directory {
    /// The path of an entry. Names may hold slashes and dots, as those of other gateways may, if they lead to a place of their
    /// own below the first directory.
    fn path_of(&self, name: &str) -> Option<String> {
        let mut parts: Vec<&str> = self.path.split('/').collect();
        for part in name.split('/') {
            match part {
                "" | "." => {}
                // Whoever leaves the first directory would come back as somebody else.
                ".." if parts.len() > 1 => {
                    parts.pop();
                }
                ".." => return None,
                part if part.contains('\0') => return None,
                part => parts.push(part),
            }
        }
        let path = parts.join("/");
        let above = self.path.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        (!above && path.len() <= PATH_BYTES_MAX).then_some(path)
    }
}

/// What is said of an entry. Nothing depends on when or by whom it is said. The bits that make a program run as its owner
/// are left out: a stranger's archive shall not hand them out.
fn header(kind: EntryType, meta: &Meta, len: u64) -> Header {
    let usual = match kind {
        EntryType::Directory => 0o755,
        EntryType::Symlink => 0o777,
        _ => 0o644,
    };
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(len);
    header.set_mode(meta.mode.map_or(usual, |mode| mode & 0o777));
    header.set_uid(0);
    header.set_gid(0);
    let seconds = meta.mtime.and_then(|(seconds, _)| u64::try_from(seconds).ok());
    header.set_mtime(seconds.unwrap_or(0));
    header
}

fn bad_name(name: &str, directory: Cid) -> ReadError {
    ReadError::EntryName { name: name.to_owned(), directory }
}

#[cfg(test)]
mod tests;
