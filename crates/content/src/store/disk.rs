//! The few file operations that the store stands on, as a trait, so that a test can record each one and replay what a
//! crash would have left. [`OsDisk`] is the real one. Holds open descriptors only; a crash loses nothing.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::StoreError;

/// Bytes that can be read at an offset: a file, or a slice in tests and fuzzing.
pub trait ReadAt: Send + Sync {
    /// The length in bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn size(&self) -> io::Result<u64>;

    /// Fills `out` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the bytes end first, and what the operating system says.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
}

/// An open file of the store.
pub trait DiskFile: ReadAt + Debug {
    /// Writes all `parts`, one after another, from `offset`. Calls with several parts never overlap on one file.
    ///
    /// # Errors
    /// What the operating system says; part of the bytes may have been written.
    fn write_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// What the operating system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns once all that was written survives a loss of power.
    ///
    /// # Errors
    /// What the operating system says; then nothing is known about what is durable.
    fn sync_data(&self) -> io::Result<()>;
}

/// The store's folder. Names are relative to it, with `/` between folder and file.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Takes the folder for this process; creates it where it is missing. The lock ends when the value is dropped.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it.
    fn lock(&self) -> Result<Lock, StoreError>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` when it does not exist.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a file that did not exist, durable after [`Disk::sync_dir`] of its folder.
    ///
    /// # Errors
    /// `AlreadyExists`, and what the operating system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of the files in a folder; the store's own folder is `""`.
    ///
    /// # Errors
    /// What the operating system says.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Removes a file; descriptors that are open go on reading it.
    ///
    /// # Errors
    /// What the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations and removals in a folder durable.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_dir(&self, folder: &str) -> io::Result<()>;
}

/// Holds the store's folder for one process.
#[derive(Debug)]
pub struct Lock {
    /// Closing the descriptor releases the lock; simulated disks have none.
    _file: Option<File>,
}

impl Lock {
    /// The lock of a disk that only one store can see.
    pub fn simulated() -> Self {
        Self { _file: None }
    }
}

/// The folder that holds the packs.
pub(crate) const PACKS: &str = "packs";

/// A folder of the operating system.
#[derive(Debug)]
pub struct OsDisk {
    dir: PathBuf,
}

impl OsDisk {
    /// Uses `dir`, which [`Disk::lock`] creates.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }
}

impl Disk for OsDisk {
    fn lock(&self) -> Result<Lock, StoreError> {
        let packs = self.dir.join(PACKS);
        fs::create_dir_all(&packs).map_err(|error| StoreError::io("creating", &packs, error))?;
        let path = self.dir.join("lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(|error| StoreError::io("opening", &path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { dir: self.dir.clone() }),
            Err(TryLockError::Error(error)) => Err(StoreError::io("locking", &path, error)),
        }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.dir.join(name))?;
        Ok(Arc::new(file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.dir.join(name))?;
        Ok(Arc::new(file))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.dir.join(folder))? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        File::open(self.dir.join(folder))?.sync_all()
    }
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }
}

impl DiskFile for File {
    fn write_at(&self, offset: u64, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        if let [only] = parts {
            return self.write_all_at(only, offset);
        }
        let mut file = self;
        file.seek(SeekFrom::Start(offset))?;
        while !parts.is_empty() {
            match file.write_vectored(parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }
}

impl ReadAt for &[u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|start| self.get(start..));
        let bytes = rest.and_then(|rest| rest.get(..out.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }
}
