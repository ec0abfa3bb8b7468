//! Memory for messages on their way, shared by all peers. Whoever has shown that it takes (or was asked to send) what it is
//! given has a turn in line with all; all others together have a quarter, so that they cannot keep it from those.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What strangers have of it: one part in so many.
const STRANGERS_PART: usize = 4;

/// A number of KiB. Each takes its turn in the order of asking.
pub(super) struct Budget {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Room for a message; dropping it gives it back.
pub(super) struct Room {
    _all: OwnedSemaphorePermit,
    _strangers: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// `kib` in all; `most` is the largest message, for which there is always room.
    pub(super) fn new(kib: usize, most: u32) -> Self {
        let most = most as usize;
        let all = kib.max(2 * most).min(Semaphore::MAX_PERMITS);
        let strangers = (all / STRANGERS_PART).max(most);
        Self {
            all: Arc::new(Semaphore::new(all)),
            strangers: Arc::new(Semaphore::new(strangers)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits for room.
    pub(super) async fn take(&self, bytes: usize, is_known: bool) -> Option<Room> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        let _waiting = Waiting::new(&self.waiting);
        let strangers =
            if is_known { None } else { Some(Arc::clone(&self.strangers).acquire_many_owned(kib).await.ok()?) };
        let all = Arc::clone(&self.all).acquire_many_owned(kib).await.ok()?;
        Some(Room { _all: all, _strangers: strangers })
    }

    /// Whether somebody waits for room.
    pub(super) fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// Counts who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn strangers_leave_room_for_those_who_take_what_they_are_given() {
        let budget = Budget::new(64 * 1024, 4096);
        let stranger = || budget.take(4095 * 1024, false).now_or_never().flatten();
        let held: Vec<Room> = std::iter::from_fn(stranger).collect();
        assert_eq!(held.len(), 4);
        let known = || budget.take(4095 * 1024, true).now_or_never().flatten();
        let known: Vec<Room> = std::iter::from_fn(known).collect();
        assert_eq!(known.len(), 12);
        assert!(!budget.is_short());
        let mut late = Box::pin(budget.take(0, true));
        assert!(late.as_mut().now_or_never().is_none() && budget.is_short());
        drop(held);
        assert!(late.now_or_never().flatten().is_some() && !budget.is_short());
    }
}
