//! Work on blocks that takes a while: imports, pins, garbage collection, verification. Through a running node it reports
//! its progress; beside a stopped one the CLI calls it directly.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atoll_content::car::{CarImportError, CarImporter, Loaded};
use atoll_content::import::{self, ImportError, NoopSink, Progress, Sink};
use atoll_content::store::{Options, Store, StoreError};
use atoll_core::links::links;
use atoll_core::{Block, Blocks as _, Cid, Storage};
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::api::{CarImported, Collected, Damaged, ImportRequest, Imported, PinStatus, Verified};
use crate::config::{Folder, StoreConfig};
use crate::control::Reporter;
use crate::node::Inner;

/// Blocks that are written together, at most, and their bytes.
const BATCH_BLOCKS: usize = 256;
const BATCH_BYTES: usize = 4 << 20;
/// Chunks of a CAR that wait to be written.
const CHUNKS_MAX: usize = 16;
/// Blocks fetched at one time for a pin.
const PIN_FETCHES: usize = 16;
/// The most blocks under one pin.
const PIN_BLOCKS_MAX: usize = 4 << 20;

/// Opens the store of `folder`.
///
/// # Errors
/// [`StoreError`], which says what to do.
pub fn open_store(folder: &Folder, config: &StoreConfig) -> Result<Store, StoreError> {
    Store::open(&folder.store(), Options { bytes_max: config.bytes_max, ..Options::default() })
}

/// Imports `path` and pins it under `pin`, if given; only then it survives a loss of power.
///
/// # Errors
/// [`WorkError`] names the file or the limit.
pub fn import(
    store: &Store,
    path: &Path,
    hidden: bool,
    pin: Option<&str>,
    progress: &dyn Fn(Progress),
) -> Result<Imported, WorkError> {
    let _hold = store.hold();
    let mut sink = StoreSink { store, blocks: Vec::new(), bytes: 0 };
    let options = import::Options { hidden, ..import::Options::default() };
    let imported = import::import(path, options, &mut sink, &mut |now| progress(now))?;
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
pub fn only_hash(path: &Path, hidden: bool) -> Result<Imported, WorkError> {
    let options = import::Options { hidden, ..import::Options::default() };
    Ok(summary(&import::import(path, options, &mut NoopSink, &mut |_| {})?))
}

/// Removes the blocks that no pin needs.
///
/// # Errors
/// [`WorkError::Store`].
pub fn gc(store: &Store) -> Result<Collected, WorkError> {
    let report = store.gc(&|cid: &Cid, bytes: &bytes::Bytes| links(cid, bytes), &mut |_| {})?;
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

fn summary(imported: &import::Imported) -> Imported {
    let total = imported.total;
    Imported { root: imported.root.to_string(), files: total.files, bytes: total.bytes, dag_bytes: imported.tsize }
}

/// Writes blocks to the store, many at a time.
struct StoreSink<'a> {
    store: &'a Store,
    blocks: Vec<Block>,
    bytes: usize,
}

impl StoreSink<'_> {
    fn flush(&mut self) -> io::Result<()> {
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

/// [`import()`] for the CLI of a running node.
pub(crate) async fn import_running(
    node: Arc<Inner>,
    path: PathBuf,
    request: ImportRequest,
    reporter: Reporter,
) -> Result<Imported, String> {
    let store = node.local.store().clone();
    let imported = blocking(move || {
        let reported = std::cell::Cell::new(std::time::Instant::now());
        let progress = |now: Progress| {
            // A terminal cannot show more than a few updates a second.
            if reported.get().elapsed().as_millis() >= 50 {
                reported.set(std::time::Instant::now());
                reporter.progress(&serde_json::json!({ "files": now.files, "bytes": now.bytes }));
            }
        };
        import(&store, &path, request.hidden, Some(&request.name), &progress)
    })
    .await?;
    Ok(imported)
}

/// [`gc`] for the CLI of a running node.
pub(crate) async fn gc_running(node: Arc<Inner>) -> Result<Collected, String> {
    let store = node.local.store().clone();
    blocking(move || gc(&store)).await
}

/// [`verify`] for the CLI of a running node; what is damaged and pinned is fetched again.
pub(crate) async fn verify_running(node: Arc<Inner>, reporter: Reporter) -> Result<Verified, String> {
    let store = node.local.store().clone();
    let verified = blocking(move || {
        verify(&store, &|bytes, total| {
            reporter.progress(&serde_json::json!({ "bytes": bytes, "total_bytes": total }));
        })
    });
    let mut verified = verified.await?;
    if !verified.damaged.is_empty() {
        verified.mended = mend(&node).await?;
    }
    Ok(verified)
}

/// Fetches what is missing under the pinned roots from members, as far as any has it; how many blocks that were.
async fn mend(node: &Inner) -> Result<u64, String> {
    let roots: std::collections::BTreeSet<Cid> = node.local.store().pins().into_iter().map(|pin| pin.cid).collect();
    let mut mended = 0_u64;
    for root in roots {
        loop {
            let missing = node.local.missing(root).await.map_err(|error| error.to_string())?;
            let before = mended;
            for cid in missing.cids {
                match node.anywhere.block(&root, &cid).await {
                    Ok(bytes) => {
                        let block = Block::verified(cid, bytes).map_err(|error| error.to_string())?;
                        node.local.keep(block).await.map_err(|error| error.to_string())?;
                        mended = mended.saturating_add(1);
                    }
                    Err(error) => tracing::warn!(%cid, %error, "a damaged block could not be fetched again"),
                }
            }
            if mended == before {
                break;
            }
        }
    }
    Ok(mended)
}

/// Fetches what is missing under `root`, then pins it.
pub(crate) async fn pin_running(
    node: Arc<Inner>,
    root: Cid,
    name: String,
    reporter: Reporter,
) -> Result<PinStatus, String> {
    use futures_util::stream::{FuturesUnordered, StreamExt as _};
    let _hold = node.local.store().hold();
    let mut seen = std::collections::HashSet::from([root]);
    let mut waiting = vec![root];
    let mut running = FuturesUnordered::new();
    let mut blocks = 0_u64;
    loop {
        while running.len() < PIN_FETCHES
            && let Some(cid) = waiting.pop()
        {
            let node = Arc::clone(&node);
            running.push(async move {
                let bytes = node.anywhere.block(&root, &cid).await.map_err(|error| error.to_string())?;
                let block = Block::verified(cid, bytes).map_err(|error| error.to_string())?;
                node.local.keep(block.clone()).await.map_err(|error| error.to_string())?;
                links(&cid, block.bytes()).map_err(|error| error.to_string())
            });
        }
        let Some(found) = running.next().await else { break };
        blocks = blocks.saturating_add(1);
        waiting.extend(found?.into_iter().filter(|cid| Block::inline(cid).is_none() && seen.insert(*cid)));
        if seen.len() > PIN_BLOCKS_MAX {
            return Err(format!("the DAG has over {PIN_BLOCKS_MAX} blocks"));
        }
        if reporter.is_abandoned() {
            return Err("nobody waits any more".to_owned());
        }
        reporter.progress(&serde_json::json!({ "blocks": blocks }));
    }
    Storage::pin(&*node.local, &root, &name).await.map_err(|error| error.to_string())?;
    Ok(PinStatus { root: root.to_string(), name })
}

/// Takes a CAR: every block verified, roots pinned when all below them is there.
pub(crate) async fn import_car_running(node: Arc<Inner>, name: String, body: Incoming) -> Result<CarImported, String> {
    use http_body_util::BodyExt as _;
    let mut body = body;
    let (chunks, taken) = tokio::sync::mpsc::channel(CHUNKS_MAX);
    let store = node.local.store().clone();
    let _hold = store.hold();
    let writing = tokio::spawn(blocking(move || load_car(&store, taken)));
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|error| format!("the CAR broke off: {error}"))?.into_data() else { continue };
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    drop(chunks);
    let loaded = writing.await.map_err(|error| error.to_string())??;
    for root in &loaded.roots {
        let pinned = Storage::pin(&*node.local, root, &name).await;
        pinned.map_err(|error| format!("{error} of the DAG under {root}, which is not pinned"))?;
    }
    let roots = loaded.roots.iter().map(ToString::to_string).collect();
    Ok(CarImported { roots, blocks: loaded.blocks, bytes: loaded.bytes })
}

/// Writes the blocks of a CAR whose chunks come by a channel. Blocks the thread.
fn load_car(store: &Store, mut chunks: tokio::sync::mpsc::Receiver<bytes::Bytes>) -> Result<Loaded, WorkError> {
    let mut sink = StoreSink { store, blocks: Vec::new(), bytes: 0 };
    let mut importer = CarImporter::default();
    while let Some(chunk) = chunks.blocking_recv() {
        importer.push(&chunk, &mut sink)?;
    }
    sink.flush().map_err(ImportError::Sink)?;
    Ok(importer.finish()?)
}

/// Takes back the pin of each publish whose copies are where they belong, or whose site has moved on.
pub(crate) async fn release_published(node: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    let mut changes = node.router.subscribe();
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            _ = stop.changed() => return,
        }
        for (root, name) in released(&node) {
            let store = node.local.store().clone();
            let unpinned = blocking(move || Ok(store.unpin(&root, &name)?)).await;
            match unpinned {
                Ok(_) => tracing::info!(%root, "the copy of a publish is released: its holders have it"),
                Err(error) => tracing::warn!(%root, error, "the copy of a publish could not be released"),
            }
        }
    }
}

/// The pins of publishes that are done.
fn released(node: &Inner) -> Vec<(Cid, String)> {
    let pins = node.local.store().pins();
    if !pins.iter().any(|pin| pin.name.starts_with("publish:")) {
        return Vec::new();
    }
    let network = node.router.snapshot();
    let is_done = |root: &str, site: &str| {
        let Some(placement) = network.placements.iter().find(|placement| placement.site == site) else { return false };
        let own = !placement.ranked.contains(&network.me)
            || pins.iter().any(|pin| pin.cid.to_string() == root && pin.name == format!("site:{site}"));
        let held = placement.ranked.iter().all(|peer| placement.holders.contains(peer));
        placement.root != root || (own && held && placement.ranked.len() as u64 >= placement.target)
    };
    let done =
        pins.iter().filter(|pin| pin.name.strip_prefix("publish:").is_some_and(|s| is_done(&pin.cid.to_string(), s)));
    done.map(|pin| (pin.cid, pin.name.clone())).collect()
}

/// Runs `work` on a thread for blocking work; errors become text for the CLI.
async fn blocking<T: Send + 'static>(
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
}
