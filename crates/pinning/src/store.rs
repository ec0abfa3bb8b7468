//! Pin requests and publishers: all in memory, and on disk, which is written first. A crash loses nothing that was acknowledged;
//! how far a fetch had come is worked out again from the blocks that are there.

mod disk;
mod table;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atoll_core::{Clock, Timestamp};
use tokio::sync::{Notify, oneshot};

use self::disk::{Change, Disk};
use self::table::{Entry, Table};
use crate::error::StoreError;
use crate::filter::Filter;
use crate::publisher::{Allow, Publisher, PublisherView, TokenHash, check_name, new_token};
use crate::request::{Held, PinRequest, RequestId, State};
use crate::service::Snapshot;
use crate::wire::{Pin, Status};

/// The most publishers.
const PUBLISHERS_MAX: usize = 10_000;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    disk: Disk,
    table: Mutex<Table>,
    /// Held from the decision to the end of the write, so that two writers see each other's changes.
    writing: Mutex<()>,
    clock: Arc<dyn Clock>,
    /// Wakes whoever works on requests.
    news: Notify,
}

/// A request as its publisher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Names it.
    pub id: RequestId,
    /// Where it stands.
    pub status: Status,
    /// When it was made.
    pub created: Timestamp,
    /// What is to be pinned.
    pub pin: Pin,
    /// Bytes that were counted of it.
    pub bytes: u64,
    /// Blocks that were counted of it.
    pub blocks: u64,
    /// Why it is not pinned; empty when there is nothing to say.
    pub note: String,
}

/// Work on a request.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: RequestId,
    pub(crate) held: Held,
    pub(crate) origins: Vec<String>,
    /// How often it was tried before.
    pub(crate) attempts: u32,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// Resolves when the request is gone.
    pub(crate) gone: oneshot::Receiver<()>,
}

impl Store {
    /// Opens the requests in `folder`, which must exist.
    ///
    /// # Errors
    /// [`StoreError::Database`] and [`StoreError::Row`].
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let disk = Disk::open(&folder.join("pinning.redb"))?;
        let table = Mutex::new(disk.load()?);
        Ok(Self(Arc::new(Inner { disk, table, writing: Mutex::default(), clock, news: Notify::new() })))
    }

    /// Lets another process have the file; nothing is changed any more.
    pub(crate) fn close(&self) {
        self.0.disk.close();
    }

    /// Whose token this is.
    pub fn authenticate(&self, token: &str) -> Option<Publisher> {
        let hash = TokenHash::of(token)?;
        self.table().by_token(&hash).cloned()
    }

    /// All publishers, in the order of their names.
    pub fn publishers(&self) -> Vec<PublisherView> {
        let table = self.table();
        let view = |publisher: &Publisher| {
            let account = table.account(&publisher.name);
            PublisherView {
                name: publisher.name.clone(),
                live: publisher.token.is_some(),
                quota: publisher.quota,
                used: account.map_or(0, |account| account.used),
                allow: publisher.allow.words(),
                requests: account.map_or(0, |account| account.requests.len()),
            }
        };
        table.publishers.values().map(view).collect()
    }

    /// Makes a token for a publisher that has none. It cannot be read again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_publisher(&self, name: &str, quota: u64, allow: Allow) -> Result<String, StoreError> {
        check_name(name)?;
        let (token, hash) = new_token()?;
        let publisher = Publisher { name: name.to_owned(), token: Some(hash), quota, allow };
        self.write(move |table, _| {
            match table.publishers.get(&publisher.name) {
                Some(known) if known.token.is_some() => return Err(StoreError::HasToken(publisher.name)),
                None if table.publishers.len() >= PUBLISHERS_MAX => {
                    return Err(StoreError::PublishersMax(PUBLISHERS_MAX));
                }
                _ => {}
            }
            Ok((Change { publishers: vec![publisher], ..Change::default() }, token))
        })
        .await
    }

    /// Makes a publisher's token worthless. With `drop_pins`, all that it pinned is let go, too: what is to be unpinned.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn revoke(&self, name: &str, drop_pins: bool) -> Result<Vec<Held>, StoreError> {
        let name = name.to_owned();
        self.write(move |table, _| {
            let Some(known) = table.publishers.get(&name) else { return Err(StoreError::NoPublisher(name)) };
            if !drop_pins {
                let publisher = Publisher { token: None, ..known.clone() };
                return Ok((Change { publishers: vec![publisher], ..Change::default() }, Vec::new()));
            }
            let ids = table.account(&name).into_iter().flat_map(|account| account.requests.values().copied());
            let removed: Vec<RequestId> = ids.collect();
            let held = removed.iter().filter_map(|id| Some(table.requests.get(id)?.request.all_held(id))).flatten();
            let held = held.collect();
            Ok((Change { removed, gone: vec![name], ..Change::default() }, held))
        })
        .await
    }

    /// Keeps a request, in the place of another one if `replaces` names it. It survives power loss once this returns.
    ///
    /// # Errors
    /// [`StoreError`] says what the publisher may not.
    pub async fn create(
        &self,
        publisher: &str,
        pin: Pin,
        replaces: Option<RequestId>,
        requests_max: usize,
    ) -> Result<View, StoreError> {
        let (id, name) = (RequestId::random()?, publisher.to_owned());
        self.write(move |table, now| {
            let known = table.publishers.get(&name).filter(|publisher| publisher.token.is_some());
            let known = known.ok_or_else(|| StoreError::NoPublisher(name.clone()))?;
            if !known.allow.allows(&pin.cid) {
                return Err(StoreError::NotAllowed(pin.cid.to_string()));
            }
            let mut change = Change::default();
            let mut holds = Vec::new();
            if let Some(old) = replaces {
                let entry = table.requests.get(&old).filter(|entry| entry.request.publisher == name);
                let entry = entry.ok_or(StoreError::NoRequest(old))?;
                holds.clone_from(&entry.request.holds);
                holds.extend(matches!(entry.request.state, State::Pinned { .. }).then(|| entry.request.held(&old)));
                change.removed.push(old);
            } else {
                let (requests, used) =
                    table.account(&name).map_or((0, 0), |account| (account.requests.len(), account.used));
                if requests >= requests_max {
                    return Err(StoreError::RequestsMax(requests_max));
                }
                if used >= known.quota {
                    return Err(StoreError::QuotaUsed { used, quota: known.quota });
                }
            }
            let created = table.moment(now);
            let request = PinRequest { publisher: name, created, pin, state: State::Open, holds };
            let view = view(id, &Entry { request: request.clone(), work: Default::default() });
            change.requests.push((id, request));
            Ok((change, view))
        })
        .await
        .inspect(|_| self.0.news.notify_one())
    }

    /// One request of a publisher.
    pub fn get(&self, publisher: &str, id: &RequestId) -> Option<View> {
        let table = self.table();
        let entry = table.requests.get(id).filter(|entry| entry.request.publisher == publisher)?;
        Some(view(*id, entry))
    }

    /// How many requests of a publisher are asked for, and the newest of them.
    pub fn list(&self, publisher: &str, filter: &Filter) -> (usize, Vec<View>) {
        let table = self.table();
        let ids = table.account(publisher).into_iter().flat_map(|account| account.requests.values().rev());
        let entries = ids.filter_map(|id| Some((*id, table.requests.get(id)?)));
        let wanted = |entry: &Entry| filter.matches(&entry.request.pin, entry.request.created(), entry.status());
        let (mut count, mut page) = (0, Vec::new());
        for (id, entry) in entries.filter(|(_, entry)| wanted(entry)) {
            count += 1;
            if page.len() < filter.limit {
                page.push(view(id, entry));
            }
        }
        (count, page)
    }

    /// Removes a request; what is to be unpinned.
    ///
    /// # Errors
    /// [`StoreError::NoRequest`], and what the database says.
    pub(crate) async fn remove(&self, publisher: &str, id: RequestId) -> Result<Vec<Held>, StoreError> {
        let name = publisher.to_owned();
        self.write(move |table, _| {
            let entry = table.requests.get(&id).filter(|entry| entry.request.publisher == name);
            let held = entry.ok_or(StoreError::NoRequest(id))?.request.all_held(&id);
            Ok((Change { removed: vec![id], ..Change::default() }, held))
        })
        .await
    }

    /// Decides the fate of a request; what is to be unpinned then, or `None` when the request is gone.
    pub(crate) async fn finish(&self, id: RequestId, state: State) -> Result<Option<Vec<Held>>, StoreError> {
        let finished = self.write(move |table, _| {
            let Some(entry) = table.requests.get(&id) else { return Ok((Change::default(), None)) };
            let holds = entry.request.holds.clone();
            let request = PinRequest { state, holds: Vec::new(), ..entry.request.clone() };
            Ok((Change { requests: vec![(id, request)], ..Change::default() }, Some(holds)))
        });
        let finished = finished.await?;
        self.table().end(&id);
        Ok(finished)
    }

    /// Opens requests again whose pins are not there any more; how many.
    pub(crate) async fn reopen(&self, pins: HashSet<Held>) -> Result<usize, StoreError> {
        self.write(move |table, _| {
            let lost = table.requests.iter().filter(|(id, entry)| {
                matches!(entry.request.state, State::Pinned { .. }) && !pins.contains(&entry.request.held(id))
            });
            let open =
                |(id, entry): (&RequestId, &Entry)| (*id, PinRequest { state: State::Open, ..entry.request.clone() });
            let requests: Vec<_> = lost.map(open).collect();
            let count = requests.len();
            Ok((Change { requests, ..Change::default() }, count))
        })
        .await
    }

    /// The pins that have to stay.
    pub(crate) fn held(&self) -> HashSet<Held> {
        let table = self.table();
        table.requests.iter().flat_map(|(id, entry)| entry.request.all_held(id)).collect()
    }

    /// Begins the work whose turn it is.
    pub(crate) fn next(&self, per_publisher: usize) -> Option<Job> {
        let mut table = self.table();
        let id = table.next(self.0.clock.now(), per_publisher)?;
        let (entry, gone) = table.begin(&id)?;
        let request = &entry.request;
        Some(Job {
            id,
            held: request.held(&id),
            origins: request.pin.origins.clone(),
            attempts: entry.work.attempts,
            created: request.created(),
            gone,
        })
    }

    /// When it is somebody's turn.
    pub(crate) fn next_due(&self, per_publisher: usize) -> Option<Timestamp> {
        self.table().next_due(per_publisher)
    }

    /// Resolves when there may be more to do than before.
    pub(crate) async fn news(&self) {
        self.0.news.notified().await;
    }

    /// Counts a block for the quota of a request's publisher; the quota, if that forbids it.
    pub(crate) fn charge(&self, id: &RequestId, bytes: usize) -> Result<(), u64> {
        self.table().charge(id, bytes as u64)
    }

    /// What was counted of a request: bytes and blocks.
    pub(crate) fn counted(&self, id: &RequestId) -> (u64, u64) {
        self.table().requests.get(id).map_or((0, 0), |entry| (entry.work.bytes, entry.work.blocks))
    }

    /// Says what a request waits for.
    pub(crate) fn note(&self, id: &RequestId, note: &str) {
        if let Some(entry) = self.table().requests.get_mut(id) {
            entry.work.note = note.to_owned();
        }
    }

    /// Ends the work on a request until `due`.
    pub(crate) fn put_off(&self, id: &RequestId, due: Timestamp, why: String) {
        if let Some(entry) = self.table().end(id) {
            entry.work.attempts = entry.work.attempts.saturating_add(1);
            entry.work.due = due;
            entry.work.note = why;
        }
        self.0.news.notify_one();
    }

    /// Ends the work on a request that nobody ended otherwise.
    pub(crate) fn end(&self, id: &RequestId) {
        self.table().end(id);
        self.0.news.notify_one();
    }

    /// All that is counted.
    pub fn snapshot(&self) -> Snapshot {
        let table = self.table();
        let (counts, bytes) = table.counts();
        let count = |status| counts.get(&status).copied().unwrap_or(0);
        Snapshot {
            listen: Vec::new(),
            publishers: table.publishers.values().filter(|publisher| publisher.token.is_some()).count(),
            queued: count(Status::Queued),
            pinning: count(Status::Pinning),
            pinned: count(Status::Pinned),
            failed: count(Status::Failed),
            bytes,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.0.table)
    }

    /// Decides, writes to disk, and only then shows; on a thread for blocking work.
    async fn write<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&Table, Timestamp) -> Result<(Change, T), StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        let written = tokio::task::spawn_blocking(move || {
            let _turn = lock(&inner.writing);
            let (change, result) = decide(&lock(&inner.table), inner.clock.now())?;
            inner.disk.write(&change)?;
            lock(&inner.table).apply(change);
            Ok(result)
        });
        written.await.unwrap_or_else(|error| Err(self.0.disk.failed(&error)))
    }
}

/// What is told of a request.
fn view(id: RequestId, entry: &Entry) -> View {
    let request = &entry.request;
    let (bytes, blocks, note) = match &request.state {
        State::Open => (entry.work.bytes, entry.work.blocks, entry.work.note.clone()),
        State::Pinned { bytes, blocks } => (*bytes, *blocks, String::new()),
        State::Failed { why } => (0, 0, why.clone()),
    };
    View { id, status: entry.status(), created: request.created(), pin: request.pin.clone(), bytes, blocks, note }
}

/// The value behind a lock, whatever a panicking thread left there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
