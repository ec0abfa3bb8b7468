//! What each connection of a worker is doing and since when, and the sweep that ends those that do it too slowly.
//!
//! One sweep a second over all connections of a worker replaces a timer per connection and request. A crash loses the
//! connections themselves.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use crate::config::Timeouts;

/// How often connections are looked at.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// A reader that takes less than this within [`Timeouts::slow_reader`] is cut off, in bytes.
pub(crate) const SLOW_READER_BYTES_MIN: u64 = 16 * 1024;
/// The most idle connections that are closed at once to make room.
const SHED_MAX: usize = 64;
/// A connection is not shed before it was idle for so long, in milliseconds.
const SHED_IDLE_MS_MIN: u64 = 1_000;

/// A reader is not cut off to make room before it took less than [`SLOW_READER_BYTES_MIN`] for so long, in milliseconds.
const SHED_SLOW_MS_MIN: u64 = 2_000;

/// What a connection needs beside its socket is given back once it was idle for so long.
const REST: Duration = Duration::from_millis(500);

/// What one connection is doing.
#[derive(Debug)]
pub(crate) struct Activity {
    epoch: Instant,
    phase: AtomicU8,
    /// Requests that are being answered.
    active: AtomicUsize,
    /// Whether requests share the connection, so that bytes tell nothing of heads.
    multiplexed: AtomicBool,
    /// When the phase began, in milliseconds since `epoch`.
    since: AtomicU64,
    /// When the client stopped taking bytes, in milliseconds since `epoch`; zero while it takes them.
    stalled: AtomicU64,
    /// Bytes it took since then.
    taken: AtomicU64,
    /// Whether an answer broke off whose end only the connection's end can tell.
    broken: AtomicBool,
}

/// Between requests.
const IDLE: u8 = 0;
/// Within the head of a request.
const HEAD: u8 = 1;
/// A request is being answered; the pipeline has deadlines of its own.
const BUSY: u8 = 2;

impl Activity {
    fn new(epoch: Instant) -> Self {
        let activity = Self {
            epoch,
            phase: AtomicU8::new(IDLE),
            active: AtomicUsize::new(0),
            multiplexed: AtomicBool::new(false),
            since: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            broken: AtomicBool::new(false),
        };
        activity.enter(IDLE, Instant::now());
        activity
    }

    /// An answer was handed over at `now`.
    pub(crate) fn idle(&self, now: Instant) {
        if self.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.enter(IDLE, now);
        }
    }

    /// A request's head is complete at `now`.
    pub(crate) fn busy(&self, now: Instant) {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.enter(BUSY, now);
    }

    /// A tunnel was opened at `now`, or a handshake is done: what comes next is a request.
    pub(crate) fn rest(&self, now: Instant) {
        self.enter(IDLE, now);
    }

    /// From now on requests share the connection.
    pub(crate) fn multiplex(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
        self.rest(Instant::now());
    }

    /// Whether requests share the connection.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    /// Whether a request is being answered, or its answer not yet taken.
    pub(crate) fn is_busy(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == BUSY || self.stalled.load(Ordering::Relaxed) != 0
    }

    /// Bytes came in.
    pub(crate) fn received(&self) {
        if self.phase.load(Ordering::Relaxed) == IDLE && !self.multiplexed.load(Ordering::Relaxed) {
            self.enter(HEAD, Instant::now());
        }
    }

    /// The client's window is full.
    pub(crate) fn stall(&self) {
        if self.stalled.load(Ordering::Relaxed) == 0 {
            self.taken.store(0, Ordering::Relaxed);
            self.stalled.store(self.millis(Instant::now()).max(1), Ordering::Relaxed);
        }
    }

    /// The client took bytes.
    pub(crate) fn take(&self, bytes: usize) {
        if self.stalled.load(Ordering::Relaxed) == 0 {
            return;
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if self.taken.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) >= SLOW_READER_BYTES_MIN {
            self.stalled.store(0, Ordering::Relaxed);
        }
    }

    /// The client took all there was.
    pub(crate) fn flushed(&self) {
        if self.stalled.load(Ordering::Relaxed) != 0 {
            self.stalled.store(0, Ordering::Relaxed);
        }
    }

    /// An answer broke off, and only the end of the connection can tell the client.
    pub(crate) fn break_off(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Whether an answer broke off that way.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn enter(&self, phase: u8, now: Instant) {
        self.since.store(self.millis(now), Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    /// The limit that this connection is over.
    fn overdue(&self, now: u64, limits: &Timeouts) -> Option<Overdue> {
        let over = |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) > limit.as_millis();
        let stalled = self.stalled.load(Ordering::Relaxed);
        let since = self.since.load(Ordering::Relaxed);
        match self.phase.load(Ordering::Relaxed) {
            _ if stalled != 0 && over(stalled, limits.slow_reader) => Some(Overdue::SlowReader),
            HEAD if over(since, limits.head) => Some(Overdue::Head),
            IDLE if stalled == 0 && over(since, limits.idle) => Some(Overdue::Idle),
            _ => None,
        }
    }

    /// Resolves when the connection has been idle for [`REST`].
    pub(crate) async fn rested(&self) {
        loop {
            tokio::time::sleep(REST).await;
            let now = self.millis(Instant::now());
            if self.idle_since().is_some_and(|since| u128::from(now.saturating_sub(since)) >= REST.as_millis()) {
                return;
            }
        }
    }

    /// Since when it has had no request, if it has none.
    fn idle_since(&self) -> Option<u64> {
        let idle = self.phase.load(Ordering::Relaxed) == IDLE && self.stalled.load(Ordering::Relaxed) == 0;
        idle.then(|| self.since.load(Ordering::Relaxed))
    }
}

/// Why a connection was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overdue {
    Idle,
    Head,
    SlowReader,
}

/// The connections of one worker; as many as admission lets in.
#[derive(Debug)]
pub(crate) struct Connections {
    epoch: Instant,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    entries: HashMap<u64, (Arc<Activity>, AbortHandle)>,
    /// When connections were last shed, so that a flood of new ones does not cause a scan each.
    shed: Option<Instant>,
}

impl Open {
    fn end(&mut self, ids: impl Iterator<Item = u64>) {
        for id in ids {
            if let Some((_, task)) = self.entries.remove(&id) {
                task.abort();
            }
        }
    }
}

/// Names a connection among those of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(u64);

impl Connections {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { epoch: Instant::now(), open: Mutex::default() })
    }

    /// A new connection, idle from now on, and its name.
    pub(crate) fn open(&self) -> (Id, Arc<Activity>) {
        let mut open = self.lock();
        let id = open.next;
        open.next = open.next.wrapping_add(1);
        (Id(id), Arc::new(Activity::new(self.epoch)))
    }

    /// Watches a connection that `task` serves.
    pub(crate) fn watch(&self, id: Id, activity: Arc<Activity>, task: AbortHandle) {
        self.lock().entries.insert(id.0, (activity, task));
    }

    /// Forgets a connection that ended.
    pub(crate) fn close(&self, id: Id) {
        self.lock().entries.remove(&id.0);
    }

    /// Ends whoever is over a limit.
    pub(crate) fn sweep(&self, limits: &Timeouts) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.lock().entries.retain(|_, (activity, task)| {
            let overdue = activity.overdue(now, limits);
            if let Some(cause) = overdue {
                tracing::debug!(?cause, "connection cut");
                task.abort();
            }
            overdue.is_none()
        });
    }

    /// Ends those who have taken nothing to speak of for longest, to have the memory of their answers back.
    pub(crate) fn shed_slow(&self) {
        let mut open = self.lock();
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut slow: Vec<(u64, u64)> = (open.entries.iter())
            .map(|(id, (activity, _))| (activity.stalled.load(Ordering::Relaxed), *id))
            .filter(|(since, _)| *since != 0 && now.saturating_sub(*since) >= SHED_SLOW_MS_MIN)
            .collect();
        slow.sort_unstable();
        open.end(slow.iter().take(SHED_MAX).map(|(_, id)| *id));
        tracing::debug!(found = slow.len(), "slow readers cut, to have memory for others");
    }

    /// Closes connections that were idle longest; how many.
    pub(crate) fn shed(&self) -> usize {
        let mut open = self.lock();
        if open.shed.is_some_and(|last| last.elapsed() < SWEEP_EVERY / 10) {
            return 0;
        }
        open.shed = Some(Instant::now());
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut idle: Vec<(u64, u64)> = (open.entries.iter())
            .filter_map(|(id, (activity, _))| Some((activity.idle_since()?, *id)))
            .filter(|(since, _)| now.saturating_sub(*since) >= SHED_IDLE_MS_MIN)
            .collect();
        idle.sort_unstable();
        open.end(idle.iter().take(SHED_MAX).map(|(_, id)| *id));
        idle.len().min(SHED_MAX)
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Ends all.
    pub(crate) fn abort(&self) {
        for (_, (_, task)) in self.lock().entries.drain() {
            task.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(activity: &Activity, seconds: u64) -> Option<Overdue> {
        activity.overdue(seconds * 1000, &Timeouts::default())
    }

    #[test]
    fn each_phase_has_its_own_limit() {
        let activity = Activity::new(Instant::now());
        assert_eq!((at(&activity, 74), at(&activity, 76)), (None, Some(Overdue::Idle)));
        activity.received();
        assert_eq!((at(&activity, 9), at(&activity, 11)), (None, Some(Overdue::Head)));
        activity.busy(Instant::now());
        assert_eq!(at(&activity, 1000), None);
        activity.idle(Instant::now());
        assert_eq!(at(&activity, 76), Some(Overdue::Idle));
    }

    #[test]
    fn bytes_that_trickle_in_do_not_restart_the_clock() {
        let activity = Activity::new(Instant::now());
        activity.received();
        let since = activity.since.load(Ordering::Relaxed);
        activity.received();
        assert_eq!(activity.since.load(Ordering::Relaxed), since);
    }

    #[test]
    fn a_reader_must_take_enough() {
        let activity = Activity::new(Instant::now());
        activity.busy(Instant::now());
        activity.stall();
        activity.take(100);
        assert_eq!(at(&activity, 31), Some(Overdue::SlowReader));
        activity.take(16 * 1024);
        assert_eq!(at(&activity, 31), None);
        activity.stall();
        activity.flushed();
        assert_eq!(at(&activity, 31), None);
    }
}
