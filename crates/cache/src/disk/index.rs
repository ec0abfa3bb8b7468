//! Where each stored response lies on disk, in memory: some 100 bytes a response. A crash loses it; the segments say it again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::DefaultHashBuilder;

use crate::key::Digest;

/// Parts with a lock of their own.
const SHARDS: usize = 64;

/// What lies where, by URL. Every miss in memory is looked for here: the hash is a quick one, keyed anew by each process.
type Shard = HashMap<Digest, Vec<Slot>, DefaultHashBuilder>;

/// Where a response lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) variant: u64,
    pub(crate) segment: u32,
    pub(crate) at: u64,
    /// Bytes of its head.
    pub(crate) head: u32,
    /// Whether it was asked for since it was written here.
    pub(crate) used: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Index {
    shards: Vec<Mutex<Shard>>,
    variants_max: usize,
}

impl Slot {
    /// Whether both are of one place.
    fn is_at(&self, segment: u32, at: u64) -> bool {
        self.segment == segment && self.at == at
    }
}

impl Index {
    pub(crate) fn new(variants_max: usize) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), variants_max }
    }

    /// Whether there is something of a URL.
    pub(crate) fn has(&self, digest: Digest) -> bool {
        self.shard(digest).contains_key(&digest)
    }

    /// All that there is of a URL, newest first.
    pub(crate) fn find(&self, digest: Digest) -> Vec<Slot> {
        let mut slots = self.shard(digest).get(&digest).cloned().unwrap_or_default();
        slots.sort_unstable_by_key(|slot| std::cmp::Reverse((slot.segment, slot.at)));
        slots
    }

    /// Adds a response in the place of an older one of the same variant, if `still` it may be there.
    pub(crate) fn insert(&self, digest: Digest, slot: Slot, still: impl FnOnce() -> bool) {
        let mut shard = self.shard(digest);
        if !still() {
            return;
        }
        let slots = shard.entry(digest).or_default();
        let newer = |other: &Slot| (other.segment, other.at) > (slot.segment, slot.at);
        if slots.iter().any(|other| other.variant == slot.variant && newer(other)) {
            return;
        }
        slots.retain(|other| other.variant != slot.variant);
        slots.push(slot);
        if slots.len() > self.variants_max {
            let oldest = slots.iter().enumerate().min_by_key(|(_, slot)| (slot.segment, slot.at)).map(|(n, _)| n);
            oldest.map(|oldest| slots.swap_remove(oldest));
        }
    }

    /// Says that a response now lies elsewhere, if it lay where it was thought to.
    pub(crate) fn moved(&self, digest: Digest, (segment, at): (u32, u64), to: Slot) {
        if let Some(slots) = self.shard(digest).get_mut(&digest)
            && let Some(slot) = slots.iter_mut().find(|slot| slot.is_at(segment, at))
        {
            *slot = to;
        }
    }

    /// Notes that a variant was asked for.
    pub(crate) fn used(&self, digest: Digest, variant: u64) {
        if let Some(slots) = self.shard(digest).get_mut(&digest) {
            slots.iter_mut().filter(|slot| slot.variant == variant).for_each(|slot| slot.used = true);
        }
    }

    /// What lies at a place.
    pub(crate) fn at(&self, digest: Digest, (segment, at): (u32, u64)) -> Option<Slot> {
        self.shard(digest).get(&digest)?.iter().find(|slot| slot.is_at(segment, at)).copied()
    }

    /// Takes out what lies at a place.
    pub(crate) fn remove_at(&self, digest: Digest, (segment, at): (u32, u64)) {
        let mut shard = self.shard(digest);
        if let Some(slots) = shard.get_mut(&digest) {
            slots.retain(|slot| !slot.is_at(segment, at));
            if slots.is_empty() {
                shard.remove(&digest);
            }
        }
    }

    /// Takes out all of a URL; whether there was anything.
    pub(crate) fn remove(&self, digest: Digest) -> bool {
        self.shard(digest).remove(&digest).is_some()
    }

    /// Takes out all that lies in segments before this one.
    pub(crate) fn remove_before(&self, segment: u32) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, slots| {
                slots.retain(|slot| slot.segment >= segment);
                !slots.is_empty()
            });
        }
    }

    /// URLs of which there is something.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn shard(&self, digest: Digest) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(digest % SHARDS as u128).unwrap_or(0);
        // There are as many as the remainder can be.
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
