//! A store and a log in memory, which outlive the routers that use them as a disk would.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use atoll_core::links::links;
use atoll_core::{Block, Blocks, BoxFuture, Cid, FetchError, SiteId, Storage, StorageError};
use atoll_routing::{RecordLog, RouteError};
use bytes::Bytes;

/// Blocks and pins in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    full: bool,
    /// Bytes of blocks that were put here, repeats counted.
    arrived: u64,
    blocks: HashMap<Cid, Bytes>,
    pins: BTreeMap<Cid, BTreeSet<String>>,
}

impl MemoryStorage {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `blocks` there without ceremony.
    pub fn fill<'a>(&self, blocks: impl IntoIterator<Item = &'a Block>) {
        self.lock().blocks.extend(blocks.into_iter().map(|block| (*block.cid(), block.bytes().clone())));
    }

    /// Takes no more blocks, as a full disk would, or takes them again.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Bytes of blocks that arrived here, repeats counted.
    pub fn arrived(&self) -> u64 {
        self.lock().arrived
    }

    /// Removes one block, as a damaged disk would.
    pub fn lose(&self, cid: &Cid) {
        self.lock().blocks.remove(cid);
    }

    /// Whether `root` is pinned and every block under it is there.
    pub fn holds_whole(&self, root: &Cid) -> bool {
        let inner = self.lock();
        inner.pins.contains_key(root) && inner.missing(root).is_none()
    }

    /// Whether `root` is pinned; all of it was there when it was.
    pub fn is_pinned(&self, root: &Cid) -> bool {
        self.lock().pins.contains_key(root)
    }

    /// How many roots are pinned.
    pub fn pinned(&self) -> usize {
        self.lock().pins.len()
    }

    /// The sites that are pinned because they are placed here.
    pub fn held_sites(&self) -> HashSet<SiteId> {
        let inner = self.lock();
        let reasons = inner.pins.values().flatten();
        reasons.filter_map(|reason| reason.strip_prefix("site:")?.parse().ok()).collect()
    }

    /// The DAG under `root` depth first, each block once, as far as it is there.
    pub fn depth_first(&self, root: &Cid) -> Vec<Block> {
        let inner = self.lock();
        let (mut stack, mut seen, mut found) = (vec![*root], BTreeSet::new(), Vec::new());
        while let Some(cid) = stack.pop() {
            if !seen.insert(cid) {
                continue;
            }
            let Some(block) = inner.block(&cid) else { continue };
            stack.extend(links(&cid, block.bytes()).unwrap_or_default().into_iter().rev());
            found.push(block);
        }
        found
    }
}

impl Inner {
    fn block(&self, cid: &Cid) -> Option<Block> {
        Block::inline(cid).or_else(|| Block::verified(*cid, self.blocks.get(cid)?.clone()).ok())
    }

    /// The first block under `root` that is not there.
    fn missing(&self, root: &Cid) -> Option<Cid> {
        let (mut stack, mut seen) = (vec![*root], BTreeSet::new());
        while let Some(cid) = stack.pop() {
            if seen.insert(cid) {
                let Some(block) = self.block(&cid) else { return Some(cid) };
                stack.extend(links(&cid, block.bytes()).unwrap_or_default());
            }
        }
        None
    }
}

impl Storage for MemoryStorage {
    fn get<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>> {
        let bytes = self.lock().blocks.get(cid).cloned();
        Box::pin(async { Ok(bytes) })
    }

    fn put(&self, block: Block) -> BoxFuture<'_, Result<(), StorageError>> {
        let full = self.lock().full;
        if !full {
            self.fill([&block]);
            self.lock().arrived += block.bytes().len() as u64;
        }
        Box::pin(async move { if full { Err(StorageError::Full) } else { Ok(()) } })
    }

    fn pin<'a>(&'a self, root: &'a Cid, reason: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        let mut inner = self.lock();
        let result = match inner.missing(root) {
            Some(cid) => Err(StorageError::Missing(cid)),
            None => {
                inner.pins.entry(*root).or_default().insert(reason.to_owned());
                Ok(())
            }
        };
        Box::pin(async { result })
    }

    fn unpin<'a>(&'a self, root: &'a Cid, reason: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        let mut inner = self.lock();
        if let Some(reasons) = inner.pins.get_mut(root) {
            reasons.remove(reason);
            if reasons.is_empty() {
                inner.pins.remove(root);
            }
        }
        Box::pin(async { Ok(()) })
    }

    fn pins(&self) -> BoxFuture<'_, Result<Vec<(Cid, String)>, StorageError>> {
        let inner = self.lock();
        let pins = inner.pins.iter().flat_map(|(root, reasons)| reasons.iter().map(|reason| (*root, reason.clone())));
        let pins = pins.collect();
        Box::pin(async { Ok(pins) })
    }
}

impl Blocks for MemoryStorage {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        self.lock().block(cid).map(|block| block.into_parts().1)
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move { self.cached(cid).ok_or(FetchError::NotFound(*cid)) })
    }
}

/// Records in memory.
#[derive(Debug, Default)]
pub struct MemoryLog {
    saved: Mutex<Vec<Bytes>>,
}

impl RecordLog for MemoryLog {
    fn load(&self) -> BoxFuture<'_, Result<Vec<Bytes>, RouteError>> {
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async { Ok(saved) })
    }

    fn save(&self, envelopes: Vec<Bytes>) -> BoxFuture<'_, Result<(), RouteError>> {
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = envelopes;
        Box::pin(async { Ok(()) })
    }
}
