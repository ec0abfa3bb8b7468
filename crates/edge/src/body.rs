//! The body of an answer. It knows when it was handed over or given up, which ends its request. A crash breaks the
//! connection, so that no client takes a part for the whole.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use atoll_content::ReadError;
use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

use crate::client::Client;
use crate::observe::Seen;

/// Parts of a body as they come.
pub(crate) type Parts = Pin<Box<dyn Stream<Item = Result<Bytes, ReadError>> + Send>>;

/// A body, and the request that ends with it.
pub(crate) struct Body {
    content: Content,
    request: Option<Ongoing>,
}

/// Where the bytes of a body come from.
pub(crate) enum Content {
    Empty,
    /// Bytes that are all there, leaf by leaf.
    Whole(VecDeque<Bytes>),
    One(Bytes),
    Stream(Paced),
    /// Broken off, once what came before was sent; never over.
    Broken(Option<Broken>),
}

/// A stream whose parts may each take so long.
pub(crate) struct Paced {
    parts: Parts,
    limit: Duration,
    /// Bytes to come, if it is known.
    left: Option<u64>,
    /// Set while a part is waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// A request in flight; dropping it tells the observer.
pub(crate) struct Ongoing {
    pub(crate) begun: Instant,
    pub(crate) seen: Seen,
    /// Of its connection alone, so that workers do not contend for a count of references.
    pub(crate) client: Arc<Client>,
    /// Whether nothing but the end of the connection ends the body, as with HTTP/1.0.
    pub(crate) close_delimited: bool,
    /// Whether admission counts it.
    pub(crate) admitted: bool,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("no further part of the body within {0:?}")]
    Late(Duration),
}

impl Body {
    pub(crate) fn new(content: Content) -> Self {
        Self { content, request: None }
    }

    pub(crate) fn empty() -> Self {
        Self::new(Content::Empty)
    }

    pub(crate) fn one(bytes: Bytes) -> Self {
        Self::new(if bytes.is_empty() { Content::Empty } else { Content::One(bytes) })
    }

    /// Bytes that are all there.
    pub(crate) fn whole(parts: impl IntoIterator<Item = Bytes>) -> Self {
        let mut parts: VecDeque<Bytes> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        match parts.len() {
            1 => Self::one(parts.pop_front().unwrap_or_default()),
            _ => Self::new(Content::Whole(parts)),
        }
    }

    /// Bytes as they come, each part within `limit`; `len` of them, if it is known.
    pub(crate) fn stream(parts: Parts, len: Option<u64>, limit: Duration) -> Self {
        Self::new(Content::Stream(Paced { parts, limit, left: len, deadline: None }))
    }

    /// Bytes that are not to be sent, nobody knows how many.
    pub(crate) fn unknown() -> Self {
        Self::stream(Box::pin(stream::empty()), None, Duration::ZERO)
    }

    /// Without its bytes, as the answer to HEAD.
    pub(crate) fn emptied(mut self) -> Self {
        self.content = Content::Empty;
        self
    }

    /// The request that ends with this body.
    pub(crate) fn ending(mut self, request: Ongoing) -> Self {
        self.request = Some(request);
        self
    }
}

impl Paced {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Poll::Ready(part) = self.parts.as_mut().poll_next(cx) {
            self.deadline = None;
            if let (Some(left), Some(Ok(bytes))) = (&mut self.left, &part) {
                *left = left.saturating_sub(bytes.len() as u64);
            }
            return Poll::Ready(part.map(|part| part.map_err(Broken::from)));
        }
        let limit = self.limit;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Some(Err(Broken::Late(limit))))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        let part = match &mut this.content {
            Content::Empty => None,
            Content::One(bytes) => {
                let bytes = std::mem::take(bytes);
                this.content = Content::Empty;
                Some(Ok(bytes))
            }
            Content::Whole(parts) => parts.pop_front().map(Ok),
            Content::Stream(paced) => match ready!(paced.poll_next(cx)) {
                Some(Err(broken)) => {
                    // An error ends the connection at once; waiting once lets the head and the parts before it out.
                    this.content = Content::Broken(Some(broken));
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                part => part,
            },
            Content::Broken(broken) => broken.take().map(Err),
        };
        if let Some(request) = &mut this.request {
            request.note(part.as_ref());
        }
        Poll::Ready(part.map(|part| part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        let len = |bytes: &Bytes| bytes.len() as u64;
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::One(bytes) => SizeHint::with_exact(len(bytes)),
            Content::Whole(parts) => SizeHint::with_exact(parts.iter().map(len).sum()),
            Content::Stream(paced) => paced.left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Content::Broken(_) => SizeHint::default(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(request) = &mut self.request {
            request.seen.complete |= self.content.is_over();
        }
    }
}

impl Content {
    /// Whether nothing of it is left.
    fn is_over(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(parts) => parts.is_empty(),
            Self::Stream(paced) => paced.left == Some(0),
            Self::One(_) | Self::Broken(_) => false,
        }
    }
}

impl Ongoing {
    /// Notes a part, or the end, of the body.
    fn note(&mut self, part: Option<&Result<Bytes, Broken>>) {
        match part {
            None => self.seen.complete = true,
            Some(Ok(bytes)) => self.seen.bytes = self.seen.bytes.saturating_add(bytes.len() as u64),
            Some(Err(cause)) => {
                tracing::info!(%cause, bytes = self.seen.bytes, "answer broken off");
                if self.close_delimited {
                    self.client.activity.break_off();
                }
            }
        }
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        let now = Instant::now();
        self.seen.duration = now.saturating_duration_since(self.begun);
        self.client.gateway.services.observe.request(&self.seen);
        if self.admitted {
            self.client.ticket.end();
        }
        self.client.activity.idle(now);
    }
}
