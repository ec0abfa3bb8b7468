//! Blocks in memory: for tests, and for trees that are small enough. A crash loses them.

use std::collections::HashMap;
use std::io;

use atoll_core::{Block, Blocks, BoxFuture, Cid, FetchError};
use bytes::Bytes;

use crate::import::Sink;

/// A sink, and then a source, of blocks. Unbounded: whoever fills it knows what it holds.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    blocks: HashMap<Cid, Bytes>,
    /// Whether blocks answer only to those who wait for them, as if they lay elsewhere.
    pub remote: bool,
}

impl Memory {
    /// The block of that name.
    pub fn get(&self, cid: &Cid) -> Option<&Bytes> {
        self.blocks.get(cid)
    }

    /// Forgets a block.
    pub fn remove(&mut self, cid: &Cid) -> Option<Bytes> {
        self.blocks.remove(cid)
    }

    /// The names of all blocks, in no order.
    pub fn cids(&self) -> impl Iterator<Item = &Cid> {
        self.blocks.keys()
    }
}

impl Sink for Memory {
    fn put(&mut self, block: Block) -> io::Result<()> {
        let (cid, bytes) = block.into_parts();
        self.blocks.insert(cid, bytes);
        Ok(())
    }
}

impl Blocks for Memory {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        if self.remote { None } else { self.blocks.get(cid).cloned() }
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move { self.blocks.get(cid).cloned().ok_or(FetchError::NotFound(*cid)) })
    }
}
