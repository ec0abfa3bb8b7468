//! A LevelDB that is only read. What opening one writes (a new log, a new manifest, tables made of the old log) goes to
//! memory, so that the repository stays as it is. A crash loses that.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rusty_leveldb::env::{Env, FileLock, Logger, RandomAccess};
use rusty_leveldb::{MemEnv, Result, Status, StatusCode};

/// Files of the disk below those of memory.
pub(super) struct ReadOnly {
    memory: MemEnv,
    /// Files of the disk that count as deleted.
    deleted: RefCell<HashSet<PathBuf>>,
}

impl Default for ReadOnly {
    fn default() -> Self {
        Self { memory: MemEnv::new(), deleted: RefCell::default() }
    }
}

impl ReadOnly {
    fn in_memory(&self, path: &Path) -> bool {
        self.memory.exists(path).unwrap_or(false)
    }

    fn on_disk(&self, path: &Path) -> Result<File> {
        if self.deleted.borrow().contains(path) {
            return Err(Status::new(StatusCode::NotFound, "deleted"));
        }
        Ok(File::open(path)?)
    }
}

impl Env for ReadOnly {
    fn open_sequential_file(&self, path: &Path) -> Result<Box<dyn Read>> {
        if self.in_memory(path) {
            return self.memory.open_sequential_file(path);
        }
        Ok(Box::new(io::BufReader::new(self.on_disk(path)?)))
    }

    fn open_random_access_file(&self, path: &Path) -> Result<Box<dyn RandomAccess>> {
        if self.in_memory(path) {
            return self.memory.open_random_access_file(path);
        }
        Ok(Box::new(self.on_disk(path)?))
    }

    fn open_writable_file(&self, path: &Path) -> Result<Box<dyn Write>> {
        self.memory.open_writable_file(path)
    }

    fn open_appendable_file(&self, path: &Path) -> Result<Box<dyn Write>> {
        self.memory.open_appendable_file(path)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        Ok(self.in_memory(path) || (path.exists() && !self.deleted.borrow().contains(path)))
    }

    fn children(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let mut names: HashSet<PathBuf> = self.memory.children(path).unwrap_or_default().into_iter().collect();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if !self.deleted.borrow().contains(&entry.path()) {
                names.insert(entry.file_name().into());
            }
        }
        Ok(names.into_iter().collect())
    }

    fn size_of(&self, path: &Path) -> Result<usize> {
        if self.in_memory(path) {
            return self.memory.size_of(path);
        }
        let len = self.on_disk(path)?.metadata()?.len();
        usize::try_from(len).map_err(|_| Status::new(StatusCode::InvalidData, "a file is too large"))
    }

    fn delete(&self, path: &Path) -> Result<()> {
        self.deleted.borrow_mut().insert(path.to_owned());
        if self.in_memory(path) { self.memory.delete(path) } else { Ok(()) }
    }

    fn mkdir(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn rmdir(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.memory.rename(from, to)
    }

    // Whoever opened the repository holds its lock.
    fn lock(&self, path: &Path) -> Result<FileLock> {
        Ok(FileLock { id: path.display().to_string() })
    }

    fn unlock(&self, _: FileLock) -> Result<()> {
        Ok(())
    }

    fn new_logger(&self, _: &Path) -> Result<Logger> {
        Ok(Logger::new(Box::new(io::sink())))
    }

    fn micros(&self) -> u64 {
        0
    }

    fn sleep_for(&self, _: u32) {}
}
