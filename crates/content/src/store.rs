//! The block store: append-only packs, and an index that can always be rebuilt from them.
//!
//! Blocks are keyed by multihash, so that one copy serves every codec. What is *acknowledged* has two levels: a block
//! after [`Store::put`] survives the death of the process, a pin after [`Store::pin`], and everything before a
//! [`Store::sync`], survives a loss of power. A crash loses only what was not acknowledged so. Bytes are hashed when
//! they become a [`Block`] and on each read from disk: damaged bytes are an error and never an answer.
//!
//! Everything here blocks the calling thread on the disk; async callers use a thread for blocking work.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use atoll_core::Block;
use atoll_core::block::{IDENTITY, Multihash};
use bytes::Bytes;

pub mod cache;
pub mod disk;
mod error;
mod frozen;
mod gate;
mod gc;
mod index;
mod log;
pub mod pack;
mod pins;
mod read;
mod record;
mod recover;
mod stats;
mod table;
mod verify;
mod write;

use disk::{Disk, Lock, OsDisk};
pub use error::StoreError;
pub use frozen::FrozenStore;
use gate::Gate;
pub use gate::Hold;
pub use gc::{GcProgress, GcReport, Links};
use index::Index;
use log::Head;
use pack::PACK_BYTES_MAX;
use record::Salt;
pub use record::{PIN_NAME_BYTES_MAX, Pin};
pub use recover::{DAMAGED_NAMED_MAX, DamagedBlock, Recovered};
pub use stats::Stats;
pub use table::PINS_MAX;
use table::Table;
pub use verify::VerifyReport;

/// How a store behaves. The defaults suit a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most bytes that packs may take on disk; `u64::MAX` for no limit.
    pub bytes_max: u64,
    /// Bytes at which a pack is full and the next one begins, at most 4 GiB. Each pack costs one open descriptor.
    pub pack_bytes: u64,
    /// Bytes that may be written before the index is brought up to date.
    pub flush_bytes: u64,
    /// Changes that may wait in memory before the index is brought up to date.
    pub flush_blocks: u64,
    /// How long changes may wait before the index is brought up to date.
    pub flush_after: Duration,
    /// Bytes of the index that are kept in memory.
    pub index_cache_bytes: usize,
    /// The share of garbage in a pack, in percent, from which collection rewrites it.
    pub gc_dead_percent: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bytes_max: u64::MAX,
            pack_bytes: 1024 * 1024 * 1024,
            flush_bytes: 64 * 1024 * 1024,
            flush_blocks: 16 * 1024,
            flush_after: Duration::from_secs(10),
            index_cache_bytes: 16 * 1024 * 1024,
            gc_dead_percent: 25,
        }
    }
}

/// A folder of blocks. Clones share it; it is closed when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Store {
    owner: Arc<Owner>,
}

/// Whether a block was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was written.
    Stored,
    /// It was there already.
    Present,
}

impl Store {
    /// Opens the store in `dir`, creating it where it is missing, and recovers what a crash left behind.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it, [`StoreError::PackVersion`] when a newer program wrote it,
    /// and what the disk says.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(OsDisk::new(dir)), options)
    }

    /// Opens a store on any [`Disk`].
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<Self, StoreError> {
        let options = Options { pack_bytes: options.pack_bytes.min(PACK_BYTES_MAX), ..options };
        let (inner, mut recovered) = recover::open(disk, options)?;
        recover::replay(&inner, &mut recovered)?;
        match inner.flush() {
            // What is there can be read all the same.
            Err(error @ StoreError::DiskFull { .. }) => tracing::error!(%error, "the store's index is not up to date"),
            other => other?,
        }
        let owner = Owner::spawn(Arc::new(inner), recovered)?;
        Ok(Self { owner: Arc::new(owner) })
    }

    /// What opening the store found and repaired.
    pub fn recovered(&self) -> &Recovered {
        &self.owner.recovered
    }

    /// The block's bytes, checked; `None` when it is not here.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the bytes on disk do not hash to `hash`; then it counts as absent.
    pub fn get(&self, hash: &Multihash) -> Result<Option<Bytes>, StoreError> {
        let inner = self.inner();
        self.live_or_frozen(
            |frozen| frozen.get(hash),
            || if inner.touch(hash)? { inner.read_any(hash) } else { Ok(None) },
        )
    }

    /// Whether the block is here and not known to be damaged.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn has(&self, hash: &Multihash) -> Result<bool, StoreError> {
        Ok(self.len_of(hash)?.is_some())
    }

    /// The size of the block in bytes, without reading it.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn len_of(&self, hash: &Multihash) -> Result<Option<u64>, StoreError> {
        if hash.code() == IDENTITY {
            return Ok(Some(hash.digest().len() as u64));
        }
        let inner = self.inner();
        let live = || {
            inner.touch(hash)?;
            let place = inner.lookup(hash)?.filter(|place| !place.damaged);
            Ok(place.map(|place| u64::from(place.len)))
        };
        self.live_or_frozen(|frozen| Ok(frozen.len_of(hash)), live)
    }

    /// Stores a block; it survives the death of this process once this returns.
    ///
    /// # Errors
    /// As [`Store::put_many`].
    pub fn put(&self, block: &Block) -> Result<Put, StoreError> {
        let put = self.put_many(std::slice::from_ref(block))?;
        Ok(put.into_iter().next().unwrap_or(Put::Present))
    }

    /// Stores many blocks in few writes and says of each whether it was new.
    ///
    /// # Errors
    /// [`StoreError::BudgetExceeded`] and [`StoreError::DiskFull`]; the blocks before the one that did not fit may have
    /// been stored.
    pub fn put_many(&self, blocks: &[Block]) -> Result<Vec<Put>, StoreError> {
        let (puts, backlog) = self.inner().write(blocks)?;
        if let Some(watcher) = self.inner().watcher.0.get() {
            let stored = blocks.iter().zip(&puts).filter(|(_, put)| **put == Put::Stored);
            stored.for_each(|(block, _)| watcher(block.cid().hash()));
        }
        if Inner::overdue(backlog) {
            self.inner().flush()?;
        } else if backlog > 0 {
            self.owner.wake();
        }
        Ok(puts)
    }

    /// Has `watcher` told of every block that is new from now on, on the thread that stored it. Only the first watcher counts.
    pub fn watch(&self, watcher: impl Fn(&Multihash) + Send + Sync + 'static) {
        if self.inner().watcher.0.set(Box::new(watcher)).is_err() {
            tracing::error!("the store has a watcher already");
        }
    }

    /// Makes everything that was stored before survive a loss of power.
    ///
    /// # Errors
    /// [`StoreError::SyncFailed`] when the disk could not; then nothing is written any more.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.inner().sync_packs()
    }

    /// Brings the index up to date, so that the next start has nothing to read again. Done by itself now and then.
    ///
    /// # Errors
    /// As [`Store::sync`], and when the index cannot be written.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.inner().flush()
    }

    fn inner(&self) -> &Inner {
        &self.owner.inner
    }

    /// Reads from the live store, or from what is left of it after a handover, which may come in between.
    fn live_or_frozen<T>(
        &self,
        frozen: impl Fn(&FrozenStore) -> Result<T, StoreError>,
        live: impl Fn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let inner = self.inner();
        if let Some(store) = inner.frozen.get() {
            return frozen(store);
        }
        match (live(), inner.frozen.get()) {
            (Err(StoreError::HandedOver), Some(store)) => frozen(store),
            (result, _) => result,
        }
    }
}

/// The shared state. Locks are taken in the order of the fields, `flushing` before `head`.
#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    options: Options,
    salt: Salt,
    index: Index,
    /// One commit of the index at a time.
    flushing: Mutex<()>,
    /// One writer at a time; whoever has it may change the table.
    head: Mutex<Head>,
    table: RwLock<Table>,
    /// One sync at a time.
    syncing: Mutex<()>,
    /// A sync failed, and nothing may be acknowledged any more.
    sync_failed: AtomicBool,
    /// Nothing is written any more, since the store is being handed over.
    closing: AtomicBool,
    /// Set when another process took over.
    frozen: OnceLock<FrozenStore>,
    gate: Gate,
    lock: Mutex<Option<Lock>>,
    /// Told of every new block.
    watcher: Watcher,
}

/// Told of a new block.
type OnPut = dyn Fn(&Multihash) + Send + Sync;

/// Who is told of new blocks, if anybody is.
#[derive(Default)]
struct Watcher(OnceLock<Box<OnPut>>);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Watcher").field(&self.0.get().is_some()).finish()
    }
}

impl Inner {
    fn new(
        disk: Arc<dyn Disk>,
        options: Options,
        (index, salt, lock): (Index, Salt, Lock),
        head: Head,
        table: Table,
    ) -> Self {
        Self {
            disk,
            options,
            salt,
            index,
            flushing: Mutex::default(),
            head: Mutex::new(head),
            table: RwLock::new(table),
            syncing: Mutex::default(),
            sync_failed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            frozen: OnceLock::new(),
            gate: Gate::default(),
            lock: Mutex::new(Some(lock)),
            watcher: Watcher::default(),
        }
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets another process have the folder.
    fn unlock(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the flusher, and closes the store in order when the last clone goes.
#[derive(Debug)]
struct Owner {
    inner: Arc<Inner>,
    recovered: Recovered,
    wake: Option<SyncSender<()>>,
    flusher: Option<JoinHandle<()>>,
}

impl Owner {
    /// Starts the thread that commits the index while writers go on.
    fn spawn(inner: Arc<Inner>, recovered: Recovered) -> Result<Self, StoreError> {
        let (wake, woken) = mpsc::sync_channel::<()>(1);
        let flushed = inner.clone();
        let flusher = std::thread::Builder::new().name("atoll-store".to_owned()).spawn(move || {
            let after = flushed.options.flush_after;
            while woken.recv_timeout(after) != Err(RecvTimeoutError::Disconnected) {
                if let Err(error) = flushed.flush() {
                    tracing::error!(%error, "the store's index could not be brought up to date");
                }
            }
        });
        let flusher = flusher.map_err(|error| StoreError::io("starting", "the store's thread", error))?;
        Ok(Self { inner, recovered, wake: Some(wake), flusher: Some(flusher) })
    }

    fn wake(&self) {
        if let Some(wake) = &self.wake {
            // A full channel means that it is awake already.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.wake = None;
        if self.flusher.take().is_some_and(|flusher| flusher.join().is_err()) {
            tracing::error!("the store's thread panicked");
        }
        if self.inner.frozen.get().is_none()
            && let Err(error) = self.inner.flush()
        {
            tracing::error!(%error, "the store's index is not up to date: the next start reads the packs again");
        }
        self.inner.index.close();
        self.inner.unlock();
    }
}

#[cfg(test)]
mod tests;
