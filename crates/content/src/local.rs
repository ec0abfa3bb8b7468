//! The blocks of this machine as the rest of Atoll sees them: the cache in front of the store, without blocking a
//! runtime. Owns nothing on disk itself; a crash loses the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use atoll_core::storage::{Storage, StorageError};
use atoll_core::{Block, Blocks, BoxFuture, Cid, FetchError};
use bytes::Bytes;

use crate::dag::{self, Missing};
use crate::error::ReadError;
use crate::store::cache::BlockCache;
use crate::store::{Store, StoreError};

/// Blocks from memory and disk. Clones share everything.
#[derive(Clone, Debug)]
pub struct LocalBlocks {
    store: Store,
    cache: Arc<BlockCache>,
    damaged: Arc<AtomicU64>,
}

impl LocalBlocks {
    /// Puts a cache of at most `cache_bytes` bytes in front of `store`.
    pub fn new(store: Store, cache_bytes: u64) -> Self {
        Self { store, cache: Arc::new(BlockCache::new(cache_bytes)), damaged: Arc::default() }
    }

    /// The store behind it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The cache in front of it.
    pub fn cache(&self) -> &BlockCache {
        &self.cache
    }

    /// How often a read met damaged bytes since the start.
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// The block from memory or disk; `None` when it is not here, or damaged, which is reported.
    ///
    /// # Errors
    /// What the store says, damage excepted.
    pub async fn find(&self, cid: &Cid) -> Result<Option<Bytes>, StoreError> {
        if let Some(bytes) = self.cache.get(cid) {
            return Ok(Some(bytes));
        }
        let found = self.read(cid).await?;
        if let Some(bytes) = &found {
            self.cache.insert_checked(cid.hash(), bytes.clone());
        }
        Ok(found)
    }

    /// The block from the disk, as [`Self::find`].
    async fn read(&self, cid: &Cid) -> Result<Option<Bytes>, StoreError> {
        let (store, hash) = (self.store.clone(), *cid.hash());
        match blocking(move || store.get(&hash)).await {
            Err(error @ StoreError::Damaged { .. }) => {
                self.damaged.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%cid, %error, "a damaged block counts as absent");
                Ok(None)
            }
            other => other,
        }
    }

    /// Stores a block and keeps it in memory; it survives the death of this process once this returns. Its bytes should not be
    /// a small part of a larger buffer.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub async fn keep(&self, block: Block) -> Result<(), StoreError> {
        let store = self.store.clone();
        let block = blocking(move || store.put(&block).map(|_| block)).await?;
        self.cache.insert(&block);
        Ok(())
    }

    /// What the disk lacks of the DAG under `root`, whatever memory still has.
    ///
    /// # Errors
    /// As [`dag::missing`].
    pub async fn missing(&self, root: Cid) -> Result<Missing, ReadError> {
        let disk = Self { cache: Arc::new(BlockCache::new(0)), ..self.clone() };
        let store = self.store.clone();
        dag::missing(Arc::new(disk), move |cid| store.has(cid.hash()).unwrap_or(false), root).await
    }

    /// Drops all blocks from memory, for when some are not in the store any more.
    pub fn forget_all(&self) {
        self.cache.clear();
    }

    /// Drops a block from memory; the store keeps it until it is collected.
    pub fn forget(&self, cid: &Cid) {
        self.cache.remove(cid);
    }
}

impl Blocks for LocalBlocks {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        self.cache.get(cid)
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move {
            let found = self.find(cid).await.map_err(|error| FetchError::Store(error.to_string()))?;
            found.ok_or(FetchError::NotFound(*cid))
        })
    }

    fn sizes<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Vec<Option<u64>>> {
        let (store, hashes) = (self.store.clone(), cids.iter().map(|cid| *cid.hash()).collect::<Vec<_>>());
        Box::pin(async move {
            let look = move || Ok(hashes.iter().map(|hash| store.len_of(hash).ok().flatten()).collect());
            blocking(look).await.unwrap_or_else(|_| vec![None; cids.len()])
        })
    }
}

/// The same blocks for readers beyond this node: what they read does not push what visitors read out of memory.
#[derive(Clone, Debug)]
pub struct PassingBlocks(pub LocalBlocks);

impl Blocks for PassingBlocks {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        self.0.cached(cid)
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move {
            if let Some(bytes) = self.0.cached(cid) {
                return Ok(bytes);
            }
            let found = self.0.read(cid).await.map_err(|error| FetchError::Store(error.to_string()))?;
            found.ok_or(FetchError::NotFound(*cid))
        })
    }

    fn sizes<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Vec<Option<u64>>> {
        self.0.sizes(cids)
    }
}

impl Storage for LocalBlocks {
    fn get<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>> {
        Box::pin(async move { Ok(self.find(cid).await?) })
    }

    fn put(&self, block: Block) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move { Ok(self.keep(block).await?) })
    }

    fn pin<'a>(&'a self, root: &'a Cid, reason: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async move {
            self.check_whole(root).await?;
            let (store, pinned, name) = (self.store.clone(), *root, reason.to_owned());
            blocking(move || store.pin(&pinned, &name)).await?;
            // A collection that ran meanwhile may have taken blocks between the look and the pin; it heeds the pin from here on.
            if let Err(error) = self.check_whole(root).await {
                self.unpin(root, reason).await?;
                return Err(error);
            }
            Ok(())
        })
    }

    fn unpin<'a>(&'a self, root: &'a Cid, reason: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        let (store, root, reason) = (self.store.clone(), *root, reason.to_owned());
        Box::pin(async move {
            blocking(move || store.unpin(&root, &reason)).await?;
            Ok(())
        })
    }

    fn pins(&self) -> BoxFuture<'_, Result<Vec<(Cid, String)>, StorageError>> {
        let pins = self.store.pins();
        Box::pin(async move { Ok(pins.into_iter().map(|pin| (pin.cid, pin.name)).collect()) })
    }
}

impl LocalBlocks {
    /// Names the first block that is missing under `root`.
    async fn check_whole(&self, root: &Cid) -> Result<(), StorageError> {
        let missing = self.missing(*root).await.map_err(|error| StorageError::Failed(error.to_string()))?;
        missing.cids.first().map_or(Ok(()), |cid| Err(StorageError::Missing(*cid)))
    }
}

impl From<StoreError> for StorageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BudgetExceeded { .. } | StoreError::DiskFull { .. } => Self::Full,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Runs `work` where blocking on the disk harms nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Stopped)?
}

#[cfg(test)]
mod tests {
    use atoll_core::block::RAW;
    use tempfile::TempDir;

    use super::*;
    use crate::store::Options;

    #[tokio::test]
    async fn a_block_is_cached_once_it_was_read() {
        let dir = TempDir::new().unwrap();
        let local = LocalBlocks::new(Store::open(dir.path(), Options::default()).unwrap(), 1 << 20);
        let block = Block::sha2_256(RAW, Bytes::from_static(b"calm water")).unwrap();
        let cid = *block.cid();
        assert!(matches!(local.block(&cid, &cid).await, Err(FetchError::NotFound(_))));
        local.store().put(&block).unwrap();
        assert_eq!(local.cached(&cid), None);
        assert_eq!(local.block(&cid, &cid).await.unwrap(), block.bytes());
        assert_eq!(local.cached(&cid).as_ref(), Some(block.bytes()));
        local.forget(&cid);
        assert_eq!(local.cached(&cid), None);
    }

    #[tokio::test]
    async fn only_what_is_whole_is_pinned() {
        let dir = TempDir::new().unwrap();
        let local = LocalBlocks::new(Store::open(dir.path(), Options::default()).unwrap(), 1 << 20);
        let leaf = Block::sha2_256(RAW, Bytes::from_static(b"calm water")).unwrap();
        let link = atoll_core::dagpb::Link::new(*leaf.cid(), "leaf", 10);
        let folder = atoll_core::unixfs::encode_directory(vec![link]);
        let folder = Block::sha2_256(atoll_core::block::DAG_PB, folder.into()).unwrap();
        local.keep(folder.clone()).await.unwrap();
        assert_eq!(local.pin(folder.cid(), "site").await, Err(StorageError::Missing(*leaf.cid())));
        assert_eq!(Storage::pins(&local).await, Ok(vec![]));
        local.keep(leaf).await.unwrap();
        assert_eq!(local.pin(folder.cid(), "site").await, Ok(()));
    }
}
