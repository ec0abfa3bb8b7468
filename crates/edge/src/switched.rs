//! A visitor's connection that has gone on in another protocol: bytes both ways, as fast as the slower side takes them, until one side
//! ends it or neither has said anything for too long. A crash breaks it off.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use atoll_fallback::Holding;
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, copy_bidirectional};
use tokio::time::{Instant, sleep_until, timeout};

use crate::body::Ongoing;

/// How long it may take until both sides have gone on.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Switched {
    /// The origin's end.
    pub(crate) origin: OnUpgrade,
    /// Its place among the requests that the origin has in flight.
    pub(crate) holding: Option<Holding>,
    pub(crate) ongoing: Ongoing,
    pub(crate) idle: Duration,
}

impl Switched {
    /// Goes on over one stream of a connection.
    pub(crate) fn spawn(self, visitor: OnUpgrade) {
        tokio::spawn(async move {
            match timeout(SWITCH_TIMEOUT, visitor).await {
                Ok(Ok(visitor)) => self.run(TokioIo::new(visitor), Bytes::new()).await,
                _ => tracing::debug!("a visitor did not go on in another protocol"),
            }
        });
    }

    /// Goes on until the end. `first` was read of the visitor already.
    pub(crate) async fn run<V: AsyncRead + AsyncWrite + Unpin>(mut self, visitor: V, first: Bytes) {
        let Ok(Ok(origin)) = timeout(SWITCH_TIMEOUT, self.origin).await else {
            tracing::debug!("an origin did not go on in another protocol");
            return;
        };
        let mut origin = TokioIo::new(origin);
        let seen = Arc::new(Traffic::new());
        let mut visitor = Watched { io: visitor, seen: Arc::clone(&seen) };
        let passing = async {
            origin.write_all(&first).await?;
            copy_bidirectional(&mut visitor, &mut origin).await
        };
        tokio::select! {
            passed = passing => tracing::debug!(?passed, "a connection in another protocol is over"),
            () = seen.idle(self.idle) => tracing::debug!("a connection in another protocol was idle for too long"),
        }
        self.ongoing.seen.complete = true;
        self.ongoing.seen.bytes = seen.sent.load(Ordering::Relaxed);
        drop(self.holding);
    }
}

/// What passed, and when last.
struct Traffic {
    begun: Instant,
    /// Milliseconds from there to the last byte.
    last: AtomicU64,
    /// Bytes that the visitor took.
    sent: AtomicU64,
}

impl Traffic {
    fn new() -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0), sent: AtomicU64::new(0) }
    }

    fn note(&self) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    /// Resolves when nothing has passed for so long.
    async fn idle(&self, limit: Duration) {
        loop {
            let until = self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed)) + limit;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// The visitor's side.
struct Watched<V> {
    io: V,
    seen: Arc<Traffic>,
}

impl<V: AsyncRead + Unpin> AsyncRead for Watched<V> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.seen.note();
        Poll::Ready(Ok(()))
    }
}

impl<V: AsyncWrite + Unpin> AsyncWrite for Watched<V> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.seen.note();
        self.seen.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_told_from_traffic() {
        let seen = Traffic::new();
        let idle = seen.idle(Duration::from_secs(10));
        tokio::pin!(idle);
        tokio::select! {
            () = &mut idle => panic!("too soon"),
            () = tokio::time::sleep(Duration::from_secs(9)) => seen.note(),
        }
        let before = Instant::now();
        idle.await;
        assert_eq!(before.elapsed().as_secs(), 10);
    }
}
