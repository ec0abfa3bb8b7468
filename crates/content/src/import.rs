//! Files and folders as UnixFS, profile `unixfs-v1-2025` (IPIP-499): the CIDs of `ipfs add -r --profile unixfs-v1-2025`.
//!
//! One thread walks and reads, a few hash, the caller's assembles in order and hands blocks to a [`Sink`], children
//! before parents. Memory is some twenty chunks, and the names and links of the folders that are open. Blocks that the
//! sink took before an error are of no consequence: no root names them. A crash loses what the sink had not kept.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use atoll_core::block::{BLOCK_BYTES_MAX, RAW};
use atoll_core::hamt::HamtError;
use atoll_core::unixfs::UnixFsError;
use atoll_core::{Block, BlockError, Cid};
use bytes::Bytes;

mod buffers;
mod tree;
mod walk;

use tree::Tree;
use walk::{Event, Walk};

/// Bytes of a chunk in profile `unixfs-v1-2025`.
pub const CHUNK_BYTES: usize = 1024 * 1024;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a chunk, from 1 to [`BLOCK_BYTES_MAX`]. Anything but [`CHUNK_BYTES`] gives other CIDs than the profile.
    pub chunk_bytes: usize,
    /// Whether names that begin with a dot are taken. `.well-known` always is, at any depth.
    pub hidden: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { chunk_bytes: CHUNK_BYTES, hidden: false }
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
    if options.chunk_bytes == 0 || options.chunk_bytes > BLOCK_BYTES_MAX {
        return Err(ImportError::ChunkSize(options.chunk_bytes));
    }
    thread::scope(|scope| {
        let (events, incoming) = sync_channel(EVENTS_MAX);
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(HASHERS_MAX) {
            let (input, chunks) = sync_channel(HASHER_QUEUE_MAX);
            let (blocks, output) = sync_channel(HASHER_QUEUE_MAX);
            scope.spawn(move || hash_chunks(&chunks, &blocks));
            inputs.push(input);
            outputs.push(output);
        }
        scope.spawn(move || Walk::new(options, events, inputs).run(path));
        assemble(&incoming, &outputs, sink, progress)
    })
}

/// Threads that hash.
const HASHERS_MAX: usize = 4;
/// Chunks that wait at each hasher, before and after.
const HASHER_QUEUE_MAX: usize = 2;
/// Events that wait for assembly. Small files travel in them, hence not many.
const EVENTS_MAX: usize = 256;

/// Hashes chunks in the order in which they come, until nobody sends or takes any.
fn hash_chunks(chunks: &Receiver<Bytes>, blocks: &SyncSender<Result<Block, BlockError>>) {
    for chunk in chunks {
        if blocks.send(Block::sha2_256(RAW, chunk)).is_err() {
            return;
        }
    }
}

/// Puts together what was read, in the order of reading.
fn assemble(
    events: &Receiver<Result<Event, ImportError>>,
    hashed: &[Receiver<Result<Block, BlockError>>],
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    let mut tree = Tree::new(sink);
    let mut total = Progress::default();
    for event in events {
        match event? {
            Event::Enter => tree.enter(),
            Event::Leave(name) => tree.leave(name)?,
            Event::Small(block) => {
                total.bytes += block.bytes().len() as u64;
                tree.chunk(block)?;
            }
            Event::Hashed(hasher) => {
                let block = hashed.get(hasher).and_then(|blocks| blocks.recv().ok()).ok_or(ImportError::Aborted)??;
                total.bytes += block.bytes().len() as u64;
                tree.chunk(block)?;
            }
            Event::FileEnd(name) => {
                total.files += 1;
                tree.file_end(name)?;
            }
            Event::Symlink(name, target) => {
                total.files += 1;
                tree.symlink(name, &target)?;
            }
        }
        progress(total);
    }
    let (root, tsize) = tree.root().ok_or(ImportError::Aborted)?;
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
    #[error("a chunk size of {0} is not between 1 and {BLOCK_BYTES_MAX}")]
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
    /// A thread of the import ended early.
    #[error("the import ended early")]
    Aborted,
}

#[cfg(test)]
mod tests;
