//! The journal of a cache on disk: what was purged and when (docs/formats.md, "Purges"). A purge is acknowledged once it is synced here.
//! A crash loses what was not acknowledged. When the journal itself is lost or damaged, the cache on disk is emptied: nobody knows then
//! what was purged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::bytes::{Reader, checksum, put_counted};
use super::segment::CacheId;
use crate::purge::{Degree, Noted, Purge, Purges};

const MAGIC: [u8; 8] = *b"atollprg";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 28;
/// Bytes of a record before its names.
const FIXED_BYTES: usize = 20;
/// By how much the file grows before it is written anew, in bytes.
const GROWTH_BYTES_MAX: u64 = 1024 * 1024;
/// The largest file that is read, in bytes; what is remembered takes less.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The most starts of one cache.
const EPOCH_MAX: u32 = (1 << 24) - 1;
/// Bits of a moment that count within one start.
const EPOCH_SHIFT: u32 = 40;

/// What a journal says.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The cache that it is of.
    pub(crate) id: CacheId,
    /// How often it was started.
    epoch: u32,
    pub(crate) noted: Vec<(Noted, u64)>,
}

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    id: CacheId,
    epoch: u32,
    growing: Mutex<Growing>,
}

#[derive(Debug)]
struct Growing {
    /// None after a failure: what is behind the last record is not known.
    file: Option<File>,
    /// Bytes that may be added before it is written anew.
    left: u64,
}

/// What is there; a new cache if there is nothing that can be believed.
pub(crate) fn read(path: &Path) -> io::Result<Kept> {
    let bytes = match fs::metadata(path) {
        Ok(metadata) if metadata.len() <= BYTES_MAX => fs::read(path)?,
        Ok(_) => Vec::new(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    if let Some(kept) = parse(&bytes).filter(|kept| kept.epoch < EPOCH_MAX) {
        return Ok(kept);
    }
    if !bytes.is_empty() {
        tracing::warn!(path = %path.display(), "the journal of purges is damaged; the cache on disk is emptied");
    }
    let mut id = CacheId::default();
    getrandom::fill(&mut id)?;
    Ok(Kept { id, epoch: 0, noted: Vec::new() })
}

/// Reads a journal; `None` if it is damaged. Of a record that was not finished, which nobody was told of, nothing counts.
pub(crate) fn parse(bytes: &[u8]) -> Option<Kept> {
    let header = bytes.get(..HEADER_BYTES)?;
    let mut reader = Reader(header);
    let (magic, version, id, epoch) = (reader.array()?, reader.u32()?, reader.array()?, reader.u32()?);
    if magic != MAGIC || version != VERSION || reader.u32()? != checksum(&[], header.get(..HEADER_BYTES - 4)?) {
        return None;
    }
    let (mut rest, mut noted) = (Reader(bytes.get(HEADER_BYTES..)?), Vec::new());
    while let Some(fixed) = rest.take(FIXED_BYTES) {
        let mut reader = Reader(fixed);
        let (len, kind, degree, moment) = (reader.u32()?, reader.u16()?, reader.u16()?, reader.u64()?);
        if reader.u32()? != checksum(&id, fixed.get(..FIXED_BYTES - 4)?) {
            return None;
        }
        let names = usize::try_from(len).ok().and_then(|len| rest.take(len));
        let (Some(names), Some(sum)) = (names, rest.u32()) else { break };
        if checksum(&id, &[fixed, names].concat()) != sum {
            return None;
        }
        noted.push((decode(kind, degree, names)?, moment));
    }
    Some(Kept { id, epoch, noted })
}

fn decode(kind: u16, degree: u16, names: &[u8]) -> Option<Noted> {
    let mut reader = Reader(names);
    let degree = if degree == 0 { Degree::Hard } else { Degree::Soft };
    let noted = match kind {
        0 => Noted::Purged(Purge::Everything, degree),
        1 => Noted::Purged(Purge::Url(reader.text()?.to_owned()), degree),
        2 => Noted::Purged(Purge::Prefix(reader.text()?.to_owned()), degree),
        3 => {
            let (host, group) = (reader.text()?.to_owned(), reader.text()?.to_owned());
            Noted::Purged(Purge::Group { host, group }, degree)
        }
        4 => Noted::Removed(reader.u128()?),
        _ => return None,
    };
    reader.0.is_empty().then_some(noted)
}

/// A record; `None` if its names are too long.
fn encode(id: CacheId, noted: &Noted, moment: u64) -> Option<Vec<u8>> {
    let mut names = Vec::new();
    let (kind, degree) = match noted {
        Noted::Removed(digest) => {
            names.extend(digest.to_be_bytes());
            (4_u16, Degree::Hard)
        }
        Noted::Purged(what, degree) => {
            let kind = match what {
                Purge::Everything => 0,
                Purge::Url(url) => put_counted(&mut names, url.as_bytes()).map(|()| 1)?,
                Purge::Prefix(prefix) => put_counted(&mut names, prefix.as_bytes()).map(|()| 2)?,
                Purge::Group { host, group } => {
                    put_counted(&mut names, host.as_bytes())?;
                    put_counted(&mut names, group.as_bytes()).map(|()| 3)?
                }
            };
            (kind, *degree)
        }
    };
    let mut out = Vec::new();
    out.extend(u32::try_from(names.len()).ok()?.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend(u16::from(degree == Degree::Soft).to_be_bytes());
    out.extend(moment.to_be_bytes());
    out.extend(checksum(&id, &out).to_be_bytes());
    out.extend(names);
    out.extend(checksum(&id, &[out.get(..FIXED_BYTES)?, out.get(FIXED_BYTES..)?].concat()).to_be_bytes());
    Some(out)
}

impl Journal {
    /// Begins one more start of a cache, durably: what is purged from now on is later than all that was stored before.
    pub(crate) fn begin(path: PathBuf, kept: &Kept, purges: &Purges) -> io::Result<Self> {
        let growing = Mutex::new(Growing { file: None, left: 0 });
        let journal = Self { path, id: kept.id, epoch: kept.epoch.saturating_add(1), growing };
        let growing = journal.rewrite(purges)?;
        *journal.growing.lock().unwrap_or_else(PoisonError::into_inner) = growing;
        Ok(journal)
    }

    /// The first moment of this start.
    pub(crate) fn first_moment(&self) -> u64 {
        (u64::from(self.epoch) << EPOCH_SHIFT) | 1
    }

    /// Adds to it what `purges` knows already. It survives the process once this returns, and a loss of power if it is to be `synced`.
    pub(crate) fn add(&self, noted: &Noted, moment: u64, synced: bool, purges: &Purges) -> io::Result<()> {
        let record = encode(self.id, noted, moment).ok_or(io::ErrorKind::InvalidInput)?;
        let mut growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let left = growing.left.checked_sub(record.len() as u64);
        if let (Some(mut file), Some(left)) = (growing.file.take(), left) {
            let written = file.write_all(&record).and_then(|()| if synced { file.sync_data() } else { Ok(()) });
            match written {
                Ok(()) => {
                    *growing = Growing { file: Some(file), left };
                    return Ok(());
                }
                Err(error) => tracing::warn!(%error, "the journal of purges could not be written; it is written anew"),
            }
        }
        *growing = self.rewrite(purges)?;
        Ok(())
    }

    /// Writes all that is remembered into a new file, which takes the place of the old one.
    fn rewrite(&self, purges: &Purges) -> io::Result<Growing> {
        atoll_durable::replace(&self.path, |out| {
            let mut header = Vec::new();
            header.extend(MAGIC);
            header.extend(VERSION.to_be_bytes());
            header.extend(self.id);
            header.extend(self.epoch.to_be_bytes());
            header.extend(checksum(&[], &header).to_be_bytes());
            out.write_all(&header)?;
            for (noted, moment) in purges.all() {
                out.write_all(&encode(self.id, &noted, moment).ok_or(io::ErrorKind::InvalidInput)?)?;
            }
            Ok(())
        })?;
        let file = OpenOptions::new().append(true).open(&self.path)?;
        Ok(Growing { file: Some(file), left: GROWTH_BYTES_MAX })
    }
}

/// Reads bytes as a journal; for fuzzing.
pub(crate) fn fuzz(data: &[u8]) {
    if let Some(kept) = parse(data) {
        for (noted, moment) in &kept.noted {
            assert!(encode(kept.id, noted, *moment).is_some());
        }
    }
    let id = CacheId::default();
    for (kind, degree) in (0..5).flat_map(|kind| [(kind, 0), (kind, 1)]) {
        let Some(noted) = decode(kind, degree, data) else { continue };
        assert!(encode(id, &noted, 7).is_some_and(|record| record.len() == FIXED_BYTES + data.len() + 4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purge(url: &str) -> Noted {
        Noted::Purged(Purge::Url(url.to_owned()), Degree::Hard)
    }

    #[test]
    fn what_was_added_is_there_at_the_next_start_which_is_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("purges");
        let (mut moment, mut id) = (0, None);
        for n in 0..3 {
            let (kept, purges) = (read(&path).unwrap(), Purges::default());
            assert_eq!(kept.noted.len(), n);
            assert!(id.is_none_or(|id| id == kept.id));
            id = Some(kept.id);
            kept.noted.iter().for_each(|(noted, moment)| purges.add(noted, *moment));
            let journal = Journal::begin(path.clone(), &kept, &purges).unwrap();
            assert!(journal.first_moment() > moment);
            moment = journal.first_moment() + 1;
            purges.add(&purge(&n.to_string()), moment);
            journal.add(&purge(&n.to_string()), moment, n == 0, &purges).unwrap();
        }
    }

    #[test]
    fn a_record_that_is_unfinished_counts_for_nothing_and_a_damaged_one_for_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("purges");
        let kept = read(&path).unwrap();
        let purges = Purges::default();
        let journal = Journal::begin(path.clone(), &kept, &purges).unwrap();
        for n in 0..4 {
            journal.add(&purge(&n.to_string()), n, false, &purges).unwrap();
        }
        let bytes = fs::read(&path).unwrap();
        let record = (bytes.len() - HEADER_BYTES) / 4;
        for cut in 0..record {
            let kept = parse(&bytes[..bytes.len() - cut]).unwrap();
            assert_eq!(kept.noted.len(), if cut == 0 { 4 } else { 3 });
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(parse(&damaged).is_none(), "a flipped bit in byte {at} is not noticed");
        }
        fs::write(&path, &bytes[..HEADER_BYTES - 1]).unwrap();
        assert_ne!(read(&path).unwrap().id, kept.id);
    }

    #[test]
    fn it_is_written_anew_when_it_has_grown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("purges");
        let (kept, purges) = (read(&path).unwrap(), Purges::default());
        let journal = Journal::begin(path.clone(), &kept, &purges).unwrap();
        for moment in 1..=600 {
            let noted = purge(&"x".repeat(8000));
            purges.add(&noted, moment);
            journal.add(&noted, moment, false, &purges).unwrap();
            assert!(fs::metadata(&path).unwrap().len() < 2 * GROWTH_BYTES_MAX);
        }
        assert_eq!(read(&path).unwrap().noted.last().unwrap().1, 600);
    }
}
