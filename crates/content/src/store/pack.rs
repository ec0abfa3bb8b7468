//! A pack: a numbered file of records that only grows, and how one is read back (docs/formats.md, "Packs").
//!
//! Packs are the store's truth: the order of pack numbers, then of offsets, is the order in which things happened. A
//! crash can only lose what was not yet written, or not yet synced; the scanner finds where that begins.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use atoll_core::Cid;
use atoll_core::block::{Multihash, RAW, verify};
use bytes::Bytes;

use super::disk::{Disk, DiskFile, PACKS, ReadAt};
use super::record::{HEAD_BYTES_MAX, Pin, Record, Salt};

/// The first bytes of every pack.
const MAGIC: &[u8; 8] = b"atollpak";
/// The version of the format that this program reads and writes.
pub(crate) const PACK_VERSION: u32 = 1;
/// Bytes before the first record.
pub(crate) const PACK_HEADER_BYTES: u64 = HEADER_LEN as u64;
const HEADER_LEN: usize = 28;
/// The largest pack: offsets are 32 bits wide in the index.
pub(crate) const PACK_BYTES_MAX: u64 = u32::MAX as u64;
/// How much the scanner reads ahead, in bytes.
const WINDOW_BYTES: usize = 64 * 1024;

/// An open pack. The descriptor stays usable when the file has been removed.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) number: u32,
    pub(crate) salt: Salt,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Bytes written and valid.
    len: AtomicU64,
    /// Bytes known to be durable.
    synced: AtomicU64,
}

impl Pack {
    /// Creates a pack durably: file, header and folder entry.
    pub(crate) fn create(disk: &dyn Disk, number: u32, salt: Salt) -> io::Result<Self> {
        let file = disk.create(&pack_name(number))?;
        let pack = Self::over(file, number, salt, 0);
        pack.write_header().inspect_err(|_| {
            // An empty pack left behind would only be cut by the next start; the error is what matters.
            let _ = disk.remove(&pack_name(number));
        })?;
        disk.sync_dir(PACKS)?;
        Ok(pack)
    }

    /// A pack over a file whose header was read already.
    pub(crate) fn over(file: Arc<dyn DiskFile>, number: u32, salt: Salt, len: u64) -> Self {
        Self { number, salt, file, len: AtomicU64::new(len), synced: AtomicU64::new(0) }
    }

    /// Empties the file and writes its header durably.
    pub(crate) fn write_header(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        let header = PackHeader { version: PACK_VERSION, number: self.number, salt: self.salt };
        self.file.write_at(0, &mut [io::IoSlice::new(&header.encode())])?;
        self.file.sync_data()?;
        self.len.store(PACK_HEADER_BYTES, Ordering::Release);
        self.synced.store(PACK_HEADER_BYTES, Ordering::Release);
        Ok(())
    }

    /// Bytes written and valid.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Says that bytes up to `len` are written (or cut).
    pub(crate) fn set_valid(&self, len: u64) {
        self.len.store(len, Ordering::Release);
    }

    /// Says that bytes up to `len` were durable when the index was committed.
    pub(crate) fn set_synced(&self, len: u64) {
        self.synced.store(len, Ordering::Release);
    }

    /// Makes all written bytes durable, if they are not yet.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let len = self.len();
        if self.synced.load(Ordering::Acquire) < len {
            self.file.sync_data()?;
            self.synced.fetch_max(len, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Reads the records from `from` to the last valid byte.
    pub(crate) fn scan(&self, from: u64) -> Scanner<'_> {
        Scanner::new(self.file.as_ref(), self.salt, from, self.len())
    }
}

/// The name of a pack in the store's folder.
pub(crate) fn pack_name(number: u32) -> String {
    format!("{PACKS}/{number:08}.pack")
}

/// The number in the name of a pack's file, `None` for other files.
pub(crate) fn pack_number(file_name: &str) -> Option<u32> {
    let digits = file_name.strip_suffix(".pack")?;
    let number = digits.parse().ok()?;
    (format!("{number:08}") == digits).then_some(number)
}

/// The header of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackHeader {
    pub(crate) version: u32,
    pub(crate) number: u32,
    pub(crate) salt: Salt,
}

impl PackHeader {
    /// The bytes that a pack begins with.
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&self.version.to_be_bytes());
        out[12..16].copy_from_slice(&self.number.to_be_bytes());
        out[16..24].copy_from_slice(&self.salt);
        let crc = crc32fast::hash(&out[..24]);
        out[24..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads a header, `None` when the bytes are not one.
    pub(crate) fn read(source: &dyn ReadAt) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEADER_LEN];
        match source.read_at(0, &mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if &bytes[..8] != MAGIC || crc32fast::hash(&bytes[..24]) != word(24) {
            return Ok(None);
        }
        let mut salt = Salt::default();
        salt.copy_from_slice(&bytes[16..24]);
        Ok(Some(Self { version: word(8), number: word(12), salt }))
    }
}

/// What the scanner finds, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A block whose bytes hash to its name.
    Block { at: u64, hash: Multihash, data: Bytes },
    /// A block whose bytes do not.
    Damaged { at: u64, hash: Multihash, len: u32 },
    /// A pin that is set or taken away.
    Pin { at: u64, pin: Pin, on: bool },
    /// Bytes that are no record, with a good record behind them.
    Gap { at: u64, end: u64 },
    /// Bytes that are no record, up to the end.
    Tail { at: u64 },
}

/// Walks over the records of a pack, hashing every block.
pub(crate) struct Scanner<'a> {
    source: &'a dyn ReadAt,
    salt: Salt,
    at: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Scanner<'a> {
    /// Reads `source` from `at` to `end`.
    pub(crate) fn new(source: &'a dyn ReadAt, salt: Salt, at: u64, end: u64) -> Self {
        Self { source, salt, at, end, window: Vec::new(), window_at: 0 }
    }

    /// Where the next record would begin.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// The next thing in the file, `None` at its end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let at = self.at;
        let Some(record) = self.record(at)? else {
            let next = self.resync(at)?;
            self.at = next.unwrap_or(self.end);
            return Ok(Some(next.map_or(Found::Tail { at }, |end| Found::Gap { at, end })));
        };
        self.at = at.saturating_add(record.bytes());
        Ok(Some(match record {
            Record::Pin { pin, on } => Found::Pin { at, pin, on },
            Record::Block { hash, len } => match self.data(at, &hash, len)? {
                Some(data) => Found::Block { at, hash, data },
                None => Found::Damaged { at, hash, len },
            },
        }))
    }

    /// The record at `at`, when there is one that fits into the file.
    fn record(&mut self, at: u64) -> io::Result<Option<Record>> {
        let left = self.end.saturating_sub(at);
        let salt = self.salt;
        let record = Record::parse(&salt, self.head(at)?);
        Ok(record.filter(|record| record.bytes() <= left))
    }

    /// The data of a block if it hashes to its name.
    fn data(&self, at: u64, hash: &Multihash, len: u32) -> io::Result<Option<Bytes>> {
        let head = super::record::block_head_bytes(hash);
        let mut data = vec![0; len as usize];
        self.source.read_at(at.saturating_add(head), &mut data)?;
        Ok(is_intact(hash, &data).then(|| data.into()))
    }

    /// Where the next good record begins. A block counts only if its bytes are good: its head alone could be chance.
    fn resync(&mut self, from: u64) -> io::Result<Option<u64>> {
        for at in from.saturating_add(1)..self.end {
            let good = match self.record(at)? {
                None => false,
                Some(Record::Pin { .. }) => true,
                Some(Record::Block { hash, len }) => self.data(at, &hash, len)?.is_some(),
            };
            if good {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The bytes at `at`, as many as a record's head can have.
    fn head(&mut self, at: u64) -> io::Result<&[u8]> {
        let wanted = self.end.saturating_sub(at).min(HEAD_BYTES_MAX as u64);
        let window_end = self.window_at.saturating_add(self.window.len() as u64);
        if at < self.window_at || at.saturating_add(wanted) > window_end {
            let len = self.end.saturating_sub(at).min(WINDOW_BYTES as u64);
            self.window.resize(usize::try_from(len).unwrap_or(WINDOW_BYTES), 0);
            self.source.read_at(at, &mut self.window)?;
            self.window_at = at;
        }
        let start = usize::try_from(at.saturating_sub(self.window_at)).unwrap_or(usize::MAX);
        let head = self.window.get(start..).unwrap_or_default();
        Ok(head.get(..HEAD_BYTES_MAX).unwrap_or(head))
    }
}

/// Whether bytes hash to a name. A hash function that nobody knows makes them as good as damaged.
pub(crate) fn is_intact(hash: &Multihash, data: &[u8]) -> bool {
    verify(&Cid::new_v1(RAW, *hash), data).is_ok()
}

/// What [`scan_bytes`] counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Blocks whose bytes hash to their names.
    pub blocks: u64,
    /// Blocks whose bytes do not.
    pub damaged: u64,
    /// Pins set or taken away.
    pub pins: u64,
    /// Bytes that belong to no record.
    pub skipped: u64,
}

/// Reads a whole pack from memory as the store reads its files; for fuzzing, and for tools. `None` without a header.
pub fn scan_bytes(pack: &[u8]) -> Option<Scanned> {
    let header = PackHeader::read(&pack).ok()??;
    let end = pack.len() as u64;
    let mut scanner = Scanner::new(&pack, header.salt, PACK_HEADER_BYTES, end);
    let mut scanned = Scanned::default();
    while let Ok(Some(found)) = scanner.next() {
        let (count, by) = match found {
            Found::Block { .. } => (&mut scanned.blocks, 1),
            Found::Damaged { .. } => (&mut scanned.damaged, 1),
            Found::Pin { .. } => (&mut scanned.pins, 1),
            Found::Gap { at, end } => (&mut scanned.skipped, end.saturating_sub(at)),
            Found::Tail { at } => (&mut scanned.skipped, end.saturating_sub(at)),
        };
        *count = count.saturating_add(by);
    }
    Some(scanned)
}

#[cfg(test)]
mod tests;
