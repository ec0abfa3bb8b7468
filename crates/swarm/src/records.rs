//! What Kademlia keeps for others: who provides what, and IPNS records. Bounded; in memory only, since whoever stands for it
//! announces it again.
//!
//! When there is no room, keys farther from this node give way to nearer ones, which are the ones that it will be asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use atoll_core::ipns;
use bytes::Bytes;
use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{KBucketDistance, KBucketKey, ProviderRecord, Record, RecordKey};

use crate::dht::Own;
use crate::names;

/// The most keys of which providers are known.
pub(crate) const KEYS_MAX: usize = 65_536;
/// The most IPNS records.
pub(crate) const VALUES_MAX: usize = 8192;
/// The most bytes of IPNS records.
const VALUE_BYTES_MAX: usize = 16 << 20;
/// The most providers of one key (Kademlia's k).
const PROVIDERS_MAX: usize = 20;
/// The longest key, in bytes: a multihash.
const KEY_BYTES_MAX: usize = 64;
/// The most addresses that are kept of a provider.
const ADDRESSES_MAX: usize = 8;

/// The store of one DHT. Both maps are ordered by the distance from this node.
pub(crate) struct Records {
    me: PeerId,
    place: KBucketKey<PeerId>,
    providers: BTreeMap<KBucketDistance, Vec<ProviderRecord>>,
    values: BTreeMap<KBucketDistance, Value>,
    value_bytes: usize,
    /// Tells the keys that this node provides.
    own: Own,
}

/// A valid IPNS record.
struct Value {
    record: Record,
    checked: ipns::Record,
}

impl Records {
    pub(crate) fn new(me: PeerId) -> Self {
        let (providers, values) = (BTreeMap::new(), BTreeMap::new());
        Self { me, place: KBucketKey::from(me), providers, values, value_bytes: 0, own: Arc::new(|_| false) }
    }

    /// From now on, `own` tells which keys this node provides.
    pub(crate) fn set_own(&mut self, own: Own) {
        self.own = own;
    }

    /// How many keys have providers here.
    pub(crate) fn len(&self) -> usize {
        self.providers.len()
    }

    /// How many IPNS records are here.
    pub(crate) fn values(&self) -> usize {
        self.values.len()
    }

    /// Forgets what has expired.
    pub(crate) fn sweep(&mut self, now: Instant) {
        for providers in self.providers.values_mut() {
            providers.retain(|provider| provider.expires.is_none_or(|at| at > now));
        }
        self.providers.retain(|_, providers| !providers.is_empty());
        let is_live = |value: &Value| !value.record.is_expired(now) && names::is_live(&value.checked);
        self.values.retain(|_, value| is_live(value));
        self.value_bytes = self.values.values().map(|value| value.record.value.len()).sum();
    }

    fn distance(&self, key: &RecordKey) -> KBucketDistance {
        self.place.distance(&KBucketKey::new(key.clone()))
    }

    fn mine(&self, key: &RecordKey) -> Option<ProviderRecord> {
        let own = || ProviderRecord { key: key.clone(), provider: self.me, expires: None, addresses: Vec::new() };
        (self.own)(key.as_ref()).then(own)
    }

    fn remove_value(&mut self, at: &KBucketDistance) {
        if let Some(value) = self.values.remove(at) {
            self.value_bytes = self.value_bytes.saturating_sub(value.record.value.len());
        }
    }

    /// Makes room for a value of `bytes` at distance `at`, if it is nearer than others.
    fn make_room(&mut self, at: &KBucketDistance, bytes: usize) -> bool {
        while self.values.len() >= VALUES_MAX || self.value_bytes.saturating_add(bytes) > VALUE_BYTES_MAX {
            match self.values.last_key_value() {
                Some((farthest, _)) if farthest > at => {
                    let farthest = *farthest;
                    self.remove_value(&farthest);
                }
                _ => return false,
            }
        }
        true
    }
}

impl RecordStore for Records {
    type RecordsIter<'a> = std::iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = std::iter::Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        let value = self.values.get(&self.distance(key)).filter(|value| names::is_live(&value.checked))?;
        Some(Cow::Borrowed(&value.record))
    }

    /// Keeps a valid IPNS record that is no older than the one that is known.
    fn put(&mut self, record: Record) -> Result<()> {
        let name = names::of_key(&record.key).ok_or(Error::ValueTooLarge)?;
        let at = self.distance(&record.key);
        if let Some(known) = self.values.get_mut(&at)
            && known.record.value == record.value
        {
            known.record.expires = record.expires;
            return Ok(());
        }
        let checked = ipns::Record::verify(&name, Bytes::copy_from_slice(&record.value));
        let checked = checked.ok().filter(names::is_live).ok_or(Error::ValueTooLarge)?;
        if self.values.get(&at).is_some_and(|known| !checked.replaces(&known.checked)) {
            return Err(Error::MaxRecords);
        }
        self.remove_value(&at);
        if !self.make_room(&at, record.value.len()) {
            return Err(Error::MaxRecords);
        }
        self.value_bytes = self.value_bytes.saturating_add(record.value.len());
        self.values.insert(at, Value { record, checked });
        Ok(())
    }

    fn remove(&mut self, key: &RecordKey) {
        self.remove_value(&self.distance(key));
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        std::iter::empty()
    }

    fn add_provider(&mut self, mut record: ProviderRecord) -> Result<()> {
        if record.key.as_ref().len() > KEY_BYTES_MAX {
            return Err(Error::ValueTooLarge);
        }
        if record.provider == self.me {
            // What this node provides, it knows itself.
            return Ok(());
        }
        record.addresses.truncate(ADDRESSES_MAX);
        let at = self.distance(&record.key);
        if self.providers.len() >= KEYS_MAX && !self.providers.contains_key(&at) {
            if self.providers.last_key_value().is_none_or(|(farthest, _)| *farthest < at) {
                return Err(Error::MaxProvidedKeys);
            }
            self.providers.pop_last();
        }
        let providers = self.providers.entry(at).or_default();
        providers.retain(|known| known.provider != record.provider);
        if providers.len() >= PROVIDERS_MAX {
            // The oldest gives way: whoever still has it announces itself again.
            providers.remove(0);
        }
        providers.push(record);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let others = self.providers.get(&self.distance(key)).into_iter().flatten().cloned();
        self.mine(key).into_iter().chain(others).collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        // Announced again by the node itself, not by the library.
        std::iter::empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, peer: &PeerId) {
        let at = self.distance(key);
        if let Some(providers) = self.providers.get_mut(&at) {
            providers.retain(|known| known.provider != *peer);
            if providers.is_empty() {
                self.providers.remove(&at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use atoll_core::SystemClock;
    use atoll_core::ipns::NewRecord;
    use atoll_core::keys::SiteKey;

    use super::*;

    fn record(key: usize, provider: PeerId) -> ProviderRecord {
        ProviderRecord {
            key: RecordKey::from(key.to_be_bytes().to_vec()),
            provider,
            expires: Some(Instant::now() + Duration::from_secs(1)),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn providers_of_a_key_and_keys_have_limits() {
        let mut records = Records::new(PeerId::random());
        let peers: Vec<PeerId> = (0..=PROVIDERS_MAX).map(|_| PeerId::random()).collect();
        for peer in &peers {
            records.add_provider(record(0, *peer)).unwrap();
        }
        let known: Vec<_> =
            records.providers(&record(0, peers[0]).key).into_iter().map(|known| known.provider).collect();
        assert_eq!(known, peers[1..]);
        for key in 1..KEYS_MAX {
            records.add_provider(record(key, peers[0])).unwrap();
        }
        // Of many more, those are kept that are nearer than what was there.
        let farthest = |records: &Records| *records.providers.last_key_value().unwrap().0;
        let before = farthest(&records);
        let kept = (KEYS_MAX..KEYS_MAX + 1000).filter(|key| records.add_provider(record(*key, peers[0])).is_ok());
        assert!((1..1000).contains(&kept.count()));
        assert!(farthest(&records) < before);
        assert_eq!(records.len(), KEYS_MAX);
        // Whatever this node provides has room.
        let own = record(KEYS_MAX, records.me);
        let key = own.key.to_vec();
        records.set_own(Arc::new(move |other| *other == key));
        assert!(records.providers(&own.key).iter().any(|known| known.provider == records.me));
        let long = ProviderRecord { key: vec![0; KEY_BYTES_MAX + 1].into(), ..record(0, peers[0]) };
        assert!(records.add_provider(long).is_err());
        records.sweep(Instant::now() + Duration::from_secs(2));
        assert_eq!(records.len(), 0);
        assert_eq!(records.providers(&own.key).len(), 1);
    }

    fn signed(seed: u8, sequence: u64, lives_on: u64) -> Record {
        let eol = SystemClock::now().after(Duration::from_secs(lives_on));
        let target = "/ipfs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy".parse().unwrap();
        let new = NewRecord { target, sequence, eol, ttl: Duration::from_secs(60) };
        let record = new.sign(&SiteKey::from_seed(&[seed; 32])).unwrap();
        Record::new(names::key_of(record.name()), record.bytes().to_vec())
    }

    #[test]
    fn only_valid_newest_records_of_names_are_kept() {
        let mut records = Records::new(PeerId::random());
        let (old, new) = (signed(1, 1, 100), signed(1, 2, 100));
        records.put(new.clone()).unwrap();
        assert!(records.put(old).is_err());
        records.put(new.clone()).unwrap();
        assert_eq!(records.get(&new.key).map(|known| known.value.clone()), Some(new.value.clone()));
        let other = signed(2, 1, 100);
        // Of another key, broken, expired, under no name at all.
        assert!(records.put(Record { key: other.key.clone(), ..new.clone() }).is_err());
        assert!(records.put(Record { value: other.value[1..].to_vec(), ..other.clone() }).is_err());
        assert!(records.put(signed(3, 1, 0)).is_err());
        assert!(records.put(Record { key: b"/pk/x".to_vec().into(), ..other }).is_err());
        assert_eq!(records.values(), 1);
        records.sweep(Instant::now());
        assert_eq!((records.values(), records.value_bytes), (1, new.value.len()));
        records.remove(&new.key);
        assert_eq!((records.values(), records.value_bytes), (0, 0));
    }
}
