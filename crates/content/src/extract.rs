//! A verified DAG onto the disk: `NAME.part` until it is whole, then one rename to `NAME`.
//!
//! Resuming needs no notes: a part of `NAME.part` that hashes to a leaf of the file is that leaf and is not fetched again.
//! Names come from strangers: none may lead out of the folder, and every open refuses to follow symlinks. Blocks the
//! thread on the disk, so this is for a command and not for a server. A crash leaves `NAME.part`, for the next run.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use atoll_core::block::RAW;
use atoll_core::hamt::{Slot, SlotPath};
use atoll_core::unixfs::Node;
use atoll_core::{Blocks, Cid};
use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, mkdirat, openat, readlinkat, renameat, statat, symlinkat};
use rustix::io::Errno;

use crate::dag::Ahead;
use crate::error::ReadError;
use crate::reader::{Expanded, Part, Resolved, decode, expand, list_shard};

/// Blocks that are fetched at once.
const AHEAD_BLOCKS: usize = 8;
/// The most folders within folders.
pub const FOLDERS_DEEP_MAX: usize = 256;

/// How much may be written, since a small DAG can unfold into an endless one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files, folders and symlinks.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
}

impl Default for Limits {
    /// A million entries, a tebibyte.
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 1 << 40 }
    }
}

/// What was extracted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Files, folders and symlinks that were begun.
    pub entries: u64,
    /// Bytes of files that are in place.
    pub bytes: u64,
    /// Those of them that lay there already.
    pub reused: u64,
}

/// Writes what `resolved` names to `target`: a file (which replaces a file of that name), a folder (which must not exist
/// yet) or a symlink. `progress` is called for each block.
///
/// # Errors
/// [`ExtractError`]; what is complete stays in `NAME.part`, and the next call goes on from there.
pub async fn extract(
    blocks: Arc<dyn Blocks>,
    resolved: &Resolved,
    target: &Path,
    limits: Limits,
    progress: &mut dyn FnMut(Extracted),
) -> Result<Extracted, ExtractError> {
    let io = |errno: Errno| ExtractError::Io { path: target.to_owned(), source: errno.into() };
    let name = target.file_name().and_then(|name| name.to_str()).ok_or(io(Errno::INVAL))?;
    let above = target.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = openat(CWD, above, FOLDER, Mode::empty()).map_err(io)?;
    let is_folder = |stat: &rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| is_folder(&stat)) {
        return Err(ExtractError::Exists(target.to_owned()));
    }
    let part = format!("{name}.part");
    let folder = Arc::new(Folder { fd: parent, path: above.to_owned(), depth: 0, stale: Mutex::default() });
    let root = resolved.roots.first().copied().unwrap_or(resolved.cid);
    let mut extraction = Extraction {
        ahead: Ahead::new(blocks, root, AHEAD_BLOCKS),
        limits,
        done: Extracted::default(),
        resumed: vec![],
    };
    let entry = Visit::Entry(Arc::clone(&folder), part.as_str().into());
    extraction.ahead.push_ready(resolved.cid, entry, resolved.bytes.clone());
    while let Some(next) = std::future::poll_fn(|cx| extraction.ahead.poll_next(cx, &|_| false)).await {
        let (cid, visit, bytes) = next?;
        extraction.visit(&cid, visit, &bytes)?;
        progress(extraction.done);
    }
    extraction.refuse_stale()?;
    renameat(&folder.fd, part.as_str(), &folder.fd, name).map_err(io)?;
    Ok(extraction.done)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

struct Extraction {
    ahead: Ahead<Visit>,
    limits: Limits,
    done: Extracted,
    /// Folders that were there before.
    resumed: Vec<Arc<Folder>>,
}

/// A folder that is being written to.
struct Folder {
    fd: OwnedFd,
    /// Its path, for errors.
    path: PathBuf,
    depth: usize,
    /// Names that an earlier run left and that this one did not come by yet.
    stale: Mutex<HashSet<String>>,
}

/// What a block is wanted for.
enum Visit {
    /// Whatever it is, under that name in that folder.
    Entry(Arc<Folder>, Box<str>),
    /// Entries of that folder, from that place of its trie.
    Shard(Arc<Folder>, SlotPath),
    /// Bytes of that file, from that offset.
    Part(Arc<Target>, Part, u64),
}

/// A file that is being written.
struct Target {
    file: File,
    path: PathBuf,
    /// Bytes that an earlier run left.
    had: u64,
}

impl Extraction {
    fn visit(&mut self, cid: &Cid, visit: Visit, bytes: &Bytes) -> Result<(), ExtractError> {
        match visit {
            Visit::Entry(folder, name) => self.entry(cid, &folder, &name, bytes),
            Visit::Shard(folder, path) => self.shard(*cid, &folder, &path, bytes),
            Visit::Part(target, part, offset) => self.part(cid, &target, &part, offset, bytes),
        }
    }

    fn entry(&mut self, cid: &Cid, folder: &Arc<Folder>, name: &str, bytes: &Bytes) -> Result<(), ExtractError> {
        self.done.entries += 1;
        if self.done.entries > self.limits.entries {
            return Err(ExtractError::TooManyEntries(self.limits.entries));
        }
        folder.stale.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        match decode(cid, bytes)? {
            Some(Node::File(file)) => {
                // What this file adds to all files begun so far is bounded before the first byte is written.
                let left = self.limits.bytes.saturating_sub(self.done.bytes);
                if file.len > left {
                    return Err(ExtractError::TooManyBytes(self.limits.bytes));
                }
                let target = Arc::new(folder.file(name, file.len)?);
                let part = Part { len: file.len, range: 0..file.len, depth: 0 };
                self.part(cid, &target, &part, 0, bytes)
            }
            Some(Node::Directory(directory)) => {
                let below = self.folder(folder, name)?;
                let mut seen = HashSet::new();
                let first = directory.entries.iter().filter(|link| seen.insert(link.name()));
                let entries = first.map(|link| below.visit(link.cid, link.name())).collect::<Result<_, _>>()?;
                Ok(self.ahead.push_front(entries)?)
            }
            Some(Node::Shard(_)) => {
                let below = self.folder(folder, name)?;
                self.shard(*cid, &below, &SlotPath::default(), bytes)
            }
            Some(Node::Symlink(link)) => folder.symlink(name, &link.target),
            _ => Err(ReadError::NotFile(*cid).into()),
        }
    }

    fn folder(&mut self, parent: &Arc<Folder>, name: &str) -> Result<Arc<Folder>, ExtractError> {
        let folder = Arc::new(parent.folder(name)?);
        if !folder.stale.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.resumed.push(Arc::clone(&folder));
        }
        Ok(folder)
    }

    fn shard(&mut self, cid: Cid, folder: &Arc<Folder>, path: &SlotPath, bytes: &Bytes) -> Result<(), ExtractError> {
        let mut visits = Vec::new();
        for (place, slot) in list_shard(cid, path, bytes)? {
            visits.push(match slot {
                Slot::Entry(link) => folder.visit(link.cid, link.name())?,
                Slot::Shard(next) => (next, Visit::Shard(Arc::clone(folder), place)),
            });
        }
        Ok(self.ahead.push_front(visits)?)
    }

    fn part(
        &mut self,
        cid: &Cid,
        target: &Arc<Target>,
        part: &Part,
        offset: u64,
        bytes: &Bytes,
    ) -> Result<(), ExtractError> {
        let Expanded { inline, children } = expand(cid, part, bytes)?;
        let mut at = offset;
        if let Some(inline) = inline {
            let io = |source| ExtractError::Io { path: target.path.clone(), source };
            target.file.write_all_at(&inline, at).map_err(io)?;
            at = at.saturating_add(inline.len() as u64);
            self.done.bytes = self.done.bytes.saturating_add(inline.len() as u64);
        }
        let mut wanted = Vec::new();
        for (cid, part) in children {
            let len = part.len;
            if target.has(&cid, at, len) {
                self.done.bytes = self.done.bytes.saturating_add(len);
                self.done.reused = self.done.reused.saturating_add(len);
            } else {
                wanted.push((cid, Visit::Part(Arc::clone(target), part, at)));
            }
            at = at.saturating_add(len);
        }
        Ok(self.ahead.push_front(wanted)?)
    }

    /// What an earlier run left and this one did not write belongs to another DAG.
    fn refuse_stale(&self) -> Result<(), ExtractError> {
        for folder in &self.resumed {
            if let Some(name) = folder.stale.lock().unwrap_or_else(PoisonError::into_inner).iter().next() {
                return Err(ExtractError::Stale(folder.path.join(name)));
            }
        }
        Ok(())
    }
}

impl Folder {
    /// An entry to come, if its name is one.
    fn visit(self: &Arc<Self>, cid: Cid, name: &str) -> Result<(Cid, Visit), ExtractError> {
        if matches!(name, "" | "." | "..") || name.contains(['/', '\\', '\0']) {
            return Err(ExtractError::Name { name: name.to_owned(), folder: self.path.clone() });
        }
        Ok((cid, Visit::Entry(Arc::clone(self), name.into())))
    }

    fn folder(&self, name: &str) -> Result<Self, ExtractError> {
        let path = self.path.join(name);
        if self.depth == FOLDERS_DEEP_MAX {
            return Err(ExtractError::TooDeep(path));
        }
        let io = |errno: Errno| ExtractError::Io { path: path.clone(), source: errno.into() };
        let existed = match mkdirat(&self.fd, name, Mode::from_raw_mode(0o777)) {
            Ok(()) => false,
            Err(Errno::EXIST) => true,
            Err(errno) => return Err(io(errno)),
        };
        let fd = openat(&self.fd, name, FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(io)?;
        let mut stale = HashSet::new();
        if existed {
            for entry in Dir::read_from(&fd).map_err(io)? {
                let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
                if name != "." && name != ".." {
                    stale.insert(name);
                }
            }
        }
        Ok(Self { fd, path, depth: self.depth + 1, stale: Mutex::new(stale) })
    }

    fn file(&self, name: &str, len: u64) -> Result<Target, ExtractError> {
        let path = self.path.join(name);
        let io = |source: io::Error| ExtractError::Io { path: path.clone(), source };
        // NONBLOCK: a pipe that lies there must not keep us waiting.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = openat(&self.fd, name, flags, Mode::from_raw_mode(0o666)).map_err(|errno| io(errno.into()))?;
        let file = File::from(fd);
        let meta = file.metadata().map_err(io)?;
        if !meta.is_file() {
            return Err(ExtractError::Stale(path));
        }
        if meta.len() > len {
            file.set_len(len).map_err(io)?;
        }
        Ok(Target { file, had: meta.len().min(len), path })
    }

    fn symlink(&self, name: &str, target: &[u8]) -> Result<(), ExtractError> {
        let path = self.path.join(name);
        match symlinkat(target, &self.fd, name) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => match readlinkat(&self.fd, name, Vec::new()) {
                Ok(there) if there.as_bytes() == target => Ok(()),
                _ => Err(ExtractError::Stale(path)),
            },
            Err(errno) => Err(ExtractError::Io { path, source: errno.into() }),
        }
    }
}

impl Target {
    /// Whether the bytes at `offset` are those of a raw leaf.
    fn has(&self, cid: &Cid, offset: u64, len: u64) -> bool {
        let end = offset.saturating_add(len);
        if cid.codec() != RAW || end > self.had || len > atoll_core::block::BLOCK_BYTES_MAX as u64 {
            return false;
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, offset).is_ok() && atoll_core::block::verify(cid, &bytes).is_ok()
    }
}

/// Why a DAG was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// A block could not be had, or is not what it should be.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A folder that is in the way.
    #[error("{path}: a folder is there already; remove it or choose another name", path = .0.display())]
    Exists(PathBuf),
    /// A rest of another DAG that is in the way.
    #[error("{path}: left over from something else; remove it", path = .0.display())]
    Stale(PathBuf),
    /// A name that would lead elsewhere.
    #[error("an entry of {folder} is named {name:?}, which is not a file name", folder = folder.display())]
    Name {
        /// The name.
        name: String,
        /// The folder in which it would be.
        folder: PathBuf,
    },
    /// More folders within folders than [`FOLDERS_DEEP_MAX`].
    #[error("{path}: more than {FOLDERS_DEEP_MAX} folders within folders", path = .0.display())]
    TooDeep(PathBuf),
    /// Over [`Limits::entries`].
    #[error("more than {0} files and folders")]
    TooManyEntries(u64),
    /// Over [`Limits::bytes`].
    #[error("more than {0} bytes")]
    TooManyBytes(u64),
}

#[cfg(test)]
mod tests;
