//! Simulated time: tokio's paused clock, counted from a fixed date.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use atoll_core::{BoxFuture, Clock, Timestamp};
use tokio::time::Instant;

/// The first moment of every simulation, in seconds since the Unix epoch.
const EPOCH_SECS: u64 = 1_800_000_000;

/// Begins at the same date in each run.
#[derive(Clone, Copy, Debug)]
pub struct SimClock {
    start: Instant,
}

impl SimClock {
    /// Starts now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(EPOCH_SECS).after(self.start.elapsed())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A node's own clock, which may be wrong: milliseconds before the simulation's time, or behind it.
#[derive(Clone, Debug)]
pub(crate) struct NodeClock {
    right: SimClock,
    ahead_ms: Arc<AtomicI64>,
}

impl NodeClock {
    /// One that is right.
    pub(crate) fn right(clock: SimClock) -> Self {
        Self { right: clock, ahead_ms: Arc::default() }
    }

    /// From now on it is that far ahead, or behind when that is negative.
    pub(crate) fn set_ahead(&self, ms: i64) {
        self.ahead_ms.store(ms, Ordering::SeqCst);
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Timestamp {
        let now = self.right.now().as_millis();
        Timestamp::from_millis(now.saturating_add_signed(self.ahead_ms.load(Ordering::SeqCst)))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.right.sleep(duration)
    }
}
