//! A segment: a numbered file of records that only grows, and is removed as a whole (docs/formats.md, "Stored responses"). A crash
//! leaves at most one record unfinished, at the end of the newest; it is cut off.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::bytes::{Reader, checksum};
use super::record::{FIXED_BYTES, HEAD_BYTES_MAX, Head, Salt};

const MAGIC: [u8; 8] = *b"atollseg";
const VERSION: u32 = 1;
/// Bytes before the first record.
pub(crate) const HEADER_BYTES: u64 = 36;
/// How much is read ahead where heads are read one after another, in bytes.
const WINDOW_BYTES: usize = 64 * 1024;

/// The random number that all files of one cache begin with.
pub(crate) type CacheId = [u8; 8];

/// An open segment. Its descriptor goes on reading when the file was removed.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u32,
    /// The moment at which it was begun.
    pub(crate) created: u64,
    pub(crate) salt: Salt,
    file: File,
    len: AtomicU64,
}

/// The file of a segment.
pub(crate) fn path_of(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.seg"))
}

/// The number in a file's name; `None` if it is no segment's.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".seg")?.parse().ok()?;
    (format!("{number:08}.seg") == name).then_some(number)
}

fn salt_of(id: CacheId, number: u32) -> Salt {
    let mut salt = Salt::default();
    let (first, last) = salt.split_at_mut(id.len());
    first.copy_from_slice(&id);
    last.copy_from_slice(&number.to_be_bytes());
    salt
}

impl Segment {
    /// A new one.
    pub(crate) fn create(folder: &Path, id: CacheId, number: u32, created: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path_of(folder, number))?;
        let mut header = Vec::new();
        header.extend(MAGIC);
        header.extend(VERSION.to_be_bytes());
        header.extend(number.to_be_bytes());
        header.extend(id);
        header.extend(created.to_be_bytes());
        header.extend(checksum(&[], &header).to_be_bytes());
        file.write_all_at(&header, 0)?;
        Ok(Self { number, created, salt: salt_of(id, number), file, len: AtomicU64::new(HEADER_BYTES) })
    }

    /// One that is there; `None` if it is not of this cache.
    pub(crate) fn open(folder: &Path, id: CacheId, number: u32) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).open(path_of(folder, number))?;
        let mut header = [0; 36];
        match file.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let len = AtomicU64::new(file.metadata()?.len());
        let created = created(&header, id, number);
        Ok(created.map(|created| Self { number, created, salt: salt_of(id, number), file, len }))
    }

    /// Bytes of it that count.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Adds bytes behind `len`; they count once [`Segment::grow`] says so.
    pub(crate) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    /// Says that all bytes before this count.
    pub(crate) fn grow(&self, len: u64) {
        self.len.store(len, Ordering::Release);
    }

    /// Cuts off what does not count.
    pub(crate) fn cut(&self, len: u64) -> io::Result<()> {
        self.grow(len);
        self.file.set_len(len)
    }

    /// Returns once what was written survives a loss of power, as far as the disk says.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Reads bytes.
    pub(crate) fn read(&self, at: u64, len: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes.into())
    }

    /// The head at an offset, of so many bytes.
    pub(crate) fn head(&self, at: u64, len: usize) -> io::Result<Option<Head>> {
        Ok(Head::decode(&self.salt, &self.read(at, len.min(HEAD_BYTES_MAX))?))
    }

    /// Calls `found` with each head and where it begins, in their order, until it says no or there is no further one. Where the
    /// records that it took end.
    pub(crate) fn scan(&self, mut found: impl FnMut(u64, Head) -> bool) -> io::Result<u64> {
        let end = self.len();
        let mut ahead = Ahead { segment: self, end, bytes: Bytes::new(), at: 0 };
        let mut at = HEADER_BYTES;
        while let Some((len, _)) = Head::measure(&self.salt, ahead.read(at, FIXED_BYTES)?) {
            let Some(head) = Head::decode(&self.salt, ahead.read(at, len)?) else { break };
            let next = at.saturating_add(head.bytes());
            if next > end || !found(at, head) {
                break;
            }
            at = next;
        }
        Ok(at)
    }
}

/// Bytes of a segment that are read ahead.
struct Ahead<'a> {
    segment: &'a Segment,
    end: u64,
    bytes: Bytes,
    at: u64,
}

impl Ahead<'_> {
    /// Bytes at an offset; fewer at the end.
    fn read(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        let wanted = len.min(left);
        let start = |from: u64| usize::try_from(at.saturating_sub(from)).unwrap_or(usize::MAX);
        let known = self.bytes.get(start(self.at)..).is_some_and(|known| known.len() >= wanted) && at >= self.at;
        if !known {
            self.bytes = self.segment.read(at, left.min(WINDOW_BYTES.max(wanted)))?;
            self.at = at;
        }
        let bytes = self.bytes.get(start(self.at)..).unwrap_or_default();
        Ok(bytes.get(..wanted).unwrap_or_default())
    }
}

/// When a segment was begun, by its header.
fn created(header: &[u8; 36], id: CacheId, number: u32) -> Option<u64> {
    let mut reader = Reader(header);
    let sum = Reader(header.get(32..)?).u32()?;
    let known =
        reader.array()? == MAGIC && reader.u32()? == VERSION && reader.u32()? == number && reader.array()? == id;
    let created = reader.u64()?;
    (known && checksum(&[], header.get(..32)?) == sum).then_some(created)
}
