//! One peer: what we asked of it, what it wants of us, and who waits.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atoll_core::bitswap::{Entry, Message, Payload, Wish};
use atoll_core::{Cid, TransportError};
use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot};
use tokio::time::timeout;

use super::lock;
use super::wire::WireError;

/// The most wants of one peer that are kept (as other implementations).
pub(super) const WANTS_MAX: usize = 1024;
/// The most blocks that are asked of one peer at a time.
const ASKED_MAX: usize = 4096;
/// The most entries in one message of ours.
const ENTRIES_MAX: usize = 1024;
/// The most streams of one peer; more are reset. Kubo opens one for each message.
const STREAMS_MAX: usize = 256;
/// The messages of one peer that are read at a time, each up to 4 MiB.
const READING_MAX: usize = 4;
/// So many blocks that were not asked for end a stream: some cross a cancel on their way.
const UNASKED_MAX: usize = 1024;

/// What is under way with one peer.
pub(super) struct Peer {
    pub(super) id: PeerId,
    state: Mutex<State>,
    work: Notify,
    streams: Arc<AtomicUsize>,
    reading: Semaphore,
}

#[derive(Default)]
struct State {
    /// A task writes to the peer.
    writing: bool,
    /// What to tell of our wants.
    entries: VecDeque<Entry>,
    /// Blocks that were asked of it, and who waits for them.
    asked: HashMap<Cid, Vec<oneshot::Sender<Result<Bytes, TransportError>>>>,
    /// What it wants.
    wants: HashMap<Cid, Entry>,
    /// What of that is to be answered.
    queue: VecDeque<Cid>,
    /// Blocks that came unasked.
    unasked: usize,
}

/// What a writer is to do.
pub(super) struct Work {
    /// To tell of our own wants.
    pub(super) entries: Vec<Entry>,
    /// To answer.
    pub(super) wants: Vec<Entry>,
}

impl Peer {
    pub(super) fn new(id: PeerId) -> Self {
        Self {
            id,
            state: Mutex::default(),
            work: Notify::new(),
            streams: Arc::default(),
            reading: Semaphore::new(READING_MAX),
        }
    }

    /// A place for reading one more stream, if there is one.
    pub(super) fn begin_reading(&self) -> Option<Reading> {
        let taken = self.streams.fetch_add(1, Ordering::Relaxed);
        let place = Reading(Arc::clone(&self.streams));
        (taken < STREAMS_MAX).then_some(place)
    }

    /// A turn at reading a message.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.reading.acquire().await.ok()
    }

    /// Asks for a block. The writer is to be woken then.
    pub(super) fn ask(self: &Arc<Self>, cid: Cid) -> Result<Asking, TransportError> {
        let (to, answer) = oneshot::channel();
        let mut state = lock(&self.state);
        if state.asked.len() >= ASKED_MAX {
            return Err(TransportError::Refused);
        }
        let waiting = state.asked.entry(cid).or_default();
        waiting.retain(|other| !other.is_closed());
        let first = waiting.is_empty();
        waiting.push(to);
        if first {
            state.entries.push_back(Entry { cid, priority: 1, wish: Wish::Block, send_dont_have: true });
        }
        Ok(Asking { peer: Arc::clone(self), cid, answer })
    }

    /// Takes what the peer says.
    pub(super) fn receive(&self, message: Message) -> Result<(), WireError> {
        for payload in message.payload {
            self.receive_block(payload)?;
        }
        let mut state = lock(&self.state);
        for (cid, have) in message.presences {
            if !have && let Some(waiting) = state.asked.remove(&cid) {
                answer(waiting, &Err(TransportError::NotFound));
            }
        }
        if message.full {
            state.wants.clear();
            state.queue.clear();
        }
        for entry in message.entries {
            state.want(entry);
        }
        Ok(())
    }

    fn receive_block(&self, payload: Payload) -> Result<(), WireError> {
        // Hashing is only done for a peer that was asked for something.
        let expected = !lock(&self.state).asked.is_empty();
        let waiting = expected.then(|| payload.cid()).flatten().and_then(|cid| lock(&self.state).asked.remove(&cid));
        if let Some(waiting) = waiting {
            answer(waiting, &Ok(payload.bytes));
            return Ok(());
        }
        let mut state = lock(&self.state);
        state.unasked = state.unasked.saturating_add(1);
        if state.unasked > UNASKED_MAX { Err(WireError::Unasked) } else { Ok(()) }
    }

    /// Notes that there is work; whether a writer is to be started for it.
    pub(super) fn wake(&self) -> bool {
        let mut state = lock(&self.state);
        if state.is_idle() {
            return false;
        }
        self.work.notify_one();
        !std::mem::replace(&mut state.writing, true)
    }

    /// What there is to do; `None` when there was nothing for so long, and the writer is to end.
    pub(super) async fn work(&self, idle: Duration) -> Option<Work> {
        loop {
            if let Some(work) = lock(&self.state).take() {
                return Some(work);
            }
            if timeout(idle, self.work.notified()).await.is_err() {
                let mut state = lock(&self.state);
                state.writing = !state.is_idle();
                if !state.writing {
                    return None;
                }
            }
        }
    }

    /// Wants that did not fit.
    pub(super) fn put_back(&self, wants: &[Entry]) {
        let mut state = lock(&self.state);
        for want in wants.iter().rev() {
            if state.wants.contains_key(&want.cid) {
                state.queue.push_front(want.cid);
            }
        }
    }

    /// A block is on its way: it is not wanted any more.
    pub(super) fn served(&self, cid: &Cid) {
        lock(&self.state).wants.remove(cid);
    }

    /// The peer cannot be told anything: nobody waits for it any more, and what it wanted is forgotten.
    pub(super) fn lost(&self, error: &TransportError) {
        let mut state = lock(&self.state);
        for (_, waiting) in state.asked.drain() {
            answer(waiting, &Err(error.clone()));
        }
        state.entries.clear();
        state.wants.clear();
        state.queue.clear();
    }

    /// Somebody does not wait any more.
    fn give_up(&self, cid: &Cid) {
        let mut state = lock(&self.state);
        let Some(waiting) = state.asked.get_mut(cid) else { return };
        waiting.retain(|other| !other.is_closed());
        if waiting.is_empty() {
            state.asked.remove(cid);
            // If it was not told yet, it need not be.
            let before = state.entries.len();
            state.entries.retain(|entry| entry.cid != *cid);
            if state.entries.len() == before {
                state.entries.push_back(Entry { cid: *cid, priority: 0, wish: Wish::Cancel, send_dont_have: false });
                self.work.notify_one();
            }
        }
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.queue.is_empty()
    }

    fn want(&mut self, entry: Entry) {
        if entry.wish == Wish::Cancel {
            self.wants.remove(&entry.cid);
            self.queue.retain(|cid| *cid != entry.cid);
            return;
        }
        if self.wants.len() >= WANTS_MAX && !self.wants.contains_key(&entry.cid) {
            return;
        }
        let cid = entry.cid;
        if self.wants.insert(cid, entry).is_none() || !self.queue.contains(&cid) {
            self.queue.push_back(cid);
        }
    }

    fn take(&mut self) -> Option<Work> {
        if self.is_idle() {
            return None;
        }
        let entries = self.entries.drain(..self.entries.len().min(ENTRIES_MAX)).collect();
        let mut wants: Vec<Entry> = self.queue.drain(..).filter_map(|cid| self.wants.get(&cid).cloned()).collect();
        wants.sort_by_key(|want| std::cmp::Reverse(want.priority));
        Some(Work { entries, wants })
    }
}

/// A block that was asked for. Dropped unanswered, it is cancelled.
pub(super) struct Asking {
    peer: Arc<Peer>,
    cid: Cid,
    answer: oneshot::Receiver<Result<Bytes, TransportError>>,
}

impl Asking {
    /// Waits for it.
    pub(super) async fn answer(mut self) -> Result<Bytes, TransportError> {
        let answer = (&mut self.answer).await;
        answer.unwrap_or_else(|_| Err(TransportError::Broken("the peer is forgotten".to_owned())))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.answer.close();
        self.peer.give_up(&self.cid);
    }
}

/// A stream that is being read.
pub(super) struct Reading(Arc<AtomicUsize>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn answer(waiting: Vec<oneshot::Sender<Result<Bytes, TransportError>>>, answer: &Result<Bytes, TransportError>) {
    for to in waiting {
        // Whoever waited may have gone.
        let _ = to.send(answer.clone());
    }
}
