//! What Kademlia keeps for others: who provides what. Bounded; in memory only, since providers announce themselves again.
//!
//! Values (`PUT_VALUE`) are taken only when they are valid IPNS records, which arrive through [`Records::put`].

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

/// The most keys of which providers are known.
pub(crate) const KEYS_MAX: usize = 65_536;
/// The most providers of one key (Kademlia's k).
const PROVIDERS_MAX: usize = 20;
/// The longest key, in bytes: a multihash.
const KEY_BYTES_MAX: usize = 64;
/// The most addresses that are kept of a provider.
const ADDRESSES_MAX: usize = 8;

/// The store of one DHT.
pub(crate) struct Records {
    me: PeerId,
    providers: HashMap<RecordKey, Vec<ProviderRecord>>,
    /// The keys that this node provides.
    own: HashSet<RecordKey>,
}

impl Records {
    pub(crate) fn new(me: PeerId) -> Self {
        Self { me, providers: HashMap::new(), own: HashSet::new() }
    }

    /// How many keys have providers here.
    pub(crate) fn len(&self) -> usize {
        self.providers.len()
    }

    /// Forgets what has expired.
    pub(crate) fn sweep(&mut self, now: Instant) {
        for providers in self.providers.values_mut() {
            providers.retain(|provider| provider.expires.is_none_or(|at| at > now));
        }
        self.providers.retain(|_, providers| !providers.is_empty());
    }

    fn mine(&self, key: &RecordKey) -> Option<ProviderRecord> {
        let own = || ProviderRecord { key: key.clone(), provider: self.me, expires: None, addresses: Vec::new() };
        self.own.contains(key).then(own)
    }
}

impl RecordStore for Records {
    type RecordsIter<'a> = std::iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = std::iter::Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, _key: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _record: Record) -> Result<()> {
        Err(Error::MaxRecords)
    }

    fn remove(&mut self, _key: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        std::iter::empty()
    }

    fn add_provider(&mut self, mut record: ProviderRecord) -> Result<()> {
        if record.key.as_ref().len() > KEY_BYTES_MAX {
            return Err(Error::ValueTooLarge);
        }
        if record.provider == self.me {
            self.own.insert(record.key);
            return Ok(());
        }
        record.addresses.truncate(ADDRESSES_MAX);
        if self.providers.len() >= KEYS_MAX && !self.providers.contains_key(&record.key) {
            return Err(Error::MaxProvidedKeys);
        }
        let providers = self.providers.entry(record.key.clone()).or_default();
        providers.retain(|known| known.provider != record.provider);
        if providers.len() >= PROVIDERS_MAX {
            // The oldest gives way: whoever still has it announces itself again.
            providers.remove(0);
        }
        providers.push(record);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let others = self.providers.get(key).into_iter().flatten().cloned();
        self.mine(key).into_iter().chain(others).collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        // Announced again by the node itself, not by the library.
        std::iter::empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, peer: &PeerId) {
        if *peer == self.me {
            self.own.remove(key);
        } else if let Some(providers) = self.providers.get_mut(key) {
            providers.retain(|known| known.provider != *peer);
            if providers.is_empty() {
                self.providers.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        assert!(records.add_provider(record(KEYS_MAX, peers[0])).is_err());
        // One more of a known key, and whatever this node provides, has room.
        assert!(records.add_provider(record(5, peers[1])).is_ok());
        let own = record(KEYS_MAX, records.me);
        records.add_provider(own.clone()).unwrap();
        assert_eq!(records.providers(&own.key).len(), 1);
        let long = ProviderRecord { key: vec![0; KEY_BYTES_MAX + 1].into(), ..record(0, peers[0]) };
        assert!(records.add_provider(long).is_err());
        records.sweep(Instant::now() + Duration::from_secs(2));
        assert_eq!(records.len(), 0);
        assert_eq!(records.providers(&own.key).len(), 1);
    }
}
