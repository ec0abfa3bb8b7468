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
use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, sendfile};
use rustix::net::{SendFlags, send};

/// Bytes that never change, in memory, and a file that has the same.
#[derive(Debug)]
pub struct Sealed {
    file: File,
    map: Mmap,
}

/// What [`Sealed::bytes`] hands out keeps the file.
struct Kept(Arc<Sealed>);

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
