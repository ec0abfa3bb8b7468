//! Work on a store that takes a while: imports, garbage collection, verification. Each blocks its thread. A running node does
//! it for the CLI (`control/jobs.rs`), and beside a stopped one the CLI calls it directly.

use std::io;

use atoll_content::car::{CarImportError, CarImporter, Loaded};
use atoll_content::import::{self, ImportError, NoopSink, Progress, Sink, Source};
use atoll_content::kubo::KuboError;
use atoll_content::store::{Options, Store, StoreError};
use atoll_core::links::links;
use atoll_core::{Block, Cid};
use bytes::Bytes;

use crate::api::{Collected, Damaged, Imported, Verified};
use crate::config::{Folder, StoreConfig};

/// Blocks that are written together, at most, and their bytes.
const BATCH_BLOCKS: usize = 256;
const BATCH_BYTES: usize = 4 << 20;

/// Opens the store of `folder`.
///
/// # Errors
/// [`StoreError`], which says what to do.
pub fn open_store(folder: &Folder, config: &StoreConfig) -> Result<Store, StoreError> {
    Store::open(&folder.store(), Options { bytes_max: config.bytes_max, ..Options::default() })
}

/// Imports what `source` gives and pins it under `pin`, if given; only then it survives a loss of power.
///
/// # Errors
/// [`WorkError`] names the file or the limit.
pub fn import(
    store: &Store,
    source: Source<'_>,
    options: import::Options,
    pin: Option<&str>,
    progress: &dyn Fn(Progress),
) -> Result<Imported, WorkError> {
    let _hold = store.hold();
    let mut sink = StoreSink::new(store);
    let imported = import::import_from(source, options, &mut sink, &mut |now| progress(now))?;
    sink.flush().map_err(ImportError::Sink)?;
    if let Some(name) = pin {
        store.pin(&imported.root, name)?;
    }
    Ok(summary(&imported))
}

/// The root that an import would have.
///
/// # Errors
/// [`WorkError`] names the file.
pub fn only_hash(source: Source<'_>, options: import::Options) -> Result<Imported, WorkError> {
    Ok(summary(&import::import_from(source, options, &mut NoopSink, &mut |_| {})?))
}

/// Removes the blocks that no pin needs.
///
/// # Errors
/// [`WorkError::Store`].
pub fn gc(store: &Store) -> Result<Collected, WorkError> {
    let report = store.gc(&|cid: &Cid, bytes: &Bytes| links(cid, bytes), &mut |_| {})?;
    Ok(Collected { blocks: report.removed_blocks, bytes: report.freed_bytes })
}

/// Reads and hashes every block. `progress` is told bytes read and bytes in all.
///
/// # Errors
/// [`WorkError::Store`].
pub fn verify(store: &Store, progress: &dyn Fn(u64, u64)) -> Result<Verified, WorkError> {
    let report = store.verify(&mut |done, total| progress(done, total))?;
    let damaged = report.damaged.iter().map(|block| Damaged {
        block: Cid::new_v1(atoll_core::block::RAW, block.hash).to_string(),
        pack: u64::from(block.pack),
        offset: block.offset,
    });
    Ok(Verified { blocks: report.blocks, bytes: report.bytes, damaged: damaged.collect(), mended: 0 })
}

/// Stores the blocks of a CAR, each verified. Its roots are not pinned: whether they are whole is another question.
///
/// # Errors
/// [`WorkError::Car`] names the byte.
pub fn import_car(store: &Store, chunks: impl Iterator<Item = Bytes>) -> Result<Loaded, WorkError> {
    let mut sink = StoreSink::new(store);
    let mut importer = CarImporter::default();
    for chunk in chunks {
        importer.push(&chunk, &mut sink)?;
    }
    sink.flush().map_err(ImportError::Sink)?;
    Ok(importer.finish()?)
}

fn summary(imported: &import::Imported) -> Imported {
    let total = imported.total;
    Imported { root: imported.root.to_string(), files: total.files, bytes: total.bytes, dag_bytes: imported.tsize }
}

/// Writes blocks to the store, many at a time.
pub(crate) struct StoreSink<'a> {
    store: &'a Store,
    blocks: Vec<Block>,
    bytes: usize,
}

impl<'a> StoreSink<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store, blocks: Vec::new(), bytes: 0 }
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.store.put_many(&self.blocks).map_err(io::Error::other)?;
        self.blocks.clear();
        self.bytes = 0;
        Ok(())
    }
}

impl Sink for StoreSink<'_> {
    fn put(&mut self, block: Block) -> io::Result<()> {
        self.bytes = self.bytes.saturating_add(block.bytes().len());
        self.blocks.push(block);
        if self.blocks.len() >= BATCH_BLOCKS || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }
}

/// Runs `work` on a thread for blocking work; errors become text for the CLI.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkError> + Send + 'static,
) -> Result<T, String> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Why work was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file or folder.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Not a CAR, or one with wrong blocks.
    #[error(transparent)]
    Car(#[from] CarImportError),
    /// A repository of Kubo.
    #[error(transparent)]
    Kubo(#[from] KuboError),
}
