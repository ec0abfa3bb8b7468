//! Bodies on their way: a visitor's to the origin, and the origin's back.

use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::{Instant, Sleep};

use crate::error::{OriginError, Step, causes};
use crate::link::Arriving;
use crate::server::Holding;

/// How long a body waits for its origin to ask for it (`Expect: 100-continue`); then it is sent all the same (RFC 9110, section
/// 10.1.1).
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// The body of a request.
pub type Upload = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// A body that is there until an origin takes it.
#[derive(Clone, Default)]
pub(crate) struct Unsent(Option<Arc<Mutex<Option<Upload>>>>);

impl Unsent {
    pub(crate) fn new(body: Option<Upload>) -> Self {
        Self(body.map(|body| Arc::new(Mutex::new(Some(body)))))
    }

    /// Whether there never was one.
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Whether nobody has taken it.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_none() || self.read(|body| body.is_some())
    }

    fn take(&self) -> Option<Upload> {
        self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn read<R>(&self, read: impl FnOnce(Option<&Upload>) -> R) -> R {
        match &self.0 {
            Some(unsent) => read(unsent.lock().unwrap_or_else(PoisonError::into_inner).as_ref()),
            None => read(None),
        }
    }
}

/// How far an upload has come.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    /// Milliseconds from there to the last part that was handed over.
    last: AtomicU64,
    /// Whether the visitor broke it off.
    broken: AtomicBool,
    /// Whether the origin has asked for it, and who waits for that.
    wanted: AtomicBool,
    waiting: AtomicWaker,
}

impl Progress {
    pub(crate) fn new(begun: Instant) -> Arc<Self> {
        Arc::new(Self {
            begun,
            last: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            waiting: AtomicWaker::new(),
        })
    }

    fn note(&self) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    /// When the last part was handed over; at first, when the request began.
    pub(crate) fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// Whether it was the visitor who broke it off.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// The origin has asked for the body.
    pub(crate) fn go_on(&self) {
        self.wanted.store(true, Ordering::Release);
        self.waiting.wake();
    }
}

/// An upload whose progress is noted.
pub(crate) struct Noted {
    unsent: Unsent,
    /// There from its first byte to its last.
    body: Option<Upload>,
    /// `None` if there is no body.
    progress: Option<Arc<Progress>>,
    /// Set while the origin is to ask for it first.
    held: Option<Pin<Box<Sleep>>>,
}

impl Noted {
    pub(crate) fn new(unsent: Unsent, progress: Option<Arc<Progress>>, is_held: bool) -> Self {
        let held = is_held.then(|| Box::pin(tokio::time::sleep(CONTINUE_WAIT)));
        Self { unsent, body: None, progress, held }
    }

    fn read<R>(&self, read: impl FnOnce(Option<&Upload>) -> R) -> R {
        match &self.body {
            Some(body) => read(Some(body)),
            None => self.unsent.read(read),
        }
    }
}

impl Body for Noted {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let (Some(held), Some(progress)) = (&mut this.held, &this.progress) {
            progress.waiting.register(cx.waker());
            if !progress.wanted.load(Ordering::Acquire) {
                ready!(held.as_mut().poll(cx));
            }
            this.held = None;
        }
        if this.body.is_none() {
            this.body = this.unsent.take();
        }
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if let Some(progress) = &this.progress {
            progress.note();
            progress.broken.fetch_or(matches!(frame, Some(Err(_))), Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.read(|body| body.is_none_or(Body::is_end_stream))
    }

    fn size_hint(&self) -> SizeHint {
        self.read(|body| body.map_or_else(|| SizeHint::with_exact(0), Body::size_hint))
    }
}

/// An origin's answer; boxed, since it is large and goes through many hands.
pub type Answer = Box<Response<Download>>;

/// The body of an origin's answer, each part within its time.
#[derive(Debug)]
pub struct Download {
    body: Source,
    limit: Duration,
    /// Set while a part is waited for.
    deadline: Option<Pin<Box<Sleep>>>,
    /// What the origin's limits count it as, until it is over.
    holding: Option<Holding>,
}

/// Whose words a body is.
#[derive(Debug)]
enum Source {
    Theirs(Arriving),
    /// What is said instead, until it has been.
    Ours(Option<Bytes>),
}

impl Download {
    /// What is said instead of what an origin did; empty for nothing.
    pub(crate) fn instead(text: Bytes) -> Self {
        let text = Some(text).filter(|text| !text.is_empty());
        Self { body: Source::Ours(text), limit: Duration::ZERO, deadline: None, holding: None }
    }

    /// `goes_on`: the connection does, in another protocol, although this is over.
    pub(crate) fn new(body: Arriving, limit: Duration, holding: Holding, goes_on: bool) -> Self {
        let over = body.is_end_stream() && !goes_on;
        let body = Source::Theirs(body);
        Self { body, limit, deadline: None, holding: Some(holding).filter(|_| !over) }
    }

    /// All of it, if it is there in one part, as what is short mostly is; it is over then.
    pub fn whole(&mut self) -> Option<Bytes> {
        let Source::Theirs(body) = &mut self.body else { return None };
        let whole = body.whole()?;
        self.holding = None;
        Some(whole)
    }

    /// What the origin's limits count it as, for whoever goes on with the connection (RFC 9110, section 7.8).
    pub fn take_holding(&mut self) -> Option<Holding> {
        self.holding.take()
    }

    fn broken(&mut self, error: OriginError) -> Poll<Option<Result<Frame<Bytes>, OriginError>>> {
        if let Some(holding) = self.holding.take() {
            holding.broke_off();
        }
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = OriginError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OriginError>>> {
        let body = match &mut self.body {
            Source::Theirs(body) => body,
            Source::Ours(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            self.deadline = None;
            return match frame {
                Some(Err(error)) => self.broken(OriginError::Broken(causes(&error))),
                Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
                None => {
                    self.holding = None;
                    Poll::Ready(None)
                }
            };
        }
        let limit = self.limit;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(deadline.as_mut().poll(cx));
        self.broken(OriginError::TimedOut { step: Step::Body, limit })
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::Theirs(body) => body.is_end_stream(),
            Source::Ours(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::Theirs(body) => body.size_hint(),
            Source::Ours(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}
