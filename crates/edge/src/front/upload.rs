//! A visitor's body on its way to an origin: bounded in size, each part within its time.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::incoming::Incoming;
use atoll_fallback::Upload;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::fields;
use crate::failure::{Failure, Step};

/// Why an upload was broken off.
#[derive(Debug, Default)]
pub(super) struct Fate(AtomicU8);

/// What comes of asking for the next part.
type Polled = Poll<Option<Result<Frame<Bytes>, Box<dyn Error + Send + Sync>>>>;

const LARGE: u8 = 1;
const LATE: u8 = 2;
const GONE: u8 = 3;

struct Visitor {
    body: Incoming,
    /// Bytes that may still come.
    left: u64,
    limit: Duration,
    /// Set while a part is waited for.
    deadline: Option<Pin<Box<Sleep>>>,
    fate: Arc<Fate>,
}

/// The body as it is sent on, at most `bytes_max` of it, and what becomes of it.
///
/// # Errors
/// [`Failure::UploadTooLarge`] if it says itself that it is larger.
pub(super) fn bounded(body: Incoming, bytes_max: u64, limit: Duration) -> Result<(Upload, Arc<Fate>), Failure> {
    if body.size_hint().lower() > bytes_max {
        return Err(Failure::UploadTooLarge);
    }
    let fate = Arc::new(Fate::default());
    let visitor = Visitor { body, left: bytes_max, limit, deadline: None, fate: Arc::clone(&fate) };
    Ok((Upload::new(visitor), fate))
}

impl Fate {
    /// The failure that it is the cause of.
    pub(super) fn failure(&self, limit: Duration) -> Option<Failure> {
        match self.0.load(Ordering::Relaxed) {
            LARGE => Some(Failure::UploadTooLarge),
            LATE => Some(Failure::TimedOut { step: Step::Body, limit }),
            GONE => Some(Failure::UploadBroken),
            _ => None,
        }
    }
}

impl Visitor {
    fn broken(&self, why: u8, text: &'static str) -> Polled {
        self.fate.0.store(why, Ordering::Relaxed);
        Poll::Ready(Some(Err(text.into())))
    }
}

impl Body for Visitor {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.deadline = None;
            return match frame {
                None => Poll::Ready(None),
                Some(Err(_)) => self.broken(GONE, "the visitor broke off"),
                Some(Ok(frame)) => {
                    let frame = match frame.into_trailers() {
                        Ok(trailers) => Frame::trailers(fields::trailers(trailers)),
                        Err(frame) => frame,
                    };
                    let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                    match self.left.checked_sub(len) {
                        None => self.broken(LARGE, "the body is too large"),
                        Some(left) => {
                            self.left = left;
                            Poll::Ready(Some(Ok(frame)))
                        }
                    }
                }
            };
        }
        let limit = self.limit;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(deadline.as_mut().poll(cx));
        self.broken(LATE, "the visitor is too slow")
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
