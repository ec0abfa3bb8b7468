//! Requests and publishers in memory: who has used how much, and whose turn it is. Lost with the process but for what
//! [`super::disk`] has.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use atoll_core::{Cid, Timestamp};
use tokio::sync::oneshot;

use super::disk::Change;
use crate::publisher::{Publisher, TokenHash};
use crate::request::{PinRequest, RequestId, State};
use crate::wire::Status;

/// A request, and the work on it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) request: PinRequest,
    pub(super) work: Work,
}

/// Work on an open request.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// What has been counted of its DAG.
    pub(super) bytes: u64,
    pub(super) blocks: u64,
    /// How often it was tried.
    pub(super) attempts: u32,
    /// When it is its turn again.
    pub(super) due: Timestamp,
    /// Why it has not been pinned yet.
    pub(super) note: String,
    /// There while it is being worked on; whoever does is told by its end that the request is gone.
    pub(super) running: Option<oneshot::Sender<()>>,
}

impl Entry {
    pub(super) fn status(&self) -> Status {
        match self.request.state {
            State::Pinned { .. } => Status::Pinned,
            State::Failed { .. } => Status::Failed,
            State::Open if self.work.running.is_some() => Status::Pinning,
            State::Open => Status::Queued,
        }
    }

    /// The bytes that it counts for.
    fn bytes(&self) -> u64 {
        match self.request.state {
            State::Pinned { bytes, .. } => bytes,
            State::Open => self.work.bytes,
            State::Failed { .. } => 0,
        }
    }
}

/// What one publisher has.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Its requests by the moment they were made.
    pub(super) requests: BTreeMap<u64, RequestId>,
    /// Bytes by root: a root counts once, however many requests name it.
    roots: HashMap<Cid, u64>,
    pub(super) used: u64,
    /// How many of its requests are being worked on.
    running: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) publishers: BTreeMap<String, Publisher>,
    tokens: HashMap<TokenHash, String>,
    pub(super) requests: HashMap<RequestId, Entry>,
    accounts: HashMap<String, Account>,
    /// Requests that are to be worked on.
    open: BTreeSet<RequestId>,
    /// The latest moment that was given to a request.
    latest: u64,
}

impl Table {
    pub(super) fn put_publisher(&mut self, publisher: Publisher) {
        if let Some(hash) = self.publishers.get(&publisher.name).and_then(|old| old.token) {
            self.tokens.remove(&hash);
        }
        if let Some(hash) = publisher.token {
            self.tokens.insert(hash, publisher.name.clone());
        }
        self.publishers.insert(publisher.name.clone(), publisher);
    }

    /// Whose token it is.
    pub(super) fn by_token(&self, hash: &TokenHash) -> Option<&Publisher> {
        self.tokens.get(hash).and_then(|name| self.publishers.get(name))
    }

    pub(super) fn account(&self, publisher: &str) -> Option<&Account> {
        self.accounts.get(publisher)
    }

    /// A moment for a new request, different from all others.
    pub(super) fn moment(&self, now: Timestamp) -> u64 {
        now.as_millis().max(self.latest.saturating_add(1))
    }

    /// Takes a request, new or changed. Work on it that is under way goes on.
    pub(super) fn put(&mut self, id: RequestId, request: PinRequest) {
        self.latest = self.latest.max(request.created);
        if matches!(request.state, State::Open) {
            self.open.insert(id);
        } else {
            self.open.remove(&id);
        }
        let account = self.accounts.entry(request.publisher.clone()).or_default();
        account.requests.insert(request.created, id);
        let (publisher, root) = (request.publisher.clone(), request.pin.cid);
        match self.requests.get_mut(&id) {
            Some(entry) => entry.request = request,
            None => {
                self.requests.insert(id, Entry { request, work: Work::default() });
            }
        }
        self.recount(&publisher, &root);
    }

    /// Takes a request away; whoever works on it is told.
    fn remove(&mut self, id: &RequestId) {
        let Some(entry) = self.requests.remove(id) else { return };
        self.open.remove(id);
        if let Some(account) = self.accounts.get_mut(&entry.request.publisher) {
            account.requests.remove(&entry.request.created);
            account.running = account.running.saturating_sub(usize::from(entry.work.running.is_some()));
        }
        self.recount(&entry.request.publisher, &entry.request.pin.cid);
    }

    /// Does what was written to disk.
    pub(super) fn apply(&mut self, change: Change) {
        change.removed.iter().for_each(|id| self.remove(id));
        for name in &change.gone {
            if let Some(hash) = self.publishers.remove(name).and_then(|publisher| publisher.token) {
                self.tokens.remove(&hash);
            }
            self.accounts.remove(name);
        }
        change.publishers.into_iter().for_each(|publisher| self.put_publisher(publisher));
        change.requests.into_iter().for_each(|(id, request)| self.put(id, request));
    }

    /// Counts anew what a publisher has under one root: the most that any of its requests has of it.
    fn recount(&mut self, publisher: &str, root: &Cid) {
        let Some(account) = self.accounts.get_mut(publisher) else { return };
        let entries = account.requests.values().filter_map(|id| self.requests.get(id));
        let most = entries.filter(|entry| entry.request.pin.cid == *root).map(Entry::bytes).max().unwrap_or(0);
        let before = if most == 0 { account.roots.remove(root) } else { account.roots.insert(*root, most) };
        account.used = account.used.saturating_sub(before.unwrap_or(0)).saturating_add(most);
    }

    /// Counts a block of `bytes` for an open request, unless its publisher's quota forbids it: that is the error.
    pub(super) fn charge(&mut self, id: &RequestId, bytes: u64) -> Result<(), u64> {
        let Some(entry) = self.requests.get_mut(id) else { return Ok(()) };
        let quota = self.publishers.get(&entry.request.publisher).map_or(0, |publisher| publisher.quota);
        let Some(account) = self.accounts.get_mut(&entry.request.publisher) else { return Ok(()) };
        let of_root = account.roots.entry(entry.request.pin.cid).or_default();
        let now = entry.work.bytes.saturating_add(bytes);
        let more = now.saturating_sub(*of_root);
        // What was counted before is there already, even if the quota has become smaller.
        if more > 0 && account.used.saturating_add(more) > quota {
            return Err(quota);
        }
        *of_root = of_root.saturating_add(more);
        account.used = account.used.saturating_add(more);
        entry.work.bytes = now;
        entry.work.blocks = entry.work.blocks.saturating_add(1);
        Ok(())
    }

    /// Whose turn it is: the publisher with the least under way, there what was tried least, then what is due longest.
    pub(super) fn next(&self, now: Timestamp, per_publisher: usize) -> Option<RequestId> {
        let waiting = self.waiting(per_publisher).filter(|(_, entry, _)| entry.work.due <= now);
        let first = waiting
            .min_by_key(|(_, entry, running)| (*running, entry.work.attempts, entry.work.due, entry.request.created));
        first.map(|(id, ..)| id)
    }

    /// When it is somebody's turn.
    pub(super) fn next_due(&self, per_publisher: usize) -> Option<Timestamp> {
        self.waiting(per_publisher).map(|(_, entry, _)| entry.work.due).min()
    }

    /// Open requests that are not worked on, of publishers that may have more under way; and how much is.
    fn waiting(&self, per_publisher: usize) -> impl Iterator<Item = (RequestId, &Entry, usize)> {
        let open = self.open.iter().filter_map(|id| Some((*id, self.requests.get(id)?)));
        open.filter_map(move |(id, entry)| {
            let running = self.accounts.get(&entry.request.publisher).map_or(0, |account| account.running);
            (entry.work.running.is_none() && running < per_publisher).then_some((id, entry, running))
        })
    }

    /// Begins to work on a request.
    pub(super) fn begin(&mut self, id: &RequestId) -> Option<(&Entry, oneshot::Receiver<()>)> {
        let (running, gone) = oneshot::channel();
        let entry = self.requests.get_mut(id)?;
        (entry.work.bytes, entry.work.blocks) = (0, 0);
        entry.work.running = Some(running);
        let (publisher, root) = (entry.request.publisher.clone(), entry.request.pin.cid);
        self.accounts.entry(publisher.clone()).or_default().running += 1;
        self.recount(&publisher, &root);
        self.requests.get(id).map(|entry| (entry, gone))
    }

    /// Ends the work on a request for now. What was counted stays so until it is tried again.
    pub(super) fn end(&mut self, id: &RequestId) -> Option<&mut Entry> {
        let entry = self.requests.get_mut(id)?;
        if entry.work.running.take().is_some()
            && let Some(account) = self.accounts.get_mut(&entry.request.publisher)
        {
            account.running = account.running.saturating_sub(1);
        }
        Some(entry)
    }

    /// How many requests there are of each status, and how many bytes all publishers use.
    pub(super) fn counts(&self) -> (HashMap<Status, usize>, u64) {
        let mut counts = HashMap::new();
        for entry in self.requests.values() {
            *counts.entry(entry.status()).or_insert(0) += 1;
        }
        let used = self.accounts.values().map(|account| account.used).fold(0, u64::saturating_add);
        (counts, used)
    }
}
