//! Walking and reading: folders depth-first in order of names, files chunk by chunk.
//!
//! Each name is opened relative to the descriptor of its folder and without following symlinks, so that nothing that
//! moves meanwhile can lead outside. Keeps one descriptor per level. A crash loses nothing.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::vec;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, stat, statat};
use rustix::io::Errno;

use super::feed::{Event, Feed, Stop};
use super::{FOLDERS_DEEP_MAX, ImportError};

/// The walking thread.
pub(super) struct Walk {
    feed: Feed,
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

impl Walk {
    pub(super) fn new(feed: Feed) -> Self {
        Self { feed, folders: Vec::new(), path: PathBuf::new() }
    }

    /// Walks `root` and everything below.
    pub(super) fn run(mut self, root: &Path) {
        let ended = self.walk(root);
        self.feed.end(ended);
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
                self.feed.send(Event::Symlink(name, target.into_bytes()))
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
            if self.feed.takes(entry.file_name().to_bytes()) {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort_unstable();
        self.folders.push(Folder { fd, name, stat, names: names.into_iter() });
        self.feed.send(Event::Enter)
    }

    fn leave(&mut self) -> Result<(), Stop> {
        let Some(folder) = self.folders.pop() else { return Ok(()) };
        self.unchanged(&folder.fd, &folder.stat)?;
        self.path.pop();
        self.feed.send(Event::Leave(folder.name))
    }

    /// Reads a file.
    fn read(&mut self, fd: OwnedFd, name: Box<str>, found: &Stat) -> Result<(), Stop> {
        let mut file = File::from(fd);
        let len = u64::try_from(found.st_size).map_err(|_| self.io(Errno::FBIG))?;
        let path = self.path.clone();
        self.feed.file(&mut file, len, &|source| match source.kind() {
            ErrorKind::UnexpectedEof => ImportError::Changed(path.clone()),
            _ => ImportError::Io { path: path.clone(), source },
        })?;
        self.unchanged(&file, found)?;
        self.feed.send(Event::FileEnd(name))
    }

    fn io(&self, errno: Errno) -> ImportError {
        ImportError::Io { path: self.path.clone(), source: errno.into() }
    }
}
