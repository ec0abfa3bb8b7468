//! A timer that is used again by whoever asks one thing after the other: setting one for each request costs more than moving it. A crash
//! loses it.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// See the module. Of one runtime alone, as whoever asks is.
#[derive(Debug, Default)]
pub struct Patience(Mutex<Option<Pin<Box<Sleep>>>>);

/// Resolves at its time. Dropped, it gives the timer back.
pub(crate) struct Until<'a> {
    /// There until it is dropped.
    sleep: Option<Pin<Box<Sleep>>>,
    home: Option<&'a Patience>,
}

impl<'a> Until<'a> {
    /// `time`, by the timer of `home` if there is one and nobody else uses it.
    pub(crate) fn new(home: Option<&'a Patience>, time: Instant) -> Self {
        let kept = home.and_then(|home| home.0.lock().unwrap_or_else(PoisonError::into_inner).take());
        let sleep = match kept {
            Some(mut sleep) => {
                sleep.as_mut().reset(time);
                sleep
            }
            None => Box::pin(sleep_until(time)),
        };
        Self { sleep: Some(sleep), home }
    }

    /// Another time.
    pub(crate) fn reset(&mut self, time: Instant) {
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(time);
        }
    }
}

impl Future for Until<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}

impl Drop for Until<'_> {
    fn drop(&mut self) {
        if let Some(home) = self.home {
            *home.0.lock().unwrap_or_else(PoisonError::into_inner) = self.sleep.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timer_is_used_again_and_two_at_a_time_are_two() {
        let (patience, begun) = (Patience::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        drop(Until::new(Some(&patience), at(1)));
        assert!(patience.0.lock().unwrap().is_some());
        let (first, mut second) = (Until::new(Some(&patience), at(3)), Until::new(Some(&patience), at(9)));
        first.await;
        assert_eq!(Instant::now(), at(3));
        second.reset(at(5));
        second.await;
        assert_eq!(Instant::now(), at(5));
        Until::new(Some(&patience), at(4)).await;
        Until::new(None, at(6)).await;
        assert_eq!(Instant::now(), at(6));
    }
}
