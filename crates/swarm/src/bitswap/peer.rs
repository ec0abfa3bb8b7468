//! One peer: what it wants of us, who writes to it, and how much of it is read at a time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libp2p::PeerId;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::lacking::Lacking;
use super::ledger::Ledger;
use super::lock;

/// The messages of one peer that are read at a time, each up to 4 MiB.
const READING_MAX: usize = 4;
/// Blocks that nobody asked for, after which a stream ends; each that was asked for makes up for one.
const UNASKED_MAX: usize = 1024;
/// Bytes that a peer takes before it counts as one that takes what it is given; doubled for each time that it did not.
const PROOF_BYTES: u64 = 1024 * 1024;
const STALLS_MAX: u64 = 10;

/// What is under way with one peer.
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) ledger: Mutex<Ledger>,
    /// Writes what we want.
    pub(super) asking: Worker,
    /// Writes what it wants.
    pub(super) serving: Worker,
    streams: Arc<AtomicUsize>,
    reading: Semaphore,
    unasked: AtomicUsize,
    /// Bytes that it took since it last did not.
    taken: AtomicU64,
    stalls: AtomicU64,
    /// How often it connected while it was connected.
    again: AtomicU64,
}

impl Peer {
    pub(super) fn new(id: PeerId, lacking: Arc<Lacking>) -> Self {
        Self {
            id,
            ledger: Mutex::new(Ledger::new(id, lacking)),
            asking: Worker::default(),
            serving: Worker::default(),
            streams: Arc::default(),
            reading: Semaphore::new(READING_MAX),
            unasked: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            again: AtomicU64::new(0),
        }
    }

    /// A place for reading one more stream, if it has fewer than `most`.
    pub(super) fn begin_reading(&self, most: usize) -> Option<Reading> {
        let taken = self.streams.fetch_add(1, Ordering::Relaxed);
        let place = Reading(Arc::clone(&self.streams));
        (taken < most).then_some(place)
    }

    /// A turn at reading a message.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.reading.acquire().await.ok()
    }

    /// Counts a block that came; `false` when too many came that were not asked for.
    pub(super) fn count(&self, was_asked: bool) -> bool {
        let change = |count: usize| Some(if was_asked { count.saturating_sub(1) } else { count.saturating_add(1) });
        let before = self.unasked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        was_asked || before.is_ok_and(|before| before < UNASKED_MAX)
    }

    /// It connected once more. Streams on older connections may end nowhere: it may have been started anew.
    pub(super) fn connected_again(&self) {
        self.again.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it connected while it was connected.
    pub(super) fn again(&self) -> u64 {
        self.again.load(Ordering::Relaxed)
    }

    /// It took what it was sent.
    pub(super) fn took(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// It did not take what it was sent.
    pub(super) fn stalled(&self) {
        self.taken.store(0, Ordering::Relaxed);
        self.stalls.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it has shown that it takes what it is sent.
    pub(super) fn is_proven(&self) -> bool {
        let stalls = self.stalls.load(Ordering::Relaxed).min(STALLS_MAX);
        self.taken.load(Ordering::Relaxed) >= PROOF_BYTES << stalls
    }
}

/// A task that is there while there is work.
#[derive(Default)]
pub(super) struct Worker {
    is_running: Mutex<bool>,
    work: Notify,
}

impl Worker {
    /// Notes that there is work; whether the task is to be started for it.
    pub(super) fn wake(&self) -> bool {
        let was_running = std::mem::replace(&mut *lock(&self.is_running), true);
        if was_running {
            self.work.notify_one();
        }
        !was_running
    }

    /// Waits for work; `false` when there was none for so long, and the task is to end.
    pub(super) async fn wait(&self, has_work: impl Fn() -> bool, idle: Duration) -> bool {
        loop {
            if has_work() {
                return true;
            }
            if timeout(idle, self.work.notified()).await.is_err() {
                let mut is_running = lock(&self.is_running);
                *is_running = has_work();
                return *is_running;
            }
        }
    }
}

/// A stream that is being read.
pub(super) struct Reading(Arc<AtomicUsize>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer::new(PeerId::random(), Arc::default())
    }

    #[test]
    fn streams_have_a_limit() {
        let peer = peer();
        let mut streams: Vec<_> = (0..16).map(|_| peer.begin_reading(16).unwrap()).collect();
        assert!(peer.begin_reading(16).is_none());
        streams.pop();
        assert!(peer.begin_reading(16).is_some());
    }

    #[test]
    fn blocks_unasked_for_end_the_stream_after_a_while() {
        let peer = peer();
        assert!((0..UNASKED_MAX).all(|_| peer.count(false)));
        assert!(!peer.count(false));
    }

    #[test]
    fn whoever_stalls_has_to_prove_itself_longer() {
        let peer = peer();
        peer.took(1 << 20);
        assert!(peer.is_proven());
        peer.stalled();
        peer.took(1 << 20);
        assert!(!peer.is_proven());
        peer.took(1 << 20);
        assert!(peer.is_proven());
    }

    #[tokio::test]
    async fn a_worker_ends_when_there_is_nothing_to_do() {
        let worker = Worker::default();
        assert!(worker.wake() && !worker.wake());
        assert!(worker.wait(|| true, Duration::ZERO).await);
        assert!(!worker.wait(|| false, Duration::ZERO).await);
        assert!(worker.wake());
    }
}
