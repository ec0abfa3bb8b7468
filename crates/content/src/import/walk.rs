//! Walking and reading: folders depth-first in order of names, files chunk by chunk.
//!
//! Each name is opened relative to the descriptor of its folder and without following symlinks, so that nothing that
//! moves meanwhile can lead outside. Keeps one descriptor per level. A crash loses nothing.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::vec;

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, stat, statat};
use rustix::io::Errno;

use super::buffers::Buffers;
use super::profile::Leaf;
use super::{FOLDERS_DEEP_MAX, ImportError, Options};

/// What was met on the walk, in order. Names are those in the folder around, of no meaning for the root.
pub(super) enum Event {
    /// A folder begins.
    Enter,
    /// The innermost folder ends.
    Leave(Box<str>),
    /// A chunk of the current file that was not worth another thread.
    Small(Leaf),
    /// A chunk of the current file, to be had from that hasher.
    Hashed(usize),
    /// The current file ends.
    FileEnd(Box<str>),
    /// A symlink and its target.
    Symlink(Box<str>, Vec<u8>),
}

/// Chunks below this are hashed where they are read: handing them over costs more.
const HANDOVER_BYTES_MIN: usize = 32 * 1024;

/// The walking thread.
pub(super) struct Walk {
    options: Options,
    buffers: Buffers,
    events: SyncSender<Result<Event, ImportError>>,
    hashers: Vec<SyncSender<Bytes>>,
    /// The hasher that gets the next chunk: each in turn.
    turn: usize,
    folders: Vec<Folder>,
    /// Where the walk is, for errors.
    path: PathBuf,
}

/// An open folder.
struct Folder {
    fd: OwnedFd,
    name: Box<str>,
    stat: Stat,
    names: vec::IntoIter<CString>,
}

/// Why a walk ends early: an error, or nobody listens any more.
enum Stop {
    Error(ImportError),
    Gone,
}

impl From<ImportError> for Stop {
    fn from(error: ImportError) -> Self {
        Self::Error(error)
    }
}

impl Walk {
    pub(super) fn new(
        options: Options,
        events: SyncSender<Result<Event, ImportError>>,
        hashers: Vec<SyncSender<Bytes>>,
    ) -> Self {
        let buffers = Buffers::new(options.chunk_bytes());
        Self { options, buffers, events, hashers, turn: 0, folders: Vec::new(), path: PathBuf::new() }
    }

    /// Walks `root` and everything below.
    pub(super) fn run(mut self, root: &Path) {
        if let Err(Stop::Error(error)) = self.walk(root) {
            // Whoever does not listen any more has an error already.
            let _ = self.events.send(Err(error));
        }
    }

    fn walk(&mut self, root: &Path) -> Result<(), Stop> {
        self.path = root.to_owned();
        let root_name = CString::new(root.as_os_str().as_bytes()).map_err(|_| self.io(Errno::INVAL))?;
        let found = stat(root).map_err(|errno| self.io(errno))?;
        self.visit(CWD, &root_name, "".into(), &found, OFlags::empty())?;
        while let Some(folder) = self.folders.last_mut() {
            let Some(name) = folder.names.next() else {
                self.leave()?;
                continue;
            };
            let fd = folder.fd.try_clone().map_err(|source| ImportError::Io { path: self.path.clone(), source })?;
            self.path.push(OsStr::from_bytes(name.to_bytes()));
            let text = name.to_str().map_err(|_| ImportError::NameNotUtf8(self.path.clone()))?;
            let found = statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| self.io(errno))?;
            let depth = self.folders.len();
            self.visit(fd.as_fd(), &name, text.into(), &found, OFlags::NOFOLLOW)?;
            if self.folders.len() == depth {
                self.path.pop();
            }
        }
        Ok(())
    }

    /// Handles one name that `lstat` found to be `found`.
    fn visit(
        &mut self,
        at: BorrowedFd<'_>,
        file: &CStr,
        name: Box<str>,
        found: &Stat,
        follow: OFlags,
    ) -> Result<(), Stop> {
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => self.enter(self.open(at, file, found, follow | OFlags::DIRECTORY)?, name),
            FileType::RegularFile => self.read(self.open(at, file, found, follow)?, name, found),
            FileType::Symlink => {
                let target = readlinkat(at, file, Vec::new()).map_err(|errno| self.io(errno))?;
                self.send(Event::Symlink(name, target.into_bytes()))
            }
            _ => Err(ImportError::Special(self.path.clone()).into()),
        }
    }

    /// Opens a name and makes sure that it still is what was found.
    fn open(&self, at: BorrowedFd<'_>, file: &CStr, found: &Stat, more: OFlags) -> Result<OwnedFd, ImportError> {
        // Should a pipe have taken the place meanwhile, this does not wait for its writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | more;
        let fd = openat(at, file, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR | Errno::NOENT | Errno::NXIO => ImportError::Changed(self.path.clone()),
            errno => self.io(errno),
        })?;
        self.unchanged(&fd, found)?;
        Ok(fd)
    }

    fn unchanged(&self, fd: impl AsFd, before: &Stat) -> Result<(), ImportError> {
        let now = fstat(fd).map_err(|errno| self.io(errno))?;
        let key = |s: &Stat| (s.st_dev, s.st_ino, s.st_mode, s.st_size, s.st_mtime, s.st_mtime_nsec);
        if key(&now) == key(before) { Ok(()) } else { Err(ImportError::Changed(self.path.clone())) }
    }

    fn enter(&mut self, fd: OwnedFd, name: Box<str>) -> Result<(), Stop> {
        if self.folders.len() == FOLDERS_DEEP_MAX {
            return Err(ImportError::TooDeep(self.path.clone()).into());
        }
        let stat = fstat(&fd).map_err(|errno| self.io(errno))?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd).map_err(|errno| self.io(errno))? {
            let entry = entry.map_err(|errno| self.io(errno))?;
            if self.takes(entry.file_name().to_bytes()) {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort_unstable();
        self.folders.push(Folder { fd, name, stat, names: names.into_iter() });
        self.send(Event::Enter)
    }

    fn takes(&self, name: &[u8]) -> bool {
        match name {
            b"." | b".." => false,
            b".well-known" => true,
            hidden if hidden.starts_with(b".") => self.options.hidden,
            _ => true,
        }
    }

    fn leave(&mut self) -> Result<(), Stop> {
        let Some(folder) = self.folders.pop() else { return Ok(()) };
        self.unchanged(&folder.fd, &folder.stat)?;
        self.path.pop();
        self.send(Event::Leave(folder.name))
    }

    /// Reads a file. One without bytes is one chunk without bytes.
    fn read(&mut self, fd: OwnedFd, name: Box<str>, found: &Stat) -> Result<(), Stop> {
        let file = File::from(fd);
        let mut left = u64::try_from(found.st_size).map_err(|_| self.io(Errno::FBIG))?;
        loop {
            let chunk =
                self.read_chunk(&file, usize::try_from(left).unwrap_or(usize::MAX).min(self.options.chunk_bytes()))?;
            left -= chunk.len() as u64;
            self.send_chunk(chunk)?;
            if left == 0 {
                break;
            }
        }
        self.unchanged(&file, found)?;
        self.send(Event::FileEnd(name))
    }

    fn read_chunk(&self, file: &File, len: usize) -> Result<Bytes, ImportError> {
        let mut file = file;
        self.buffers.filled(len, |chunk| file.read_exact(chunk)).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => ImportError::Changed(self.path.clone()),
            _ => ImportError::Io { path: self.path.clone(), source },
        })
    }

    fn send_chunk(&mut self, chunk: Bytes) -> Result<(), Stop> {
        if chunk.len() < HANDOVER_BYTES_MIN {
            let leaf = self.options.profile.leaf(chunk).map_err(ImportError::from)?;
            return self.send(Event::Small(leaf));
        }
        let hasher = self.turn;
        self.turn = (hasher + 1) % self.hashers.len().max(1);
        // First the event: whoever assembles takes from the hasher what the hasher must get rid of.
        self.send(Event::Hashed(hasher))?;
        self.hashers.get(hasher).ok_or(Stop::Gone)?.send(chunk).map_err(|_| Stop::Gone)
    }

    fn send(&self, event: Event) -> Result<(), Stop> {
        self.events.send(Ok(event)).map_err(|_| Stop::Gone)
    }

    fn io(&self, errno: Errno) -> ImportError {
        ImportError::Io { path: self.path.clone(), source: errno.into() }
    }
}
