//! What replication needs of a block store, so that routing and content never import one another.

use bytes::Bytes;

use crate::block::{Block, Cid};
use crate::blocks::BoxFuture;

/// A store of blocks and pins.
pub trait Storage: Send + Sync + 'static {
    /// The verified block, when it is held.
    fn get<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>>;

    /// Keeps a block; it survives a crash of the process once this returns. Its bytes may be kept in memory too, and should be
    /// no part of a larger buffer.
    fn put(&self, block: Block) -> BoxFuture<'_, Result<(), StorageError>>;

    /// Pins the DAG under `root`, whose blocks are all held, for `reason`; it survives power loss once this returns.
    fn pin<'a>(&'a self, root: &'a Cid, reason: &'a str) -> BoxFuture<'a, Result<(), StorageError>>;

    /// Takes back the pin of `root` for `reason`.
    fn unpin<'a>(&'a self, root: &'a Cid, reason: &'a str) -> BoxFuture<'a, Result<(), StorageError>>;

    /// All pins: roots and reasons.
    fn pins(&self) -> BoxFuture<'_, Result<Vec<(Cid, String)>, StorageError>>;
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopStorage;

impl Storage for NoopStorage {
    fn get<'a>(&'a self, _cid: &'a Cid) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>> {
        Box::pin(async { Ok(None) })
    }

    fn put(&self, _block: Block) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async { Err(StorageError::Full) })
    }

    fn pin<'a>(&'a self, root: &'a Cid, _reason: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async { Err(StorageError::Missing(*root)) })
    }

    fn unpin<'a>(&'a self, _root: &'a Cid, _reason: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async { Ok(()) })
    }

    fn pins(&self) -> BoxFuture<'_, Result<Vec<(Cid, String)>, StorageError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The byte budget or the disk is used up.
    #[error("the store is full: raise `store.bytes_max`, free disk space, or run `atoll gc`")]
    Full,
    /// A block that must be there is not.
    #[error("block {0} is missing")]
    Missing(Cid),
    /// The store failed; the text is for the log.
    #[error("{0}")]
    Failed(String),
}
