//! Verified blocks in memory, so that what is read often is hashed once. A crash loses it all; the store has it.

use std::fmt;

use atoll_core::block::{BLOCK_BYTES_MAX, IDENTITY, IDENTITY_BYTES_MAX, Multihash};
use atoll_core::{Block, Cid};
use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// What an entry costs beside its bytes: key, buffer header, and the cache's own links.
const ENTRY_BYTES: u64 = 256;
/// The most shards; fewer when each would be too small for a few blocks.
const SHARDS_MAX: u64 = 64;
/// The least bytes of a shard.
const SHARD_BYTES_MIN: u64 = 8 * BLOCK_BYTES_MAX as u64;

/// A cache of blocks, bounded in bytes and shared by all threads.
pub struct BlockCache {
    blocks: Cache<Multihash, Bytes, Weight>,
}

impl BlockCache {
    /// A cache of at most about `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        let shards = bytes_max.checked_div(SHARD_BYTES_MIN).unwrap_or(1).clamp(1, SHARDS_MAX);
        // The largest power of two, since the cache would round up.
        let shards = 1usize << shards.ilog2();
        let items = usize::try_from(bytes_max / (64 * 1024)).unwrap_or(usize::MAX).max(1024);
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        let mut options = OptionsBuilder::new();
        options.shards(shards).estimated_items_capacity(items).weight_capacity(bytes_max);
        let blocks = match options.build() {
            Ok(options) => Cache::with_options(options, Weight, hasher, lifecycle),
            // Only a missing capacity is refused; the number of shards is then the crate's choice.
            Err(_) => Cache::with(items, bytes_max, Weight, hasher, lifecycle),
        };
        Self { blocks }
    }

    /// The block, when it is in memory; what an identity CID carries always is.
    pub fn get(&self, cid: &Cid) -> Option<Bytes> {
        let hash = cid.hash();
        if hash.code() == IDENTITY {
            let digest = hash.digest();
            return (digest.len() <= IDENTITY_BYTES_MAX).then(|| Bytes::copy_from_slice(digest));
        }
        self.blocks.get(hash)
    }

    /// Keeps a block. Its bytes should not be a small part of a larger buffer, which they would keep alive.
    pub fn insert(&self, block: &Block) {
        if block.cid().hash().code() != IDENTITY {
            self.blocks.insert(*block.cid().hash(), block.bytes().clone());
        }
    }

    /// Keeps bytes that the store has just hashed.
    pub(crate) fn insert_checked(&self, hash: &Multihash, bytes: Bytes) {
        self.blocks.insert(*hash, bytes);
    }

    /// Drops a block.
    pub fn remove(&self, cid: &Cid) {
        self.blocks.remove(cid.hash());
    }

    /// Drops all blocks.
    pub fn clear(&self) {
        self.blocks.clear();
    }

    /// How many blocks are in memory.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        self.blocks.weight()
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache").field("len", &self.len()).field("bytes", &self.bytes()).finish()
    }
}

/// Counts an entry by its bytes.
#[derive(Clone)]
struct Weight;

impl Weighter<Multihash, Bytes> for Weight {
    fn weight(&self, _: &Multihash, bytes: &Bytes) -> u64 {
        ENTRY_BYTES.saturating_add(bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::block::RAW;

    use super::*;

    #[test]
    fn it_stays_within_its_bytes() {
        let cache = BlockCache::new(32 * 1024 * 1024);
        for n in 0u32..200 {
            let mut bytes = vec![0; 1024 * 1024];
            bytes[..4].copy_from_slice(&n.to_le_bytes());
            let block = Block::sha2_256(RAW, bytes.into()).unwrap();
            cache.insert(&block);
            assert!(cache.bytes() <= 32 * 1024 * 1024);
        }
        assert!(cache.len() > 20, "{cache:?}");
    }

    #[test]
    fn an_identity_cid_needs_no_entry() {
        let cid: Cid = "bafkqaaa".parse().unwrap();
        assert_eq!(BlockCache::new(0).get(&cid), Some(Bytes::new()));
    }

    #[test]
    fn a_block_of_the_largest_size_fits_into_a_small_cache() {
        let cache = BlockCache::new(8 * 1024 * 1024);
        let block = Block::sha2_256(RAW, vec![1; BLOCK_BYTES_MAX].into()).unwrap();
        cache.insert(&block);
        assert_eq!(cache.get(block.cid()).as_ref(), Some(block.bytes()));
        cache.remove(block.cid());
        assert_eq!(cache.get(block.cid()), None);
    }
}
