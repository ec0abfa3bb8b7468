//! Answers: JSON at once, or a line of JSON for each step of long work.

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

use super::Body;

/// Lines that may wait for a slow reader; further progress is dropped, results are not.
const LINES_MAX: usize = 64;

/// A JSON answer.
pub(crate) fn json(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(text) => answer(StatusCode::OK, "application/json", text),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written as JSON"),
    }
}

/// `{"error": …}`.
pub(crate) fn error(status: StatusCode, text: impl ToString) -> Response<Body> {
    let text = serde_json::json!({ "error": text.to_string() }).to_string();
    answer(status, "application/json", text)
}

/// A whole body.
pub(crate) fn answer(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    with_head(status, media_type, body)
}

/// A body that comes in pieces; an error breaks the connection off.
pub(crate) fn streamed<S>(media_type: &'static str, pieces: S) -> Response<Body>
where
    S: futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
{
    use futures_util::StreamExt as _;
    with_head(StatusCode::OK, media_type, StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync())
}

fn with_head(status: StatusCode, media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let fixed = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    response
}

/// Where long work reports.
#[derive(Clone, Debug)]
pub(crate) struct Reporter(mpsc::Sender<Bytes>);

impl Reporter {
    /// Reports progress, unless the reader is behind.
    pub(crate) fn progress(&self, value: &impl Serialize) {
        let _ = self.0.try_send(line(value));
    }

    /// Whether nobody listens any more, so that the work is in vain.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }
}

/// Runs `work` and streams its progress and its end: `{"done": …}` or `{"error": …}`.
pub(crate) fn run<T, F>(work: impl FnOnce(Reporter) -> F) -> Response<Body>
where
    T: Serialize,
    F: Future<Output = Result<T, String>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    let work = work(Reporter(sender.clone()));
    tokio::spawn(async move {
        let last = match work.await {
            Ok(done) => line(&serde_json::json!({ "done": done })),
            Err(error) => line(&serde_json::json!({ "error": error })),
        };
        let _ = sender.send(last).await;
    });
    let lines =
        stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|line| (Ok(line), receiver)) });
    streamed("application/x-ndjson", lines)
}

fn line(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text.into()
}
