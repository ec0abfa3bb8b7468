//! From whoever reads to whoever assembles: chunks by way of the hashers, everything else in the order in which it came.
//! Keeps nothing but its turn; a crash loses what is under way.

use std::io::{ErrorKind, Read};
use std::sync::mpsc::SyncSender;

use bytes::Bytes;

use super::buffers::Buffers;
use super::profile::Leaf;
use super::{ImportError, Options};

/// What was met, in order. Names are those in the folder around, of no meaning for the root; in an archive they are paths.
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
    /// A folder of an archive.
    Folder(Box<str>),
    /// A second name in an archive, and the first.
    HardLink(Box<str>, Box<str>),
}

/// Chunks below this are hashed where they are read: handing them over costs more.
const HANDOVER_BYTES_MIN: usize = 32 * 1024;

/// The reading end.
pub(super) struct Feed {
    pub(super) options: Options,
    buffers: Buffers,
    events: SyncSender<Result<Event, ImportError>>,
    hashers: Vec<SyncSender<Bytes>>,
    /// The hasher that gets the next chunk: each in turn.
    turn: usize,
}

/// Why reading ends early: an error, or nobody listens any more.
pub(super) enum Stop {
    Error(ImportError),
    Gone,
}

impl From<ImportError> for Stop {
    fn from(error: ImportError) -> Self {
        Self::Error(error)
    }
}

impl Feed {
    pub(super) fn new(
        options: Options,
        events: SyncSender<Result<Event, ImportError>>,
        hashers: Vec<SyncSender<Bytes>>,
    ) -> Self {
        Self { options, buffers: Buffers::new(options.chunk_bytes()), events, hashers, turn: 0 }
    }

    /// Passes on how reading ended.
    pub(super) fn end(&self, ended: Result<(), Stop>) {
        if let Err(Stop::Error(error)) = ended {
            // Whoever does not listen any more has an error already.
            let _ = self.events.send(Err(error));
        }
    }

    pub(super) fn send(&self, event: Event) -> Result<(), Stop> {
        self.events.send(Ok(event)).map_err(|_| Stop::Gone)
    }

    /// Whether a name is taken; the root's is not asked.
    pub(super) fn takes(&self, name: &[u8]) -> bool {
        match name {
            b"." | b".." => false,
            b".well-known" => true,
            hidden if hidden.starts_with(b".") => self.options.hidden,
            _ => true,
        }
    }

    /// Passes on `left` bytes of a file, of which there must be so many. A file without bytes is one chunk without bytes.
    pub(super) fn file(
        &mut self,
        reader: &mut dyn Read,
        mut left: u64,
        failed: &dyn Fn(std::io::Error) -> ImportError,
    ) -> Result<(), Stop> {
        loop {
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.options.chunk_bytes());
            let chunk = self.buffers.filled(len, |chunk| reader.read_exact(chunk)).map_err(failed)?;
            left -= chunk.len() as u64;
            self.chunk(chunk)?;
            if left == 0 {
                return Ok(());
            }
        }
    }

    /// Passes on all that comes as the one file there is, in a folder if it has a name.
    pub(super) fn lone_file(&mut self, reader: &mut dyn Read, name: Option<&str>) -> Result<(), Stop> {
        if name.is_some() {
            self.send(Event::Enter)?;
        }
        self.stream(reader, &ImportError::Stream)?;
        self.send(Event::FileEnd(name.unwrap_or_default().into()))?;
        if name.is_some() { self.send(Event::Leave("".into())) } else { Ok(()) }
    }

    fn stream(&mut self, reader: &mut dyn Read, failed: &dyn Fn(std::io::Error) -> ImportError) -> Result<(), Stop> {
        let mut first = true;
        loop {
            let mut chunk = Vec::with_capacity(self.options.chunk_bytes());
            let wanted = self.options.chunk_bytes() as u64;
            let mut part = reader.take(wanted);
            while let Err(error) = part.read_to_end(&mut chunk) {
                if error.kind() != ErrorKind::Interrupted {
                    return Err(failed(error).into());
                }
            }
            let last = (chunk.len() as u64) < wanted;
            if first || !chunk.is_empty() {
                self.chunk(chunk.into())?;
            }
            if last {
                return Ok(());
            }
            first = false;
        }
    }

    fn chunk(&mut self, chunk: Bytes) -> Result<(), Stop> {
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
}
