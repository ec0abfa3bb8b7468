//! The body of a request. Over HTTP/2 it comes back when it is dropped unread, so that an answer does not overtake what is wrong with
//! it. A crash loses the request.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming as Received;

/// The most of a body that is read although nobody wants it, in bytes.
const PASSED_OVER_BYTES_MAX: usize = 64 * 1024;

/// A body as it comes.
pub(crate) struct Incoming {
    /// There until it is dropped.
    body: Option<Received>,
    home: Option<Home>,
}

/// Where a body comes back to that was dropped before its end.
#[derive(Clone, Default)]
pub(crate) struct Home(Arc<Mutex<Option<Received>>>);

impl From<Received> for Incoming {
    fn from(body: Received) -> Self {
        Self { body: Some(body), home: None }
    }
}

impl Incoming {
    /// One that comes back.
    pub(crate) fn lent(body: Received, home: &Home) -> Self {
        Self { body: Some(body), home: Some(home.clone()) }
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

impl Drop for Incoming {
    fn drop(&mut self) {
        if let (Some(home), Some(body)) = (&self.home, self.body.take().filter(|body| !body.is_end_stream())) {
            *home.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Received::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Received::size_hint)
    }
}
