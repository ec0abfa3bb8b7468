//! Reading tar archives: POSIX, GNU and pax. Hostile until read: what leads out, lies about its size or floods is refused.
//! Nothing is unpacked. Keeps one entry; a crash loses nothing.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use tar::{Archive, Entry, EntryType};

use super::feed::{Event, Feed, Stop};
use super::{FOLDERS_DEEP_MAX, ImportError};

/// The most entries of an archive.
pub const ENTRIES_MAX: usize = 1_000_000;
/// The most bytes of headers before an entry: long names and pax records, which are held in memory.
const HEADERS_BYTES_MAX: u64 = 1024 * 1024;

/// Why an entry of an archive is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveFault {
    /// An absolute path, or one with `..`.
    #[error("its path leads out of the archive")]
    Outside,
    /// A link to an absolute path, or to above the root of the archive.
    #[error("its target leads out of the archive")]
    LinkOutside,
    /// A hard link to what did not come before.
    #[error("it is a link to what did not come before")]
    LinkTarget,
    /// A name that is not UTF-8, or empty.
    #[error("its name is not UTF-8, or empty")]
    Name,
    /// More folders within folders than [`FOLDERS_DEEP_MAX`].
    #[error("more than {FOLDERS_DEEP_MAX} folders within folders")]
    TooDeep,
    /// A sparse file, whose size is but a claim.
    #[error("sparse files are not taken; pack it without holes")]
    Sparse,
    /// A device, a pipe, or something unknown.
    #[error("neither file, folder nor link")]
    Special,
    /// A file where there is a folder, or the other way round.
    #[error("its path is taken by something of another kind")]
    Conflict,
    /// More entries than [`ENTRIES_MAX`].
    #[error("more than {ENTRIES_MAX} entries")]
    TooMany,
}

/// Reads the archive to its end.
pub(super) fn run(mut feed: Feed, reader: impl Read) {
    let ended = read(&mut feed, reader);
    feed.end(ended);
}

fn read(feed: &mut Feed, reader: impl Read) -> Result<(), Stop> {
    let left = Rc::new(Cell::new(HEADERS_BYTES_MAX));
    let mut archive = Archive::new(Bounded { reader, left: Rc::clone(&left) });
    let mut entries = archive.entries().map_err(ImportError::Stream)?;
    for count in 0.. {
        left.set(HEADERS_BYTES_MAX);
        let Some(entry) = entries.next() else { break };
        left.set(u64::MAX);
        let mut entry = entry.map_err(ImportError::Stream)?;
        take(feed, &mut entry, count)?;
    }
    Ok(())
}

fn take(feed: &mut Feed, entry: &mut Entry<'_, impl Read>, count: usize) -> Result<(), Stop> {
    let raw = entry.path_bytes().into_owned();
    let fail = |fault| Stop::Error(ImportError::Archive { entry: String::from_utf8_lossy(&raw).into_owned(), fault });
    if count == ENTRIES_MAX {
        return Err(fail(ArchiveFault::TooMany));
    }
    let path = inside(&raw, None).map_err(fail)?;
    if !path.split('/').all(|segment| feed.takes(segment.as_bytes())) {
        return skip(entry);
    }
    match entry.header().entry_type() {
        EntryType::Directory => feed.send(Event::Folder(path.into())),
        _ if path.is_empty() => Err(fail(ArchiveFault::Name)),
        EntryType::Regular | EntryType::Continuous => {
            if is_sparse(entry).map_err(ImportError::Stream)? {
                return Err(fail(ArchiveFault::Sparse));
            }
            let size = entry.size();
            feed.file(entry, size, &ImportError::Stream)?;
            feed.send(Event::FileEnd(path.into()))
        }
        EntryType::GNUSparse => Err(fail(ArchiveFault::Sparse)),
        EntryType::Symlink => {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            inside(&target, Some(&path)).map_err(|_| fail(ArchiveFault::LinkOutside))?;
            feed.send(Event::Symlink(path.into(), target))
        }
        EntryType::Link => {
            let first = entry.link_name_bytes().unwrap_or_default().into_owned();
            let first = inside(&first, None).map_err(|_| fail(ArchiveFault::LinkOutside))?;
            feed.send(Event::HardLink(path.into(), first.into()))
        }
        EntryType::XGlobalHeader => skip(entry),
        _ => Err(fail(ArchiveFault::Special)),
    }
}

/// Reads what is not taken, so that it does not count as headers of what follows.
fn skip(entry: &mut impl Read) -> Result<(), Stop> {
    io::copy(entry, &mut io::sink()).map_err(ImportError::Stream)?;
    Ok(())
}

/// Whether pax records say that holes were left out.
fn is_sparse(entry: &mut Entry<'_, impl Read>) -> io::Result<bool> {
    let Some(records) = entry.pax_extensions()? else { return Ok(false) };
    for record in records {
        if record?.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A path without `.`, of segments; it may climb only where it is the target of a symlink at `link`, and not above the root.
fn inside(raw: &[u8], link: Option<&str>) -> Result<String, ArchiveFault> {
    let text = std::str::from_utf8(raw).map_err(|_| ArchiveFault::Name)?;
    if text.starts_with('/') || text.contains('\0') {
        return Err(ArchiveFault::Outside);
    }
    let folder = link.and_then(|link| link.rsplit_once('/')).map_or("", |(folder, _)| folder);
    let mut segments: Vec<&str> = folder.split('/').filter(|segment| !segment.is_empty()).collect();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." if link.is_some() => drop(segments.pop().ok_or(ArchiveFault::Outside)?),
            ".." => return Err(ArchiveFault::Outside),
            segment => segments.push(segment),
        }
    }
    // The folders around, and the name.
    if segments.len() > FOLDERS_DEEP_MAX { Err(ArchiveFault::TooDeep) } else { Ok(segments.join("/")) }
}

/// A reader that gives no more than what is left.
struct Bounded<R> {
    reader: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buffer)?;
        match self.left.get().checked_sub(len as u64) {
            Some(left) => self.left.set(left),
            None => return Err(io::Error::other("the headers of an entry are over a mebibyte")),
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests;
