//! What is waited for beside a task's work: it is looked at when it has something to say, not each time the work goes on. A crash loses
//! it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Whether it has something to say, and who waits for that.
struct Said {
    anew: AtomicBool,
    waiting: AtomicWaker,
}

impl Wake for Said {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.anew.store(true, Ordering::Release);
        self.waiting.wake();
    }
}

/// Waits for `future`, which is polled once and then only after it was woken.
pub(crate) async fn beside<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let said = Arc::new(Said { anew: AtomicBool::new(true), waiting: AtomicWaker::new() });
    let waker = Waker::from(Arc::clone(&said));
    let mut waits: Option<Waker> = None;
    poll_fn(move |cx| {
        if waits.as_ref().is_some_and(|waits| waits.will_wake(cx.waker())) && !said.anew.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Before the look: what is said after it wakes the task.
        said.waiting.register(cx.waker());
        waits = Some(cx.waker().clone());
        match said.anew.swap(false, Ordering::AcqRel) {
            true => future.as_mut().poll(&mut Context::from_waker(&waker)),
            false => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::Pin;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_was_woken() {
        let (tell, mut told) = oneshot::channel::<u8>();
        let polls = Cell::new(0);
        let counted = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            Pin::new(&mut told).poll(cx)
        });
        let mut beside = pin!(beside(counted));
        for _ in 0..3 {
            assert!(futures_util::poll!(&mut beside).is_pending());
        }
        assert_eq!(polls.get(), 1);
        tell.send(7).unwrap();
        assert_eq!(beside.await, Ok(7));
        assert_eq!(polls.get(), 2);
    }

    #[tokio::test]
    async fn whoever_waits_last_is_woken() {
        let (tell, told) = oneshot::channel::<u8>();
        let mut beside = Box::pin(beside(told));
        assert!(futures_util::poll!(&mut beside).is_pending());
        let elsewhere = tokio::spawn(beside);
        tokio::task::yield_now().await;
        tell.send(7).unwrap();
        assert_eq!(elsewhere.await.unwrap(), Ok(7));
    }
}
