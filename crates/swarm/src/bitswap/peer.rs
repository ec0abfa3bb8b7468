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
    /// Blocks that were asked of it, and who waits for them.
    asked: HashMap<Cid, Asked>,
    /// Those of which it is still to be told.
    untold: VecDeque<Cid>,
    /// How many it was told of: it keeps no more than [`WANTS_MAX`].
    told: usize,
    /// Those that nobody waits for any more, of which it was told.
    cancels: VecDeque<Cid>,
    /// What it wants.
    wants: HashMap<Cid, Entry>,
    /// What of that is to be answered.
    queue: VecDeque<Cid>,
    /// Blocks that came unasked.
    unasked: usize,
}

/// A block that was asked for.
#[derive(Default)]
struct Asked {
    waiting: Vec<oneshot::Sender<Result<Bytes, TransportError>>>,
    told: bool,
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
        let asked = state.asked.entry(cid).or_default();
        asked.waiting.push(to);
        if asked.waiting.len() == 1 {
            state.untold.push_back(cid);
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
            if !have && let Some(asked) = state.forget(&cid) {
                answer(asked, &Err(TransportError::NotFound));
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
        let asked = expected.then(|| payload.cid()).flatten().and_then(|cid| lock(&self.state).forget(&cid));
        if let Some(asked) = asked {
            answer(asked, &Ok(payload.bytes));
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
        // A writer goes on, with nothing to say.
        let State { asked, writing, unasked, .. } = std::mem::take(&mut *state);
        *state = State { writing, unasked, ..State::default() };
        for asked in asked.into_values() {
            answer(asked, &Err(error.clone()));
        }
    }

    /// Somebody does not wait any more.
    fn give_up(&self, cid: &Cid) {
        let mut state = lock(&self.state);
        let Some(asked) = state.asked.get_mut(cid) else { return };
        asked.waiting.retain(|other| !other.is_closed());
        if asked.waiting.is_empty() {
            // If it was not told of it yet, it need not be.
            if state.forget(cid).is_some_and(|asked| asked.told) {
                state.cancels.push_back(*cid);
                self.work.notify_one();
            }
        }
    }
}

impl State {
    fn is_idle(&self) -> bool {
        let may_tell = !self.untold.is_empty() && self.told < WANTS_MAX;
        self.cancels.is_empty() && self.queue.is_empty() && !may_tell
    }

    /// Takes a block off the list of those that were asked for.
    fn forget(&mut self, cid: &Cid) -> Option<Asked> {
        let asked = self.asked.remove(cid)?;
        if asked.told {
            self.told = self.told.saturating_sub(1);
        } else {
            self.untold.retain(|untold| untold != cid);
        }
        Some(asked)
    }

    /// The next entries of our own list.
    fn tell(&mut self) -> Vec<Entry> {
        let cancel = |cid| Entry { cid, priority: 0, wish: Wish::Cancel, send_dont_have: false };
        let mut entries: Vec<Entry> = self.cancels.drain(..).map(cancel).collect();
        while self.told < WANTS_MAX
            && entries.len() < ENTRIES_MAX
            && let Some(cid) = self.untold.pop_front()
        {
            if let Some(asked) = self.asked.get_mut(&cid) {
                asked.told = true;
                self.told = self.told.saturating_add(1);
                entries.push(Entry { cid, priority: 1, wish: Wish::Block, send_dont_have: true });
            }
        }
        entries
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
        let entries = self.tell();
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

fn answer(asked: Asked, answer: &Result<Bytes, TransportError>) {
    for to in asked.waiting {
        // Whoever waited may have gone.
        let _ = to.send(answer.clone());
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::Block;
    use atoll_core::block::RAW;

    use super::*;

    fn block(n: usize) -> Block {
        Block::sha2_256(RAW, n.to_be_bytes().to_vec().into()).unwrap()
    }

    fn want(n: usize, wish: Wish) -> Entry {
        Entry { cid: *block(n).cid(), priority: 1, wish, send_dont_have: true }
    }

    fn peer() -> Arc<Peer> {
        Arc::new(Peer::new(PeerId::random()))
    }

    fn wants(entries: Vec<Entry>, full: bool) -> Message {
        Message { full, entries, ..Message::default() }
    }

    fn with(blocks: impl Iterator<Item = Block>) -> Message {
        let payload = blocks.map(|block| Payload::new(block.cid(), block.bytes().clone())).collect();
        Message { payload, ..Message::default() }
    }

    fn work(peer: &Peer) -> Work {
        lock(&peer.state).take().unwrap()
    }

    #[test]
    fn a_peers_wants_are_kept_up_to_a_limit() {
        let peer = peer();
        peer.receive(wants((0..=WANTS_MAX).map(|n| want(n, Wish::Block)).collect(), false)).unwrap();
        assert_eq!(work(&peer).wants.len(), WANTS_MAX);
        // What it wants stays wanted until it is served, cancelled, or replaced by a full list.
        peer.receive(wants(vec![want(WANTS_MAX, Wish::Block)], false)).unwrap();
        assert!(lock(&peer.state).is_idle());
        peer.served(block(0).cid());
        peer.receive(wants(vec![want(1, Wish::Cancel), want(WANTS_MAX, Wish::Have)], false)).unwrap();
        assert_eq!(work(&peer).wants, [want(WANTS_MAX, Wish::Have)]);
        peer.receive(wants(vec![want(7, Wish::Block)], true)).unwrap();
        assert_eq!((work(&peer).wants.len(), lock(&peer.state).wants.len()), (1, 1));
    }

    #[test]
    fn the_most_wanted_come_first_and_what_does_not_fit_comes_next() {
        let peer = peer();
        let urgent = Entry { priority: 9, ..want(2, Wish::Block) };
        peer.receive(wants(vec![want(1, Wish::Block), urgent.clone(), want(3, Wish::Block)], false)).unwrap();
        let first = work(&peer).wants;
        assert_eq!(first[0], urgent);
        peer.put_back(&first[1..]);
        assert_eq!(work(&peer).wants, first[1..]);
    }

    #[tokio::test]
    async fn a_block_that_was_asked_for_reaches_all_who_wait() {
        let peer = peer();
        let cid = *block(1).cid();
        let (first, second) = (peer.ask(cid).unwrap(), peer.ask(cid).unwrap());
        let told = work(&peer).entries;
        assert_eq!(told.len(), 1);
        peer.receive(with([block(2), block(1)].into_iter())).unwrap();
        assert_eq!(first.answer().await.unwrap(), *block(1).bytes());
        assert_eq!(second.answer().await.unwrap(), *block(1).bytes());
        let lacking = peer.ask(cid).unwrap();
        peer.receive(Message { presences: vec![(cid, false)], ..Message::default() }).unwrap();
        assert_eq!(lacking.answer().await, Err(TransportError::NotFound));
    }

    #[test]
    fn nobody_waits_any_more_is_told_unless_the_want_was_not() {
        let peer = peer();
        drop(peer.ask(*block(1).cid()).unwrap());
        assert!(lock(&peer.state).is_idle());
        let asking = peer.ask(*block(1).cid()).unwrap();
        assert_eq!(work(&peer).entries[0].wish, Wish::Block);
        drop(asking);
        assert_eq!(work(&peer).entries[0].wish, Wish::Cancel);
        assert!(lock(&peer.state).asked.is_empty());
    }

    #[test]
    fn blocks_unasked_for_end_the_stream_after_a_while() {
        let peer = peer();
        peer.receive(with((0..UNASKED_MAX).map(block))).unwrap();
        assert!(matches!(peer.receive(with([block(0)].into_iter())), Err(WireError::Unasked)));
    }

    #[test]
    fn a_peer_is_told_of_no_more_than_it_keeps() {
        let peer = peer();
        let mut asking: Vec<_> = (0..WANTS_MAX + 2).map(|n| peer.ask(*block(n).cid()).unwrap()).collect();
        assert_eq!(work(&peer).entries.len(), WANTS_MAX);
        assert!(!peer.wake());
        peer.receive(with([block(0)].into_iter())).unwrap();
        assert_eq!(work(&peer).entries[0].cid, *block(WANTS_MAX).cid());
        // One that was never told of is just forgotten.
        drop(asking.pop());
        assert!(!peer.wake() && lock(&peer.state).untold.is_empty());
    }

    #[test]
    fn questions_and_streams_have_limits() {
        let peer = peer();
        let asked: Vec<_> = (0..ASKED_MAX).map(|n| peer.ask(*block(n).cid()).unwrap()).collect();
        assert_eq!(peer.ask(*block(ASKED_MAX).cid()).err(), Some(TransportError::Refused));
        drop(asked);
        let mut streams: Vec<_> = (0..STREAMS_MAX).map(|_| peer.begin_reading().unwrap()).collect();
        assert!(peer.begin_reading().is_none());
        streams.pop();
        assert!(peer.begin_reading().is_some());
    }

    #[tokio::test]
    async fn whoever_waits_for_a_peer_that_is_lost_is_told() {
        let peer = peer();
        let asking = peer.ask(*block(1).cid()).unwrap();
        peer.lost(&TransportError::Refused);
        assert_eq!(asking.answer().await, Err(TransportError::Refused));
        assert!(lock(&peer.state).is_idle());
    }
}
