//! Waiting: the runtime's clock behind [`Clock`], and deadlines upon any clock. Keeps nothing.

use std::time::Duration;

use atoll_core::{BoxFuture, Clock, SystemClock, Timestamp};
use rand::RngExt;

/// The machine's time, and tokio's timers.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        SystemClock::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// What `work` yields, or `None` when `limit` passes first.
pub(crate) async fn within<T>(clock: &dyn Clock, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        value = work => Some(value),
        () = clock.sleep(limit) => None,
    }
}

/// `duration`, up to a quarter shorter or longer, so that nodes started together do not stay in step.
pub(crate) fn jittered(duration: Duration, rng: &mut impl rand::Rng) -> Duration {
    duration.mul_f64(rng.random_range(0.75..1.25))
}

/// `first`, doubled for each of `times` after the first, at most `most`.
pub(crate) fn backoff(first: Duration, most: Duration, times: u32) -> Duration {
    first.saturating_mul(1u32.checked_shl(times.saturating_sub(1).min(20)).unwrap_or(u32::MAX)).min(most)
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
