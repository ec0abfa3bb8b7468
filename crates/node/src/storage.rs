//! The block store as routing wants it: every call on a thread for blocking work.

use std::sync::Arc;

use atoll_content::local::LocalBlocks;
use atoll_content::store::{Store, StoreError};
use atoll_core::{Block, BoxFuture, Cid, Storage, StorageError};
use bytes::Bytes;

/// See the module.
#[derive(Debug)]
pub(crate) struct NodeStorage {
    local: Arc<LocalBlocks>,
}

impl NodeStorage {
    pub(crate) fn new(local: Arc<LocalBlocks>) -> Self {
        Self { local }
    }

    /// Runs `work` on the store where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let store = self.local.store().clone();
        let joined = tokio::task::spawn_blocking(move || work(&store)).await;
        joined.map_err(|error| StorageError::Failed(error.to_string()))?.map_err(|error| failure(&error))
    }
}

impl Storage for NodeStorage {
    fn get<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>> {
        Box::pin(async move {
            use atoll_core::{Blocks as _, FetchError};
            match self.local.block(cid, cid).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(FetchError::NotFound(_)) => Ok(None),
                Err(error) => Err(StorageError::Failed(error.to_string())),
            }
        })
    }

    fn put(&self, block: Block) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(self.blocking_put(block))
    }

    fn pin<'a>(&'a self, root: &'a Cid, reason: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        let (root, reason) = (*root, reason.to_owned());
        Box::pin(async move { self.blocking(move |store| store.pin(&root, &reason)).await.map(|_| ()) })
    }

    fn unpin<'a>(&'a self, root: &'a Cid, reason: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        let (root, reason) = (*root, reason.to_owned());
        Box::pin(async move { self.blocking(move |store| store.unpin(&root, &reason)).await.map(|_| ()) })
    }

    fn pins(&self) -> BoxFuture<'_, Result<Vec<(Cid, String)>, StorageError>> {
        Box::pin(async move {
            let pins = self.blocking(|store| Ok(store.pins())).await?;
            Ok(pins.into_iter().map(|pin| (pin.cid, pin.name)).collect())
        })
    }
}

impl NodeStorage {
    async fn blocking_put(&self, block: Block) -> Result<(), StorageError> {
        self.blocking(move |store| store.put(&block)).await.map(|_| ())
    }
}

/// What routing is told of a store's failure.
fn failure(error: &StoreError) -> StorageError {
    match error {
        StoreError::BudgetExceeded { .. } | StoreError::DiskFull { .. } => StorageError::Full,
        error => StorageError::Failed(error.to_string()),
    }
}
