//! Files and folders as UnixFS by a profile of IPIP-499: the CIDs that `ipfs add -r` makes under the same profile.
//!
//! One thread walks and reads, a few hash, the caller's assembles in order and hands blocks to a [`Sink`], children
//! before parents. Memory is some twenty chunks, and the names and links of the folders that are open. Blocks that the
//! sink took before an error are of no consequence: no root names them. A crash loses what the sink had not kept.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use atoll_core::block::BLOCK_BYTES_MAX;
use atoll_core::hamt::HamtError;
use atoll_core::unixfs::UnixFsError;
use atoll_core::{Block, BlockError, Cid};
use bytes::Bytes;

mod archive;
mod buffers;
mod feed;
mod paths;
mod profile;
mod tree;
mod walk;

pub use archive::{ArchiveFault, ENTRIES_MAX};
pub use profile::{Profile, UnknownProfile};

use feed::{Event, Feed};
use profile::Leaf;
use tree::Tree;
use walk::Walk;

/// Bytes of a chunk in [`Profile::UnixfsV1`].
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// The largest chunk, in bytes: what a block holds beside the framing of a dag-pb leaf.
pub const CHUNK_BYTES_MAX: usize = BLOCK_BYTES_MAX - 64;
/// The most folders within folders.
pub const FOLDERS_DEEP_MAX: usize = 256;

/// Where the blocks of an import go: the store, a CAR, or nowhere.
pub trait Sink {
    /// Takes a block. It need not be durable before whoever owns the sink says so.
    ///
    /// # Errors
    /// What keeps the block from being taken; the import ends with it.
    fn put(&mut self, block: Block) -> io::Result<()>;
}

/// Takes blocks nowhere: for `--only-hash`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopSink;

impl Sink for NoopSink {
    fn put(&mut self, _block: Block) -> io::Result<()> {
        Ok(())
    }
}

/// What is taken, and how it is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How files are cut and folders laid out.
    pub profile: Profile,
    /// Bytes of a chunk, from 1 to [`CHUNK_BYTES_MAX`], if not the profile's own: then the CIDs are not the profile's either.
    pub chunk_bytes: Option<usize>,
    /// Whether names that begin with a dot are taken. `.well-known` always is, at any depth.
    pub hidden: bool,
}

impl Options {
    fn chunk_bytes(&self) -> usize {
        self.chunk_bytes.unwrap_or(self.profile.chunk_bytes())
    }
}

/// How far an import is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files and symlinks that are complete.
    pub files: u64,
    /// Bytes of files.
    pub bytes: u64,
}

/// What was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The CID of the file or folder.
    pub root: Cid,
    /// Bytes of all blocks below, repeats counted.
    pub tsize: u64,
    /// Files and bytes.
    pub total: Progress,
}

/// Imports the file or folder at `path`, which may itself be a symlink; symlinks below are stored, never followed.
///
/// Blocks the calling thread. `progress` is called for each chunk and each file.
///
/// # Errors
/// [`ImportError`] names the file at fault.
pub fn import(
    path: &Path,
    options: Options,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    assembled(options, Tree::new(options.profile, sink), progress, |feed| Walk::new(feed).run(path))
}

/// Where what is imported comes from.
pub enum Source<'a> {
    /// A file or folder.
    Path(&'a Path),
    /// The bytes of one file; with a name, the file lies under it in a folder.
    Stream(&'a mut (dyn Read + Send), Option<&'a str>),
    /// A tar archive.
    Tar(&'a mut (dyn Read + Send)),
}

/// Imports from wherever it comes. Blocks the calling thread.
///
/// # Errors
/// As [`import`], [`import_stream`] and [`import_tar`].
pub fn import_from(
    source: Source<'_>,
    options: Options,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    match source {
        Source::Path(path) => import(path, options, sink, progress),
        Source::Stream(reader, name) => import_stream(reader, name, options, sink, progress),
        Source::Tar(reader) => import_tar(reader, options, sink, progress),
    }
}

/// Imports the bytes of `reader` as one file, which lies in a folder if it has a name. Blocks the calling thread.
///
/// # Errors
/// [`ImportError::Stream`], [`ImportError::NameMalformed`], and as [`import`].
pub fn import_stream(
    reader: impl Read + Send,
    name: Option<&str>,
    options: Options,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    if let Some(name) = name.filter(|name| ["", ".", ".."].contains(name) || name.contains(['/', '\0'])) {
        return Err(ImportError::NameMalformed(name.to_owned()));
    }
    let mut reader = reader;
    assembled(options, Tree::new(options.profile, sink), progress, |mut feed| {
        let ended = feed.lone_file(&mut reader, name);
        feed.end(ended);
    })
}

/// Imports a tar archive as the folder that it would be unpacked to; nothing is unpacked. Blocks the calling thread.
///
/// Refused are paths and links that lead out of the archive, sparse files, devices, more than [`ENTRIES_MAX`] entries, and
/// whatever claims a name that is taken by something of another kind.
///
/// # Errors
/// [`ImportError::Archive`] names the entry, [`ImportError::Stream`] says why no more could be read; and as [`import`].
pub fn import_tar(
    reader: impl Read + Send,
    options: Options,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    assembled(options, Tree::of_archive(options.profile, sink), progress, |feed| archive::run(feed, reader))
}

/// Reads on one thread, hashes on a few, and assembles on this.
fn assembled<'s>(
    options: Options,
    tree: Tree<'s>,
    progress: &mut dyn FnMut(Progress),
    read: impl FnOnce(Feed) + Send,
) -> Result<Imported, ImportError> {
    let chunk_bytes = options.chunk_bytes();
    if chunk_bytes == 0 || chunk_bytes > CHUNK_BYTES_MAX {
        return Err(ImportError::ChunkSize(chunk_bytes));
    }
    thread::scope(|scope| {
        let (events, incoming) = sync_channel(EVENTS_MAX);
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(HASHERS_MAX) {
            let (input, chunks) = sync_channel(HASHER_QUEUE_MAX);
            let (blocks, output) = sync_channel(HASHER_QUEUE_MAX);
            scope.spawn(move || hash_chunks(options.profile, &chunks, &blocks));
            inputs.push(input);
            outputs.push(output);
        }
        scope.spawn(move || read(Feed::new(options, events, inputs)));
        assemble(&incoming, &outputs, tree, progress)
    })
}

/// Threads that hash.
const HASHERS_MAX: usize = 4;
/// Chunks that wait at each hasher, before and after.
const HASHER_QUEUE_MAX: usize = 2;
/// Events that wait for assembly. Small files travel in them, hence not many.
const EVENTS_MAX: usize = 256;

/// Hashes chunks in the order in which they come, until nobody sends or takes any.
fn hash_chunks(profile: Profile, chunks: &Receiver<Bytes>, leaves: &SyncSender<Result<Leaf, BlockError>>) {
    for chunk in chunks {
        if leaves.send(profile.leaf(chunk)).is_err() {
            return;
        }
    }
}

/// Puts together what was read, in the order of reading.
fn assemble(
    events: &Receiver<Result<Event, ImportError>>,
    hashed: &[Receiver<Result<Leaf, BlockError>>],
    mut tree: Tree<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    let mut total = Progress::default();
    for event in events {
        match event? {
            Event::Enter => tree.enter(),
            Event::Leave(name) => tree.leave(name)?,
            Event::Small(leaf) => {
                total.bytes += leaf.len;
                tree.chunk(leaf)?;
            }
            Event::Hashed(hasher) => {
                let leaf = hashed.get(hasher).and_then(|leaves| leaves.recv().ok()).ok_or(ImportError::Aborted)??;
                total.bytes += leaf.len;
                tree.chunk(leaf)?;
            }
            Event::FileEnd(name) => {
                total.files += 1;
                tree.file_end(name)?;
            }
            Event::Symlink(name, target) => {
                total.files += 1;
                tree.symlink(name, &target)?;
            }
            Event::Folder(path) => tree.folder(&path)?,
            Event::HardLink(path, first) => {
                total.files += 1;
                tree.hard_link(&path, &first)?;
            }
        }
        progress(total);
    }
    let (root, tsize) = tree.finish()?;
    Ok(Imported { root, tsize, total })
}

/// Why a file or folder was not imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// UnixFS names are UTF-8.
    #[error("{path}: the name is not UTF-8; rename it", path = .0.display())]
    NameNotUtf8(PathBuf),
    /// A pipe, a socket or a device.
    #[error("{path}: neither file, folder nor symlink; leave it out or remove it", path = .0.display())]
    Special(PathBuf),
    /// Size, time or identity changed between the first and the last look.
    #[error("{path}: changed while it was read; try again when nobody writes to it", path = .0.display())]
    Changed(PathBuf),
    /// More folders within folders than [`FOLDERS_DEEP_MAX`].
    #[error("{path}: more than {FOLDERS_DEEP_MAX} folders within folders", path = .0.display())]
    TooDeep(PathBuf),
    /// The sink did not take a block.
    #[error("a block could not be stored: {0}")]
    Sink(#[source] io::Error),
    /// A chunk size that no block can have.
    #[error("a chunk size of {0} is not between 1 and {CHUNK_BYTES_MAX}")]
    ChunkSize(usize),
    /// A node over the limit of blocks.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A node that UnixFS does not allow.
    #[error(transparent)]
    UnixFs(#[from] UnixFsError),
    /// A folder that no trie can hold.
    #[error(transparent)]
    Hamt(#[from] HamtError),
    /// A name that no file has.
    #[error("`{0}` is no name for a file: not empty, no `/`, neither `.` nor `..`")]
    NameMalformed(String),
    /// What was to be read as a stream could not be.
    #[error("the input could not be read: {0}")]
    Stream(#[source] io::Error),
    /// An entry that no archive of ours has.
    #[error("entry \"{entry}\" of the archive: {fault}")]
    Archive {
        /// Its path, as far as it is text.
        entry: String,
        /// What is wrong with it.
        fault: ArchiveFault,
    },
    /// A thread of the import ended early.
    #[error("the import ended early")]
    Aborted,
}

#[cfg(test)]
mod tests;
