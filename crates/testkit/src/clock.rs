//! Simulated time: tokio's paused clock, counted from a fixed date.

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
