//! The body of an answer. It knows when it was handed over or given up, which ends its request. A crash breaks the
//! connection, so that no client takes a part for the whole.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use atoll_content::ReadError;
use atoll_fallback::OriginError;
use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

use crate::client::Client;
use crate::front::Pass;
use crate::observe::Seen;

/// What a body may hold without being counted, in bytes.
const SMALL_BYTES: u64 = 64 * 1024;

/// Parts of a body as they come.
pub(crate) type Parts = Pin<Box<dyn Stream<Item = Result<Bytes, ReadError>> + Send>>;
/// Parts and trailers of an origin's body as they come.
pub(crate) type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Broken>> + Send>>;

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
    Broken(Option<Box<Broken>>),
}

/// A stream whose parts may each take so long.
pub(crate) struct Paced {
    source: Source,
    limit: Duration,
    /// Bytes to come, if it is known.
    left: Option<u64>,
    /// Set while a part is waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// Who gives the parts of a stream.
enum Source {
    Content(Parts),
    Origin(Frames),
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
    /// Whether it waits for its answer, and admission counts that.
    pub(crate) waiting: bool,
    /// Memory that its answer is counted to hold, in bytes.
    pub(crate) held: u64,
    /// The quota of the site with an origin that it is for.
    pub(crate) pass: Option<Pass>,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("no further part of the body within {0:?}")]
    Late(Duration),
    #[error(transparent)]
    Origin(#[from] OriginError),
    #[error(transparent)]
    Stored(#[from] atoll_cache::Broken),
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
        Self::new(Content::Stream(Paced { source: Source::Content(parts), limit, left: len, deadline: None }))
    }

    /// Frames of an origin's body as they come, each within `limit`; `len` bytes, if it is known.
    pub(crate) fn frames(frames: Frames, len: Option<u64>, limit: Duration) -> Self {
        Self::new(Content::Stream(Paced { source: Source::Origin(frames), limit, left: len, deadline: None }))
    }

    /// Bytes that are not to be sent, nobody knows how many.
    pub(crate) fn unknown() -> Self {
        Self::stream(Box::pin(stream::empty()), None, Duration::ZERO)
    }

    /// Its bytes, if it is one part that is all there.
    pub(crate) fn at_hand(&self) -> Option<Bytes> {
        if let Content::One(bytes) = &self.content { Some(bytes.clone()) } else { None }
    }

    /// Without its bytes, as the answer to HEAD.
    pub(crate) fn emptied(mut self) -> Self {
        self.content = Content::Empty;
        self
    }

    /// The memory that it holds at first while it is sent, in bytes; nothing to speak of for a small one.
    pub(crate) fn weight(&self) -> u64 {
        match &self.content {
            Content::Stream(paced) => paced.left.unwrap_or(SMALL_BYTES).min(SMALL_BYTES),
            content => content.len().unwrap_or(0).saturating_sub(SMALL_BYTES),
        }
    }

    /// The request that ends with this body.
    pub(crate) fn ending(mut self, mut request: Ongoing) -> Self {
        request.hold(self.weight());
        self.request = Some(request);
        self
    }
}

impl Paced {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let polled = match &mut self.source {
            Source::Content(parts) => {
                parts.as_mut().poll_next(cx).map(|part| part.map(|part| part.map(Frame::data).map_err(Broken::from)))
            }
            Source::Origin(frames) => frames.as_mut().poll_next(cx),
        };
        if let Poll::Ready(frame) = polled {
            self.deadline = None;
            if let (Some(left), Some(Ok(frame))) = (&mut self.left, &frame) {
                *left = left.saturating_sub(data_len(frame));
            }
            return Poll::Ready(frame);
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
                Some(Ok(Frame::data(bytes)))
            }
            Content::Whole(parts) => parts.pop_front().map(|part| Ok(Frame::data(part))),
            Content::Stream(paced) => match ready!(paced.poll_next(cx)) {
                Some(Ok(frame)) => {
                    if let Some(request) = &mut this.request {
                        // This one while it is sent, the next, and one that was fetched ahead.
                        request.hold(data_len(&frame).saturating_mul(3));
                    }
                    Some(Ok(frame))
                }
                Some(Err(broken)) => {
                    // An error ends the connection at once; waiting once lets the head and the parts before it out.
                    this.content = Content::Broken(Some(Box::new(broken)));
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                None => None,
            },
            Content::Broken(broken) => broken.take().map(|broken| Err(*broken)),
        };
        if let Some(request) = &mut this.request {
            request.note(part.as_ref());
        }
        Poll::Ready(part)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.len().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(request) = &mut self.request {
            request.seen.complete |= self.content.is_over();
        }
    }
}

/// The bytes of a frame; none of trailers.
fn data_len(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |bytes| bytes.len() as u64)
}

impl Content {
    /// Bytes to come, if it is known.
    fn len(&self) -> Option<u64> {
        let len = |bytes: &Bytes| bytes.len() as u64;
        match self {
            Self::Empty => Some(0),
            Self::One(bytes) => Some(len(bytes)),
            Self::Whole(parts) => Some(parts.iter().map(len).sum()),
            Self::Stream(paced) => paced.left,
            Self::Broken(_) => None,
        }
    }

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
    /// It waits no longer.
    pub(crate) fn end_wait(&mut self) {
        if std::mem::take(&mut self.waiting) {
            self.client.gateway.admission.end_wait();
        }
    }

    /// Its answer holds so many bytes of memory, if it does not hold more already.
    fn hold(&mut self, bytes: u64) {
        if bytes > self.held {
            self.client.ticket.hold(bytes.saturating_sub(self.held));
            self.held = bytes;
        }
    }

    /// Notes a part, or the end, of the body.
    fn note(&mut self, part: Option<&Result<Frame<Bytes>, Broken>>) {
        match part {
            None => self.seen.complete = true,
            Some(Ok(frame)) => {
                self.seen.bytes = self.seen.bytes.saturating_add(data_len(frame));
                if let Some(pass) = &self.pass {
                    pass.sent(data_len(frame));
                }
            }
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
        self.end_wait();
        if self.held > 0 {
            self.client.ticket.release(self.held);
        }
        self.client.activity.idle(now);
    }
}
