//! The records in memory, and who must go when there is no room.
//!
//! Never evicted: what this node stands for, which is what its operator or a publisher brought and the names of sites that
//! it holds, as long as it has not expired. Of the rest, what has expired goes first, then what nobody ever asked for, the
//! oldest first, then what nobody has asked for the longest. So whoever floods a node with names pushes out its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use atoll_core::ipns::{Name, Record, RecordError};
use atoll_core::{SiteId, Timestamp};
use bytes::Bytes;

use super::{HeldSites, Kept, Origin};

/// What an entry costs beside its record's bytes.
const ENTRY_BYTES: usize = 256;
/// When room must be made, a share of so much is made, so that it is seldom done.
const SHARE: usize = 32;

/// What is kept under a name.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// A verified record.
    Valid(Record),
    /// What an operator loaded although it is none.
    Bad(Bytes, RecordError),
}

impl Held {
    /// Verifies `bytes`.
    pub(super) fn check(name: &Name, bytes: Bytes) -> Self {
        match Record::verify(name, bytes.clone()) {
            Ok(record) => Self::Valid(record),
            Err(cause) => Self::Bad(bytes, cause),
        }
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        match self {
            Self::Valid(record) => Some(record),
            Self::Bad(..) => None,
        }
    }

    pub(super) fn bytes(&self) -> &Bytes {
        match self {
            Self::Valid(record) => record.bytes(),
            Self::Bad(bytes, _) => bytes,
        }
    }
}

/// A name's record, and what is known about its age.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) held: Held,
    pub(super) origin: Origin,
    /// When it was last known that there is no newer one; milliseconds since the Unix epoch, as the next two.
    checked: AtomicU64,
    /// Before then it need not be asked for again, since that failed.
    retry: AtomicU64,
    /// When a visitor last asked for it.
    used: AtomicU64,
    /// When it was kept.
    since: Timestamp,
}

impl Entry {
    /// A record that was checked at `checked`.
    pub(super) fn new(name: Name, held: Held, origin: Origin, checked: Timestamp) -> Self {
        let number = |at: Timestamp| AtomicU64::new(at.as_millis());
        let zero = Timestamp::default;
        Self {
            name,
            held,
            origin,
            checked: number(checked),
            retry: number(zero()),
            used: number(zero()),
            since: checked,
        }
    }

    pub(super) fn kept(&self) -> Kept {
        let record = match &self.held {
            Held::Valid(record) => Ok(record.clone()),
            Held::Bad(_, cause) => Err(cause.clone()),
        };
        Kept { name: self.name, record, bytes: self.held.bytes().clone(), origin: self.origin }
    }

    /// The record, while it lives.
    pub(super) fn live(&self, now: Timestamp) -> Option<&Record> {
        self.held.record().filter(|record| record.is_live(now))
    }

    /// Whether there is a record whose time has not passed.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.live(now).is_some()
    }

    /// Why it is no record, if it is none.
    pub(crate) fn kept_error(&self) -> Option<String> {
        match &self.held {
            Held::Valid(_) => None,
            Held::Bad(_, cause) => Some(cause.to_string()),
        }
    }

    /// See the field.
    pub(crate) fn checked(&self) -> Timestamp {
        Timestamp::from_millis(self.checked.load(Ordering::Relaxed))
    }

    /// See the field.
    pub(crate) fn retry(&self) -> Timestamp {
        Timestamp::from_millis(self.retry.load(Ordering::Relaxed))
    }

    /// Notes that it is the newest as far as anybody knows.
    pub(crate) fn set_checked(&self, now: Timestamp) {
        self.checked.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Notes that asking failed.
    pub(crate) fn set_retry(&self, at: Timestamp) {
        self.retry.store(at.as_millis(), Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> Timestamp {
        Timestamp::from_millis(self.used.load(Ordering::Relaxed))
    }

    /// Notes that somebody asked for it.
    pub(crate) fn set_used(&self, now: Timestamp) {
        self.used.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Whether this node stands for it.
    pub(super) fn is_own(&self, held: &HashSet<SiteId>) -> bool {
        self.origin == Origin::Own || self.name.site().is_some_and(|site| held.contains(&site))
    }

    fn cost(&self) -> usize {
        self.held.bytes().len().saturating_add(ENTRY_BYTES)
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<Name, Arc<Entry>>,
    bytes: usize,
}

impl Table {
    pub(super) fn get(&self, name: &Name) -> Option<&Arc<Entry>> {
        self.entries.get(name)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    pub(super) fn insert(&mut self, entry: Arc<Entry>) {
        self.remove(&entry.name);
        self.bytes = self.bytes.saturating_add(entry.cost());
        self.entries.insert(entry.name, entry);
    }

    pub(super) fn remove(&mut self, name: &Name) {
        let cost = self.entries.remove(name).map_or(0, |entry| entry.cost());
        self.bytes = self.bytes.saturating_sub(cost);
    }

    /// Who must go so that `staged` fits; `None` when it cannot fit.
    pub(super) fn room_for(
        &self,
        staged: &BTreeMap<Name, Arc<Entry>>,
        limits: &Limits,
        held: &HeldSites,
        now: Timestamp,
    ) -> Option<Vec<Name>> {
        let replaced = || staged.keys().filter_map(|name| self.entries.get(name));
        let records = (self.entries.len() + staged.len()).saturating_sub(replaced().count());
        let added: usize = staged.values().map(|entry| entry.cost()).sum();
        let bytes = (self.bytes + added).saturating_sub(replaced().map(|entry| entry.cost()).sum());
        if records <= limits.records && bytes <= limits.bytes {
            return Some(Vec::new());
        }
        let (mut records, mut bytes) = (records, bytes);
        let room = |most: usize| most.saturating_sub(most / SHARE);
        let mut evicted = Vec::new();
        for entry in self.evictable(&held(), now).filter(|entry| !staged.contains_key(&entry.name)) {
            if records <= room(limits.records) && bytes <= room(limits.bytes) {
                break;
            }
            (records, bytes) = (records.saturating_sub(1), bytes.saturating_sub(entry.cost()));
            evicted.push(entry.name);
        }
        (records <= limits.records && bytes <= limits.bytes).then_some(evicted)
    }

    /// Those that may go, the first to go first.
    fn evictable(&self, held: &HashSet<SiteId>, now: Timestamp) -> impl Iterator<Item = &Arc<Entry>> {
        let expired = |entry: &Entry| entry.held.record().is_some_and(|record| !record.is_live(now));
        let may_go = |entry: &&Arc<Entry>| expired(entry) || !entry.is_own(held);
        let mut all: Vec<_> = self.entries.values().filter(may_go).collect();
        all.sort_by_cached_key(|entry| (Reverse(expired(entry)), entry.used(), entry.since, entry.name));
        all.into_iter()
    }
}
