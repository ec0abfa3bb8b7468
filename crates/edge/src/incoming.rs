//! The body of a request, over whichever protocol it came. Over HTTP/2 it comes back when it is dropped unread, so that an answer does
//! not overtake what is wrong with it. A crash loses the request.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h3::server::RequestStream;
use http::{HeaderMap, Method, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming as Received;

use crate::http3::Receiving;

/// The most of a body that is read although nobody wants it, in bytes.
const PASSED_OVER_BYTES_MAX: usize = 64 * 1024;

/// A body as it comes.
pub(crate) enum Incoming {
    Hyper(Lent),
    Quic(Box<Quic>),
}

/// A body over HTTP/1.1 or HTTP/2.
pub(crate) struct Lent {
    /// There until it is dropped.
    body: Option<Received>,
    home: Option<Home>,
}

/// Where a body comes back to that was dropped before its end.
#[derive(Clone, Default)]
pub(crate) struct Home(Arc<Mutex<Option<Received>>>);

/// A body over HTTP/3.
pub(crate) struct Quic {
    stream: RequestStream<Receiving, Bytes>,
    /// Bytes to come, if the head said how many.
    left: Option<u64>,
    /// What was read ahead.
    first: Option<Result<Bytes, Box<dyn Error + Send + Sync>>>,
    stage: Stage,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Data,
    Trailers,
    Over,
}

/// What a body over HTTP/3 is not as long as.
#[derive(Debug, thiserror::Error)]
#[error("the body is not as long as its Content-Length says")]
struct WrongLength;

impl From<Received> for Incoming {
    fn from(body: Received) -> Self {
        Self::Hyper(Lent { body: Some(body), home: None })
    }
}

impl Incoming {
    /// One that comes back.
    pub(crate) fn lent(body: Received, home: &Home) -> Self {
        Self::Hyper(Lent { body: Some(body), home: Some(home.clone()) })
    }

    /// What follows a head over HTTP/3. Of a request that seldom has a body it is waited for whether it has one.
    pub(crate) async fn quic(stream: RequestStream<Receiving, Bytes>, method: &Method, head: &HeaderMap) -> Self {
        let left = head.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let mut body = Quic { stream, left, first: None, stage: Stage::Data };
        if left.is_none() && (method.is_safe() || *method == Method::DELETE) {
            match std::future::poll_fn(|cx| body.poll_data(cx)).await {
                Ok(None) => body.stage = Stage::Over,
                first => body.first = first.transpose(),
            }
        }
        Self::Quic(Box::new(body))
    }
}

impl Home {
    /// Reads what came back, as far as it is short; `false` if the client went away meanwhile, or if something is wrong with it.
    pub(crate) async fn pass_over(&self) -> bool {
        let Some(mut body) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else { return true };
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > PASSED_OVER_BYTES_MAX {
                break;
            }
        }
        true
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(home), Some(body)) = (&self.home, self.body.take().filter(|body| !body.is_end_stream())) {
            *home.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

/// The next part of a body, or the end of it.
type Part = Option<Result<Frame<Bytes>, Box<dyn Error + Send + Sync>>>;

impl Quic {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Part> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first.map(Frame::data)));
        }
        let part = match self.stage {
            Stage::Data => match ready!(self.poll_data(cx)) {
                Ok(None) => return self.poll_frame(cx),
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(error) => Some(Err(error)),
            },
            Stage::Trailers => match ready!(self.stream.poll_recv_trailers(cx)) {
                Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
                Err(error) => Some(Err(error.into())),
            },
            Stage::Over => None,
        };
        self.stage = Stage::Over;
        Poll::Ready(part)
    }

    /// `None` once all of it came, with the next stage begun.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Box<dyn Error + Send + Sync>>> {
        let Some(mut data) = ready!(self.stream.poll_recv_data(cx))? else {
            self.stage = Stage::Trailers;
            return Poll::Ready(if self.left.is_none_or(|left| left == 0) {
                Ok(None)
            } else {
                Err(WrongLength.into())
            });
        };
        let data = data.copy_to_bytes(data.remaining());
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(data.len() as u64).ok_or(WrongLength)?;
        }
        Poll::Ready(Ok(Some(data)))
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Part> {
        match self.get_mut() {
            Self::Hyper(Lent { body: Some(body), .. }) => {
                Pin::new(body).poll_frame(cx).map(|part| part.map(|part| part.map_err(Into::into)))
            }
            Self::Hyper(_) => Poll::Ready(None),
            Self::Quic(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(lent) => lent.body.as_ref().is_none_or(Received::is_end_stream),
            Self::Quic(body) => body.first.is_none() && (body.stage == Stage::Over || body.left == Some(0)),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(lent) => lent.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Received::size_hint),
            Self::Quic(body) => body.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
