//! Who provides what, as others announced it: bounded in keys and in bytes, and no provider keeps others out.
//!
//! While there is room, everybody has it. When there is none, whoever holds more than its share gives way first, then the keys
//! that are farther from this node than the new one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::kad::store::{Error, Result};
use libp2p::kad::{KBucketDistance, ProviderRecord};

/// The most keys of which providers are known.
const KEYS_MAX: usize = 65_536;
/// The most providers of one key (Kademlia's k).
const PROVIDERS_MAX: usize = 20;
/// The longest key, in bytes: a multihash.
const KEY_BYTES_MAX: usize = 64;
/// The most addresses that are kept of a provider, and the longest, in bytes.
const ADDRESSES_MAX: usize = 8;
const ADDRESS_BYTES_MAX: usize = 256;
/// The most bytes of all records, and what one takes beside its key and addresses.
const BYTES_MAX: usize = 64 << 20;
const RECORD_BYTES: usize = 256;
/// Records of one provider above which it gives way when there is no room.
const SHARE: usize = KEYS_MAX / 8;

/// The records, by their keys' distance from this node.
#[derive(Default)]
pub(super) struct Providers {
    keys: BTreeMap<KBucketDistance, Vec<ProviderRecord>>,
    held: Held,
}

/// What the records take.
#[derive(Default)]
struct Held {
    bytes: usize,
    /// The keys of each provider.
    keys: HashMap<PeerId, BTreeSet<KBucketDistance>>,
    /// Those that have more than their share.
    greedy: BTreeSet<PeerId>,
}

impl Providers {
    /// How many keys have providers.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The providers of a key.
    pub(super) fn of(&self, at: KBucketDistance) -> impl Iterator<Item = &ProviderRecord> {
        self.keys.get(&at).into_iter().flatten()
    }

    /// Keeps a record whose key is at that distance.
    ///
    /// # Errors
    /// [`Error`] when it is larger than any true one, or when there is no room for it.
    pub(super) fn add(&mut self, at: KBucketDistance, mut record: ProviderRecord) -> Result<()> {
        if record.key.as_ref().len() > KEY_BYTES_MAX {
            return Err(Error::ValueTooLarge);
        }
        record.addresses.retain(|address| address.len() <= ADDRESS_BYTES_MAX);
        record.addresses.truncate(ADDRESSES_MAX);
        if let Some(known) = self.take(&at, |known| known.provider == record.provider) {
            // It keeps its place, and its addresses if there is no room for more.
            if self.held.bytes.saturating_add(bytes(&record)) > BYTES_MAX {
                record.addresses = known.addresses;
            }
        } else {
            let is_full = self.keys.get(&at).is_some_and(|providers| providers.len() >= PROVIDERS_MAX);
            if is_full {
                // The oldest gives way: whoever still has it announces itself again.
                self.take(&at, |_| true);
            }
            while !self.has_room(&at, &record) {
                self.make_room(&at, &record.provider)?;
            }
        }
        self.held.add(at, &record);
        self.keys.entry(at).or_default().push(record);
        Ok(())
    }

    /// Forgets one provider of a key.
    pub(super) fn remove(&mut self, at: &KBucketDistance, peer: &PeerId) {
        self.take(at, |record| record.provider == *peer);
    }

    /// Forgets what has expired.
    pub(super) fn sweep(&mut self, now: Instant) {
        let held = &mut self.held;
        self.keys.retain(|at, providers| {
            providers.retain(|record| {
                let is_live = record.expires.is_none_or(|at| at > now);
                if !is_live {
                    held.remove(at, record);
                }
                is_live
            });
            !providers.is_empty()
        });
    }

    fn has_room(&self, at: &KBucketDistance, record: &ProviderRecord) -> bool {
        let has_key = self.keys.len() < KEYS_MAX || self.keys.contains_key(at);
        has_key && self.held.bytes.saturating_add(bytes(record)) <= BYTES_MAX
    }

    /// Makes some room for a record of `provider` at that distance.
    fn make_room(&mut self, at: &KBucketDistance, provider: &PeerId) -> Result<()> {
        if self.held.greedy.contains(provider) {
            return Err(Error::MaxProvidedKeys);
        }
        if let Some((farthest, greedy)) = self.held.farthest_of_greedy() {
            self.remove(&farthest, &greedy);
            return Ok(());
        }
        match self.keys.last_entry() {
            Some(farthest) if farthest.key() > at => {
                let (at, records) = farthest.remove_entry();
                records.iter().for_each(|record| self.held.remove(&at, record));
                Ok(())
            }
            _ => Err(Error::MaxProvidedKeys),
        }
    }

    /// Takes the oldest record out that is meant.
    fn take(&mut self, at: &KBucketDistance, is_meant: impl FnMut(&ProviderRecord) -> bool) -> Option<ProviderRecord> {
        let records = self.keys.get_mut(at)?;
        let record = records.remove(records.iter().position(is_meant)?);
        if records.is_empty() {
            self.keys.remove(at);
        }
        self.held.remove(at, &record);
        Some(record)
    }
}

impl Held {
    /// The farthest key of somebody who has more than its share.
    fn farthest_of_greedy(&self) -> Option<(KBucketDistance, PeerId)> {
        let greedy = *self.greedy.first()?;
        Some((*self.keys.get(&greedy)?.last()?, greedy))
    }

    fn add(&mut self, at: KBucketDistance, record: &ProviderRecord) {
        self.bytes = self.bytes.saturating_add(bytes(record));
        let keys = self.keys.entry(record.provider).or_default();
        keys.insert(at);
        if keys.len() > SHARE {
            self.greedy.insert(record.provider);
        }
    }

    fn remove(&mut self, at: &KBucketDistance, record: &ProviderRecord) {
        self.bytes = self.bytes.saturating_sub(bytes(record));
        let Some(keys) = self.keys.get_mut(&record.provider) else { return };
        keys.remove(at);
        if keys.len() <= SHARE {
            self.greedy.remove(&record.provider);
        }
        if keys.is_empty() {
            self.keys.remove(&record.provider);
        }
    }
}

/// What a record takes.
fn bytes(record: &ProviderRecord) -> usize {
    let addresses = record.addresses.iter().map(|address| address.len());
    addresses.fold(RECORD_BYTES.saturating_add(record.key.as_ref().len()), usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use libp2p::kad::{KBucketKey, RecordKey};
    use multiaddr::Multiaddr;

    use super::*;

    fn record(key: usize, provider: PeerId) -> ProviderRecord {
        let key = RecordKey::from(key.to_be_bytes().to_vec());
        let expires = Some(Instant::now() + Duration::from_secs(1));
        ProviderRecord { key, provider, expires, addresses: Vec::new() }
    }

    /// The records of a node, and what is added to them.
    struct Node(KBucketKey<PeerId>, Providers);

    impl Node {
        fn new() -> Self {
            Self(PeerId::random().into(), Providers::default())
        }

        fn add(&mut self, record: ProviderRecord) -> Result<()> {
            let at = self.0.distance(&KBucketKey::new(record.key.clone()));
            self.1.add(at, record)
        }

        fn of(&self, key: usize) -> Vec<PeerId> {
            let key = RecordKey::from(key.to_be_bytes().to_vec());
            self.1.of(self.0.distance(&KBucketKey::new(key))).map(|record| record.provider).collect()
        }

        /// What is counted is what is there.
        fn check(&self) {
            let all: Vec<_> = self.1.keys.values().flatten().collect();
            let held = &self.1.held;
            assert_eq!(held.bytes, all.iter().map(|record| bytes(record)).sum::<usize>());
            assert_eq!(held.keys.values().map(BTreeSet::len).sum::<usize>(), all.len());
            let greedy = held.keys.iter().filter(|(_, keys)| keys.len() > SHARE).map(|(peer, _)| *peer);
            assert_eq!(held.greedy, greedy.collect());
            assert!(held.bytes <= BYTES_MAX && self.1.len() <= KEYS_MAX);
            assert!(self.1.keys.values().all(|records| (1..=PROVIDERS_MAX).contains(&records.len())));
        }
    }

    fn peers<const N: usize>() -> [PeerId; N] {
        std::array::from_fn(|_| PeerId::random())
    }

    #[test]
    fn a_key_has_so_many_providers_and_each_once() {
        let (mut node, peers) = (Node::new(), peers::<{ PROVIDERS_MAX + 1 }>());
        for peer in peers.iter().chain(&peers) {
            node.add(record(0, *peer)).unwrap();
        }
        assert_eq!((node.of(0), node.1.len()), (peers[1..].to_vec(), 1));
        node.check();
        node.1.sweep(Instant::now() + Duration::from_secs(2));
        assert_eq!((node.1.len(), node.1.held.bytes), (0, 0));
        node.check();
    }

    #[test]
    fn among_many_providers_the_nearest_keys_are_kept() {
        let (mut node, peers) = (Node::new(), peers::<16>());
        for key in 0..KEYS_MAX {
            node.add(record(key, peers[key % 16])).unwrap();
        }
        let farthest = |node: &Node| *node.1.keys.last_key_value().unwrap().0;
        let before = farthest(&node);
        let kept = (KEYS_MAX..KEYS_MAX + 1000).filter(|key| node.add(record(*key, peers[key % 16])).is_ok());
        assert!((1..1000).contains(&kept.count()));
        assert!(farthest(&node) < before);
        assert_eq!(node.1.len(), KEYS_MAX);
        node.check();
    }

    #[test]
    fn whoever_has_filled_everything_gives_way_to_all_others() {
        let (mut node, [flood, other, more]) = (Node::new(), peers());
        for key in 0..2 * KEYS_MAX {
            let kept = node.add(record(key, flood)).is_ok();
            assert_eq!(kept, key < KEYS_MAX);
        }
        for (key, peer) in (2 * KEYS_MAX..).zip([other, more].repeat(SHARE)) {
            node.add(record(key, peer)).unwrap();
        }
        assert_eq!(node.1.len(), KEYS_MAX);
        assert_eq!((node.1.held.keys[&flood].len(), node.1.held.keys[&other].len()), (KEYS_MAX - 2 * SHARE, SHARE));
        // What it announces anew keeps its place.
        let own = (0..KEYS_MAX).find(|key| node.of(*key) == [flood]).unwrap();
        node.add(record(own, flood)).unwrap();
        assert_eq!(node.of(own), [flood]);
        node.check();
    }

    #[test]
    fn long_addresses_and_keys_take_no_room() {
        let (mut node, [peer]) = (Node::new(), peers());
        let long: Multiaddr = format!("/dns/{}/tcp/1", "x".repeat(300)).parse().unwrap();
        let short: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        let addresses = [vec![long], vec![short.clone(); 20]].concat();
        node.add(ProviderRecord { addresses, ..record(1, peer) }).unwrap();
        let kept: Vec<_> = node.1.keys.values().flatten().flat_map(|record| record.addresses.clone()).collect();
        assert_eq!(kept, vec![short; ADDRESSES_MAX]);
        assert!(node.add(ProviderRecord { key: vec![0; KEY_BYTES_MAX + 1].into(), ..record(0, peer) }).is_err());
        node.check();
    }

    #[test]
    fn bytes_have_a_limit_too() {
        let mut node = Node::new();
        let addresses = vec![format!("/dns/{}/tcp/1", "x".repeat(240)).parse().unwrap(); ADDRESSES_MAX];
        let kept = (0..KEYS_MAX).filter(|key| {
            let large = ProviderRecord { addresses: addresses.clone(), ..record(*key, PeerId::random()) };
            node.add(large).is_ok()
        });
        assert!(kept.count() < KEYS_MAX);
        node.check();
    }
}
