//! What Kademlia keeps for others: who provides what, and IPNS records. Bounded; in memory only, since whoever stands for it
//! announces it again.
//!
//! When there is no room, keys farther from this node give way to nearer ones, which are the ones that it will be asked for.

mod providers;

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
use providers::Providers;

/// The most IPNS records.
pub(crate) const VALUES_MAX: usize = 8192;
/// The most bytes of IPNS records.
const VALUE_BYTES_MAX: usize = 16 << 20;
/// The store of one DHT. Both parts are ordered by the distance from this node.
pub(crate) struct Records {
    me: PeerId,
    place: KBucketKey<PeerId>,
    providers: Providers,
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
        let (providers, values) = (Providers::default(), BTreeMap::new());
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
        self.providers.sweep(now);
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

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        // What this node provides, it knows itself.
        if record.provider == self.me { Ok(()) } else { self.providers.add(self.distance(&record.key), record) }
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let others = self.providers.of(self.distance(key)).cloned();
        self.mine(key).into_iter().chain(others).collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        // Announced again by the node itself, not by the library.
        std::iter::empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, peer: &PeerId) {
        self.providers.remove(&self.distance(key), peer);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use atoll_core::SystemClock;
    use atoll_core::ipns::NewRecord;
    use atoll_core::keys::SiteKey;

    use super::*;

    #[test]
    fn what_this_node_provides_has_room_whatever_others_announce() {
        let mut records = Records::new(PeerId::random());
        let key = RecordKey::from(b"calm water".to_vec());
        let other =
            ProviderRecord { key: key.clone(), provider: PeerId::random(), expires: None, addresses: Vec::new() };
        records.add_provider(other.clone()).unwrap();
        records.add_provider(ProviderRecord { provider: records.me, ..other.clone() }).unwrap();
        let known = |records: &Records| records.providers(&key).iter().map(|known| known.provider).collect::<Vec<_>>();
        assert_eq!(known(&records), [other.provider]);
        let own = key.to_vec();
        records.set_own(Arc::new(move |other| *other == own));
        assert_eq!(known(&records), [records.me, other.provider]);
        records.remove_provider(&key, &other.provider);
        assert_eq!((known(&records), records.len()), (vec![records.me], 0));
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
