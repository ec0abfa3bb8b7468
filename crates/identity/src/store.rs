//! The IPNS records that a node keeps: all in memory, where readers find them without waiting, and on disk, which is
//! written first. A crash loses nothing that was acknowledged, and of the rest only what members tell again.
//!
//! Newest wins: nothing replaces a record that is newer. What an operator loads need not be valid; it is kept as it came, and
//! whoever asks for it is told what is wrong with it. Room is made by the rule of [`table`]: what this node stands for is
//! never evicted for strangers' names.

mod disk;
mod table;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use atoll_core::ipns::{Name, Record, RecordError};
use atoll_core::names::{NameRecords, Offered};
use atoll_core::{BoxFuture, Clock, SiteId, Timestamp};
use bytes::Bytes;

use self::disk::Disk;
pub(crate) use self::table::Entry;
use self::table::{Held, Limits, Table};
use crate::config::Config;
use crate::error::StoreError;

/// Tells which sites this node holds; asked only when room must be made.
pub type HeldSites = Box<dyn Fn() -> HashSet<SiteId> + Send + Sync>;

/// Who brought a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The operator, or a publisher through this node: it stands for it, and puts it to members again.
    Own,
    /// A member, or a member's answer.
    Member,
}

/// A record as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whose it is.
    pub name: Name,
    /// The record, or why it is none.
    pub record: Result<Record, RecordError>,
    /// As it came.
    pub bytes: Bytes,
    /// Who brought it.
    pub origin: Origin,
}

/// What became of a record that an operator loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// Kept; it is valid.
    Valid(Record),
    /// Kept; visitors are told that it is not valid, and why.
    Invalid(RecordError),
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    disk: Disk,
    table: RwLock<Table>,
    /// Held from the decision to the end of the write, so that two writers see each other's records.
    writing: Mutex<()>,
    limits: Limits,
    held: HeldSites,
    clock: Arc<dyn Clock>,
    version: AtomicU64,
}

/// A record to be kept.
struct Change {
    name: Name,
    held: Held,
    origin: Origin,
    /// The sequence that must be the last one, if it matters.
    expected: Option<Option<u64>>,
}

impl Store {
    /// Opens the records in `folder`, which must exist.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn open(folder: &Path, config: &Config, clock: Arc<dyn Clock>, held: HeldSites) -> Result<Self, StoreError> {
        let disk = Disk::open(&folder.join("names.redb"))?;
        let mut table = Table::default();
        for (name, origin, bytes) in disk.load()? {
            table.insert(Arc::new(Entry::new(name, Held::check(&name, bytes), origin, Timestamp::default())));
        }
        let limits = Limits { records: config.records_max, bytes: config.bytes_max };
        let (table, writing, version) = (RwLock::new(table), Mutex::new(()), AtomicU64::new(1));
        Ok(Self(Arc::new(Inner { disk, table, writing, limits, held, clock, version })))
    }

    /// Lets another process have the file; what is known goes on being shown, and nothing new is kept.
    pub fn close(&self) {
        self.0.disk.close();
    }

    /// What is kept of `name`.
    pub fn get(&self, name: &Name) -> Option<Kept> {
        self.entry(name).map(|entry| entry.kept())
    }

    /// All that is kept, in the order of names.
    pub fn list(&self) -> Vec<Kept> {
        let mut all: Vec<Kept> = self.read(|table| table.entries().map(|entry| entry.kept()).collect());
        all.sort_by_key(|kept| kept.name);
        all
    }

    /// How many records are kept.
    pub fn count(&self) -> usize {
        self.read(|table| table.entries().count())
    }

    /// Keeps a record; whether it is news. It survives power loss once this returns. If `expected` is given, that
    /// sequence (or none) must be the last that is kept, so that of two publishers with one key one is told.
    ///
    /// # Errors
    /// [`StoreError`]; what was kept stays then.
    pub async fn put(&self, record: Record, origin: Origin, expected: Option<Option<u64>>) -> Result<bool, StoreError> {
        if !record.is_live(self.0.clock.now()) {
            return Err(StoreError::Expired);
        }
        let change = Change { name: *record.name(), held: Held::Valid(record), origin, expected };
        self.write(vec![change]).await?.pop().unwrap_or(Ok(false))
    }

    /// Keeps what an operator loads for `name`, valid or not, unless a valid record is kept already that it does not
    /// replace.
    ///
    /// # Errors
    /// [`StoreError`]; an older record, one that is no record where a valid one is kept, and one over 10 KiB are refused.
    pub async fn import(&self, name: Name, bytes: Bytes) -> Result<Imported, StoreError> {
        let held = Held::check(&name, bytes);
        let imported = match &held {
            Held::Valid(record) => Imported::Valid(record.clone()),
            Held::Bad(_, cause @ RecordError::TooLarge(_)) => return Err(cause.clone().into()),
            Held::Bad(_, cause) => Imported::Invalid(cause.clone()),
        };
        let change = Change { name, held, origin: Origin::Own, expected: None };
        match self.write(vec![change]).await?.pop() {
            Some(Err(error)) => Err(error),
            _ => Ok(imported),
        }
    }

    /// A number that grows with every change.
    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// What is kept of `name`, with what is known about its age.
    pub(crate) fn entry(&self, name: &Name) -> Option<Arc<Entry>> {
        self.read(|table| table.get(name).cloned())
    }

    /// The live records that this node stands for: its own, and those of sites that it holds.
    pub(crate) fn own_records(&self) -> Vec<Record> {
        let (held, now) = ((self.0.held)(), self.0.clock.now());
        let own = |entry: &&Arc<Entry>| entry.is_own(&held);
        self.read(|table| table.entries().filter(own).filter_map(|entry| entry.live(now).cloned()).collect())
    }

    fn read<T>(&self, reader: impl FnOnce(&Table) -> T) -> T {
        reader(&self.0.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes on a thread for blocking work; for each change, whether it was news.
    async fn write(&self, changes: Vec<Change>) -> Result<Vec<Result<bool, StoreError>>, StoreError> {
        let inner = Arc::clone(&self.0);
        let written = tokio::task::spawn_blocking(move || inner.write(changes)).await;
        written.unwrap_or_else(|error| Err(self.0.disk.failed(&error)))
    }
}

impl Inner {
    /// Decides, writes to disk, and only then shows.
    fn write(&self, changes: Vec<Change>) -> Result<Vec<Result<bool, StoreError>>, StoreError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let table = || self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut staged: BTreeMap<Name, Arc<Entry>> = BTreeMap::new();
        let mut results = Vec::with_capacity(changes.len());
        for change in changes {
            let old = staged.get(&change.name).cloned().or_else(|| table().get(&change.name).cloned());
            let verdict = judge(&change, old.as_deref());
            if let Ok(Verdict::Keep { .. }) = &verdict {
                let origin =
                    if old.as_ref().is_some_and(|old| old.origin == Origin::Own) { Origin::Own } else { change.origin };
                let entry = Entry::new(change.name, change.held, origin, now);
                entry.set_used(old.map_or(Timestamp::default(), |old| old.used()));
                staged.insert(change.name, Arc::new(entry));
            }
            results.push(verdict.map(|verdict| matches!(verdict, Verdict::Keep { news: true })));
        }
        if staged.is_empty() {
            return Ok(results);
        }
        let Some(evicted) = table().room_for(&staged, &self.limits, &self.held, now) else {
            return Ok(results.into_iter().map(|result| result.and(Err(StoreError::Full))).collect());
        };
        self.disk.write(staged.values().map(AsRef::as_ref), &evicted)?;
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        evicted.iter().for_each(|name| table.remove(name));
        staged.into_values().for_each(|entry| table.insert(entry));
        drop(table);
        self.version.fetch_add(1, Ordering::Release);
        Ok(results)
    }
}

/// What is to be done with a record that is not refused.
enum Verdict {
    /// Write it; `news` when its bytes are new, too.
    Keep { news: bool },
    /// It is there already.
    Known,
}

/// Whether `change` may replace `old`.
fn judge(change: &Change, old: Option<&Entry>) -> Result<Verdict, StoreError> {
    let known = old.and_then(|old| old.held.record());
    let found = known.map(Record::sequence);
    if let Some(expected) = change.expected.filter(|expected| *expected != found) {
        return Err(StoreError::Changed { expected, found });
    }
    if let Some(old) = old.filter(|old| old.held.bytes() == change.held.bytes()) {
        let becomes_own = change.origin == Origin::Own && old.origin == Origin::Member;
        return Ok(if becomes_own { Verdict::Keep { news: false } } else { Verdict::Known });
    }
    match (&change.held, known) {
        (Held::Valid(new), Some(old)) if !new.replaces(old) => Err(StoreError::Older(old.sequence())),
        (Held::Bad(_, cause), Some(_)) => Err(cause.clone().into()),
        _ => Ok(Verdict::Keep { news: true }),
    }
}

impl NameRecords for Store {
    fn known(&self, name: &Name) -> Option<Bytes> {
        let now = self.0.clock.now();
        self.read(|table| table.get(name).and_then(|entry| entry.live(now)).map(|record| record.bytes().clone()))
    }

    fn offer(&self, records: Vec<(Name, Bytes)>) -> BoxFuture<'_, Vec<Offered>> {
        Box::pin(async move {
            let now = self.0.clock.now();
            let mut offered = vec![Offered::Old; records.len()];
            let (mut changes, mut places) = (Vec::new(), Vec::new());
            for (place, (name, bytes)) in records.into_iter().enumerate() {
                if self.known(&name).as_ref() == Some(&bytes) {
                    continue;
                }
                match Record::verify(&name, bytes) {
                    Ok(record) if record.is_live(now) => {
                        places.push((place, record.clone()));
                        changes.push(Change {
                            name,
                            held: Held::Valid(record),
                            origin: Origin::Member,
                            expected: None,
                        });
                    }
                    // The asker may not have noticed yet that its time is over.
                    Ok(_) => {}
                    Err(_) => offered.iter_mut().skip(place).take(1).for_each(|offered| *offered = Offered::Bad),
                }
                // Signatures take their time; other tasks go on meanwhile.
                tokio::task::yield_now().await;
            }
            if changes.is_empty() {
                return offered;
            }
            match self.write(changes).await {
                Ok(results) => {
                    for ((place, record), result) in places.into_iter().zip(results) {
                        if let (Ok(true), Some(offered)) = (result, offered.get_mut(place)) {
                            *offered = Offered::News(record);
                        }
                    }
                }
                Err(error) => tracing::error!(%error, "members' records of names are not kept"),
            }
            offered
        })
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("version", &self.version()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
