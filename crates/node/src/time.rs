//! The machine's clock and the runtime's timer, as the layers want them.

use std::time::Duration;

use atoll_core::{BoxFuture, Clock, SystemClock, Timestamp};

/// Real time.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        SystemClock::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
