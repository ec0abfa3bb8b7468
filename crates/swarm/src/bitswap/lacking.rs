//! Which peers want blocks that this node does not have: whoever stores one asks here whom to tell. In memory only.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use atoll_core::block::Multihash;
use libp2p::PeerId;

use super::lock;

/// Peers by what they want, of which only a hash with a key of our own is kept. Bounded by the wants of all ledgers.
#[derive(Default)]
pub(super) struct Lacking {
    key: RandomState,
    peers: Mutex<HashMap<u64, Vec<PeerId>>>,
    count: AtomicUsize,
}

impl Lacking {
    /// `peer` wants a block that is not here.
    pub(super) fn add(&self, hash: &Multihash, peer: PeerId) {
        let mut peers = lock(&self.peers);
        let waiting = peers.entry(self.key(hash)).or_default();
        if !waiting.contains(&peer) {
            waiting.push(peer);
        }
        self.count.store(peers.len(), Ordering::Relaxed);
    }

    /// It wants it no longer.
    pub(super) fn remove(&self, hash: &Multihash, peer: PeerId) {
        let (key, mut peers) = (self.key(hash), lock(&self.peers));
        if let Some(waiting) = peers.get_mut(&key) {
            waiting.retain(|other| *other != peer);
            if waiting.is_empty() {
                peers.remove(&key);
            }
        }
        self.count.store(peers.len(), Ordering::Relaxed);
    }

    /// A block is here now: who wants it. Costs next to nothing while nobody wants anything.
    pub(super) fn take(&self, hash: &Multihash) -> Vec<PeerId> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut peers = lock(&self.peers);
        let waiting = peers.remove(&self.key(hash)).unwrap_or_default();
        self.count.store(peers.len(), Ordering::Relaxed);
        waiting
    }

    fn key(&self, hash: &Multihash) -> u64 {
        self.key.hash_one((hash.code(), hash.digest()))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.peers).len()
    }
}
