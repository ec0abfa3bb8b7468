//! When which key is announced. Pure: time comes in, work comes out.
//!
//! The places of the DHT are cut into *slots*, each with about one and a half times as many peers as are told of a key, and the
//! slots are spread evenly over the cycle, each node's in an order of its own. A slot's keys are announced together. A key
//! is due when it is new, and then at the first time of its slot after it was announced, which is never more than a
//! cycle later, however the slots are cut meanwhile.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use atoll_core::dht::{K, Key, Place, Prefix};
use atoll_core::{PeerId, Timestamp};

use super::estimate::Estimate;

/// The most keys that are announced. Each takes some 150 bytes.
pub const KEYS_MAX: usize = 524_288;
/// The most keys that are taken at once.
const BATCH_MAX: usize = 16_384;
/// Bytes of one key in what is saved: the head of its place, and when it was announced.
const SAVED_BYTES: usize = 12;
/// What saved bytes begin with.
const MAGIC: &[u8; 8] = b"atollpr1";
/// How long a key that could not be announced waits at first; twice as long each time after that.
const RETRY: Duration = Duration::from_secs(5);
/// How often that doubles: up to some ten minutes.
const RETRY_DOUBLINGS: u8 = 7;

/// A key that is announced.
#[derive(Debug)]
struct Entry {
    key: Key,
    /// When it was announced.
    told: Option<Timestamp>,
    /// When it came.
    since: Timestamp,
    /// It is not tried before this time.
    not_before: Timestamp,
    /// How often it failed since it was announced.
    failures: u8,
    /// It is being announced.
    busy: bool,
}

/// Keys of one slot that are due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The slot.
    pub prefix: Prefix,
    /// The keys, in the order of their places.
    pub keys: Vec<(Place, Key)>,
}

/// How the announcing is going.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Keys.
    pub keys: usize,
    /// Of these, not announced yet.
    pub unannounced: usize,
    /// How long the key that has been due longest has been due; zero when none is.
    pub lag: Duration,
    /// How long ago the key that was announced first was announced, or came if it never was.
    pub oldest: Duration,
}

/// All keys, and when each was announced.
#[derive(Debug)]
pub struct Schedule {
    /// Where this node lies, which orders the slots.
    me: Place,
    cycle: Duration,
    keys: BTreeMap<Place, Entry>,
    /// What was announced in an earlier life, by the head of its place, until the key comes.
    earlier: BTreeMap<u64, Timestamp>,
    estimate: Estimate,
    /// Nothing is due before this time, unless something changes.
    idle_until: Timestamp,
}

impl Schedule {
    /// No keys yet. Each is announced again within `cycle`.
    pub fn new(me: &PeerId, cycle: Duration) -> Self {
        Self {
            me: Place::of(&me.to_bytes()),
            cycle: cycle.max(Duration::from_secs(1)),
            keys: BTreeMap::new(),
            earlier: BTreeMap::new(),
            estimate: Estimate::default(),
            idle_until: Timestamp::default(),
        }
    }

    /// Adds a key, unless it is there or there are [`KEYS_MAX`]; whether it is there now.
    pub fn add(&mut self, place: Place, key: Key, now: Timestamp) -> bool {
        if self.keys.contains_key(&place) {
            return true;
        }
        if self.keys.len() >= KEYS_MAX {
            return false;
        }
        // A clock that was set back would have been in the future.
        let told = self.earlier.remove(&place.head()).filter(|at| *at <= now);
        let entry = Entry { key, told, since: now, not_before: now, failures: 0, busy: false };
        self.keys.insert(place, entry);
        self.idle_until = Timestamp::default();
        true
    }

    /// Removes a key: it is not announced again, and others forget it.
    pub fn remove(&mut self, place: &Place) {
        self.keys.remove(place);
    }

    /// Up to `count` places of keys behind `after`, in order.
    pub fn places(&self, after: Option<Place>, count: usize) -> Vec<Place> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.keys.range((from, Bound::Unbounded)).take(count).map(|(place, _)| *place).collect()
    }

    /// Whether the key at a place is announced by this node.
    pub fn contains(&self, place: &Place) -> bool {
        self.keys.contains_key(place)
    }

    /// Forgets what was restored of keys that have not come.
    pub fn forget_earlier(&mut self) {
        self.earlier.clear();
    }

    /// Bits that the keys of one slot have in common; `None` until a lookup has told how many peers there are.
    pub fn depth(&self) -> Option<u32> {
        self.estimate.depth()
    }

    /// About how many peers there are; `None` until a lookup has told.
    pub fn peers(&self) -> Option<u64> {
        self.estimate.peers()
    }

    /// Takes what a lookup says about how many peers there are.
    pub fn learn(&mut self, target: &Place, found: &[Place]) {
        let before = self.depth();
        self.estimate.learn(target, found);
        if self.depth() != before {
            self.idle_until = Timestamp::default();
        }
    }

    /// When a key is due.
    fn due(&self, place: &Place, entry: &Entry) -> Timestamp {
        let due = entry.told.map_or(entry.since, |told| self.slot_after(place, told));
        due.max(entry.not_before)
    }

    /// The first time of the slot of `place` after `after`.
    fn slot_after(&self, place: &Place, after: Timestamp) -> Timestamp {
        let cycle = u64::try_from(self.cycle.as_millis()).unwrap_or(u64::MAX).max(1);
        let depth = self.depth().unwrap_or(0);
        let slot = u64::MAX.checked_shr(depth).map_or(u64::MAX, |rest| !rest);
        let order = (place.head() ^ self.me.head()) & slot;
        let offset = u64::try_from((u128::from(cycle) * u128::from(order)) >> 64).unwrap_or(0);
        let gone = after.as_millis().wrapping_add(cycle).wrapping_sub(offset) % cycle;
        Timestamp::from_millis(after.as_millis().saturating_add(cycle - gone))
    }

    /// The next keys to announce: those of one slot, new ones first, then what has been due longest. They are taken:
    /// [`Self::done`] gives them back.
    pub fn take(&mut self, now: Timestamp) -> Option<Batch> {
        if now < self.idle_until {
            return None;
        }
        let mut soonest = Timestamp::from_millis(u64::MAX);
        let mut first: Option<(bool, Timestamp, Place)> = None;
        for (place, entry) in self.keys.iter().filter(|(_, entry)| !entry.busy) {
            let due = self.due(place, entry);
            soonest = soonest.min(due);
            let rank = (entry.told.is_some(), due, *place);
            if due <= now && first.is_none_or(|first| rank < first) {
                first = Some(rank);
            }
        }
        let Some((.., place)) = first else {
            self.idle_until = soonest;
            return None;
        };
        let prefix = Prefix::new(&place, self.depth().unwrap_or(0));
        let within = self.keys.range(prefix.first()..=prefix.last());
        let due = within.filter(|(place, entry)| !entry.busy && self.due(place, entry) <= now);
        let keys = due.take(BATCH_MAX).map(|(place, entry)| (*place, Key::clone(&entry.key)));
        let keys: Vec<(Place, Key)> = keys.collect();
        for (place, _) in &keys {
            if let Some(entry) = self.keys.get_mut(place) {
                entry.busy = true;
            }
        }
        Some(Batch { prefix, keys })
    }

    /// Up to `count` keys that are due, spread over all of them, none of which is taken: to learn from looking them up how
    /// many peers there are.
    pub fn sample(&self, now: Timestamp, count: usize) -> Vec<(Place, Key)> {
        let due: Vec<_> = self.keys.iter().filter(|(place, entry)| self.due(place, entry) <= now).collect();
        let step = (due.len() / count.max(1)).max(1);
        due.into_iter().step_by(step).take(count).map(|(place, entry)| (*place, Key::clone(&entry.key))).collect()
    }

    /// Gives a key back: it was announced, or it could not be and is tried again later.
    pub fn done(&mut self, place: &Place, told: bool, now: Timestamp) {
        let Some(entry) = self.keys.get_mut(place) else { return };
        entry.busy = false;
        if told {
            (entry.told, entry.not_before, entry.failures) = (Some(now), now, 0);
        } else {
            entry.not_before = now.after(RETRY * (1 << entry.failures.min(RETRY_DOUBLINGS)));
            entry.failures = entry.failures.saturating_add(1);
        }
        self.idle_until = Timestamp::default();
    }

    /// Gives keys back that nobody was there to be told of.
    pub fn release(&mut self, keys: &[(Place, Key)]) {
        for (place, _) in keys {
            if let Some(entry) = self.keys.get_mut(place) {
                entry.busy = false;
            }
        }
        self.idle_until = Timestamp::default();
    }

    /// How it is going.
    pub fn standing(&self, now: Timestamp) -> Standing {
        let mut standing = Standing { keys: self.keys.len(), ..Standing::default() };
        for (place, entry) in &self.keys {
            standing.unannounced += usize::from(entry.told.is_none());
            let due = entry.told.map_or(entry.since, |told| self.slot_after(place, told));
            standing.lag = standing.lag.max(now.since(due));
            standing.oldest = standing.oldest.max(now.since(entry.told.unwrap_or(entry.since)));
        }
        standing
    }

    /// When each key was announced, for [`Self::restore`]: a magic, then for each key the first 8 bytes of its place and the
    /// seconds since the Unix epoch, big-endian.
    pub fn save(&self) -> Vec<u8> {
        let told = self.keys.iter().filter_map(|(place, entry)| Some((place.head(), entry.told?)));
        let mut bytes = MAGIC.to_vec();
        for (head, at) in told.chain(self.earlier.iter().map(|(head, at)| (*head, *at))) {
            bytes.extend(head.to_be_bytes());
            bytes.extend(u32::try_from(at.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
        }
        bytes
    }

    /// Takes what was saved: keys that come from now on were announced then. `false` when it is nothing that was saved; all
    /// keys are new then.
    pub fn restore(&mut self, bytes: &[u8]) -> bool {
        let Some(entries) = bytes.strip_prefix(MAGIC) else { return false };
        let (entries, rest) = entries.as_chunks::<SAVED_BYTES>();
        for [a, b, c, d, e, f, g, h, at @ ..] in entries.iter().take(KEYS_MAX) {
            let head = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            self.earlier.insert(head, Timestamp::from_secs(u32::from_be_bytes(*at).into()));
        }
        rest.is_empty()
    }
}

/// How many peers a slot has, about: so many that its keys' peers are nearly always in it.
pub(super) const SLOT_PEERS: u64 = 3 * K as u64 / 2;

#[cfg(test)]
mod tests;
