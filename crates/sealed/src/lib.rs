//! Bytes in a sealed memory file. A server that holds what is often asked for in one can have the kernel send it to a socket
//! (`sendfile(2)`): the socket's buffer then refers to the file's pages, and nothing is copied.
//!
//! The file has no name, and its seals (`memfd_create(2)`, `F_GET_SEALS`) hold for everybody, this process included: nobody
//! can write to it, or change its length. So the pages that a socket still refers to never change, not even when the bytes
//! are dropped, and a mapping of it is as good as any other memory that is only read.
//!
//! This crate exists because mapping a file needs `unsafe`, which no other crate of Atoll may use.

use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Deref;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, sendfile};
use rustix::net::{SendFlags, send};
use rustix::process::{Resource, getrlimit};

/// Fewer bytes are not worth a file: a copy of them costs less than what the kernel does for pages.
pub const SEALED_BYTES_MIN: u64 = 32 * 1024;
/// The request that has bytes sealed, counted from the first that found them in memory: most are not asked for that often.
const SEALED_AFTER: u8 = 3;
/// The most files of one budget, each of which takes a descriptor,
const FILES_MAX: usize = 4096;
/// and the part of the process's descriptors that they may take: one in so many.
const DESCRIPTORS_PART: u64 = 8;

/// Bytes that never change, in memory, and a file that has the same.
#[derive(Debug)]
pub struct Sealed {
    file: File,
    map: Mmap,
}

/// How many files there may be at one time.
#[derive(Debug)]
pub struct Seals {
    used: AtomicUsize,
    max: usize,
}

/// Sealed bytes that count in a budget for as long as this is held.
#[derive(Debug)]
pub struct Seal {
    sealed: Arc<Sealed>,
    _place: Place,
}

/// One of the files of a budget.
#[derive(Debug)]
struct Place(Arc<Seals>);

/// How often bytes in memory were asked for, as far as it matters.
#[derive(Debug, Default)]
pub struct Asked(AtomicU8);

/// What [`Sealed::bytes`] hands out keeps the file.
struct Kept(Arc<Sealed>);

impl Asked {
    /// Counts a request; whether it is the one that has the bytes sealed.
    pub fn is_due(&self) -> bool {
        // Not counted for ever: workers would contend for the count.
        self.0.load(Ordering::Relaxed) < SEALED_AFTER
            && self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1) == SEALED_AFTER
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.0.map
    }
}

impl Sealed {
    /// Copies `parts`, one after the other. Takes one descriptor.
    ///
    /// # Errors
    /// What the system says: no descriptor, or no memory; and `InvalidInput` if there is not a single byte.
    pub fn new(parts: &[impl AsRef<[u8]>]) -> io::Result<Arc<Self>> {
        if parts.iter().all(|part| part.as_ref().is_empty()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut file = File::from(memfd_create(c"atoll", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        for part in parts {
            file.write_all(part.as_ref())?;
        }
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // Populated at once, so that the pages count as this process's resident memory. Private, since Linux before 6.7 maps
        // no sealed file shared; nothing is ever written, so that the pages are the file's all the same.
        //
        // SAFETY: a mapped file must not change while slices of it exist. The seals above forbid everybody to write to this
        // one or to shorten it, and no writable mapping of it was ever made.
        let map = unsafe { MmapOptions::new().populate().map_copy_read_only(&file) }?;
        Ok(Arc::new(Self { file, map }))
    }

    /// The bytes, without a copy; the file lives as long as they do.
    pub fn bytes(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Kept(Arc::clone(self)))
    }

    /// Where `slice` begins in the file, if it is a part of [`Sealed::bytes`], and not merely equal to one.
    pub fn offset_of(&self, slice: &[u8]) -> Option<u64> {
        let (ours, theirs) = (self.map.as_ptr_range(), slice.as_ptr_range());
        if slice.is_empty() || theirs.start < ours.start || theirs.end > ours.end {
            return None;
        }
        u64::try_from(theirs.start.addr().checked_sub(ours.start.addr())?).ok()
    }

    /// Sends at most `len` bytes from `offset` on; how many the socket took. Nothing is copied.
    ///
    /// # Errors
    /// What the system says; `WouldBlock` when the socket's buffer is full.
    pub fn send(&self, socket: impl AsFd, offset: u64, len: usize) -> io::Result<usize> {
        let mut offset = offset;
        Ok(sendfile(socket, &self.file, Some(&mut offset), len)?)
    }

    /// Sends `head`, and then as [`Sealed::send`] does, so that both leave in the same packet; how many bytes the socket took
    /// of both together.
    ///
    /// # Errors
    /// What the system says of the head; `WouldBlock` when the socket's buffer is full.
    pub fn send_after(&self, head: &[u8], socket: impl AsFd, offset: u64, len: usize) -> io::Result<usize> {
        let sent = send(&socket, head, SendFlags::MORE | SendFlags::NOSIGNAL)?;
        if sent < head.len() {
            return Ok(sent);
        }
        // What stopped the rest is said by the next call.
        Ok(sent.saturating_add(self.send(socket, offset, len).unwrap_or(0)))
    }
}

impl Seals {
    /// A budget of at most 4,096 files, and at most one in eight of the descriptors that this process may have.
    pub fn new() -> Arc<Self> {
        let part = |limit: u64| usize::try_from(limit / DESCRIPTORS_PART).unwrap_or(FILES_MAX);
        let max = getrlimit(Resource::Nofile).current.map_or(FILES_MAX, part).min(FILES_MAX);
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// How many there are.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Copies `parts` into a file, as [`Sealed::new`] does; `None` if there are too many files, or the system gives none.
    pub fn seal(self: &Arc<Self>, parts: &[impl AsRef<[u8]>]) -> Option<Arc<Seal>> {
        let more = |used: usize| used.checked_add(1).filter(|used| *used <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        let place = Place(Arc::clone(self));
        Some(Arc::new(Seal { sealed: Sealed::new(parts).ok()?, _place: place }))
    }
}

impl Deref for Seal {
    type Target = Arc<Sealed>;

    fn deref(&self) -> &Arc<Sealed> {
        &self.sealed
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::Relaxed);
    }
}
