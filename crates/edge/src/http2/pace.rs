//! How fast the client of one request over HTTP/2 takes its answer. Over HTTP/1.1 the socket shows it; here a client may keep the
//! window of one answer shut while the connection goes on.
//!
//! Each request is a task of its own: it notes what it handed over, and ends when that was too little for too long. A crash loses
//! the request.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

use crate::activity::SLOW_READER_BYTES_MIN;
use crate::body::{Body, Broken};
use crate::tls::gate::RECORD_BYTES_MAX;

/// The most of an answer that is handed over at once: what fills a record of TLS with the head of its frame (RFC 9113, section 4.1),
/// in bytes.
const PART_BYTES_MAX: usize = RECORD_BYTES_MAX - 9;

tokio::task_local! {
    /// That of the request whose task this is.
    static PACE: Arc<Pace>;
}

/// What the client of one request takes.
#[derive(Debug, Default)]
struct Pace {
    /// Bytes handed over since the last look.
    taken: AtomicU64,
    /// Whether it is the client that is waited for.
    handed: AtomicBool,
}

/// Runs each request in a task, and ends it when its client takes too little of the answer in this time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tasks(pub(super) Duration);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, request: F) {
        let pace = Arc::new(Pace::default());
        let task = Task { request: Box::pin(request), pace: Arc::clone(&pace), limit: self.0, deadline: None };
        tokio::spawn(PACE.scope(pace, task));
    }
}

struct Task<F> {
    request: Pin<Box<F>>,
    pace: Arc<Pace>,
    limit: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.request.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !self.pace.handed.load(Ordering::Relaxed) {
            self.deadline = None;
            return Poll::Pending;
        }
        let limit = self.limit;
        loop {
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
            if deadline.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.deadline = None;
            if self.pace.taken.swap(0, Ordering::Relaxed) < SLOW_READER_BYTES_MIN {
                tracing::debug!("request cut: its client takes too little of the answer");
                return Poll::Ready(());
            }
        }
    }
}

/// The body of an answer, in parts of which the client's pace is noted.
pub(super) struct PacedBody {
    body: Body,
    /// What is left of the last part.
    rest: Bytes,
    pace: Option<Arc<Pace>>,
}

impl PacedBody {
    pub(super) fn new(body: Body) -> Self {
        Self { body, rest: Bytes::new(), pace: PACE.try_with(Arc::clone).ok() }
    }

    fn part(&mut self, mut bytes: Bytes) -> Bytes {
        self.rest = bytes.split_off(bytes.len().min(PART_BYTES_MAX));
        if let Some(pace) = &self.pace {
            pace.taken.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            pace.handed.store(true, Ordering::Relaxed);
        }
        bytes
    }
}

impl http_body::Body for PacedBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        if !this.rest.is_empty() {
            let rest = std::mem::take(&mut this.rest);
            return Poll::Ready(Some(Ok(Frame::data(this.part(rest)))));
        }
        if let Some(pace) = &this.pace {
            pace.handed.store(false, Ordering::Relaxed);
        }
        let next = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        Poll::Ready(next.map(|frame| {
            let frame = frame?;
            Ok(match frame.into_data() {
                Ok(bytes) => Frame::data(this.part(bytes)),
                Err(other) => other,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        match self.body.size_hint().exact() {
            Some(len) => SizeHint::with_exact(len.saturating_add(rest)),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// Whether a request is cut within 45 s whose client took so much before the first look, after 30 s.
    async fn is_cut(taken: u64, handed: bool) -> bool {
        let pace = Arc::new(Pace { taken: AtomicU64::new(taken), handed: AtomicBool::new(handed) });
        let request = Box::pin(std::future::pending::<()>());
        let task = Task { request, pace, limit: Duration::from_secs(30), deadline: None };
        tokio::time::timeout(Duration::from_secs(45), task).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_too_little_for_too_long_is_cut() {
        assert!(is_cut(SLOW_READER_BYTES_MIN - 1, true).await);
        assert!(!is_cut(SLOW_READER_BYTES_MIN, true).await);
        assert!(!is_cut(0, false).await, "it is not the client that is waited for");
    }

    #[tokio::test]
    async fn answers_are_handed_over_in_parts_and_noted() {
        let pace = Arc::<Pace>::default();
        let noted = || (pace.taken.swap(0, Ordering::Relaxed), pace.handed.load(Ordering::Relaxed));
        let paced = async {
            let mut body = PacedBody::new(Body::one(vec![7; PART_BYTES_MAX + 100].into()));
            let mut next = async || body.frame().await.map(|frame| frame.unwrap().into_data().unwrap().len());
            assert_eq!((next().await, noted()), (Some(PART_BYTES_MAX), (PART_BYTES_MAX as u64, true)));
            assert_eq!((next().await, noted()), (Some(100), (100, true)));
            assert_eq!((next().await, noted()), (None, (0, false)));
        };
        PACE.scope(Arc::clone(&pace), paced).await;
    }
}
