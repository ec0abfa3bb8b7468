//! Members' messages: `POST /atoll/v1/{records,announce,probe}` (`docs/formats.md`, "Messages"). Keeps nothing.

use std::time::Duration;

use atoll_core::transport::{MESSAGE_BYTES_MAX, Request as Message, decode, encode};
use atoll_core::{Answer, TransportError};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::body::Body;
use crate::config::Timeouts;
use crate::failure::{Failure, Step};

/// What the paths of messages begin with.
const PREFIX: &str = "/atoll/v1/";
/// The type of a message and of its answer.
const DAG_CBOR: HeaderValue = HeaderValue::from_static("application/vnd.ipld.dag-cbor");

/// The kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Records,
    Announce,
    Probe,
}

impl Kind {
    /// The kind that a path stands for.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        match path.strip_prefix(PREFIX)? {
            "records" => Some(Self::Records),
            "announce" => Some(Self::Announce),
            "probe" => Some(Self::Probe),
            _ => None,
        }
    }

    fn of(message: &Message) -> Self {
        match message {
            Message::Records { .. } => Self::Records,
            Message::Announce { .. } => Self::Announce,
            Message::Probe { .. } => Self::Probe,
        }
    }
}

/// Receives a message and answers it.
pub(crate) async fn answer(
    answer: &dyn Answer,
    kind: Kind,
    request: &http::request::Parts,
    body: Incoming,
    limits: &Timeouts,
) -> Result<Response<Body>, Failure> {
    check(&request.method, &request.headers)?;
    let bytes = receive(body, limits.body).await?;
    let message: Message = decode(&bytes).map_err(Failure::Message)?;
    if Kind::of(&message) != kind {
        return Err(Failure::Message(TransportError::Malformed));
    }
    let late = |_| Failure::TimedOut { step: Step::Message, limit: limits.message };
    let said = timeout(limits.message, answer.answer(message)).await.map_err(late)?.map_err(Failure::Message)?;
    let mut response = Response::new(Body::one(encode(&said).map_err(Failure::Message)?.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, DAG_CBOR);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn check(method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
    if *method != Method::POST {
        return Err(Failure::Method("POST"));
    }
    // A page cannot set this type without a preflight, which is not granted: browsers of strangers post nothing here.
    if headers.get(header::CONTENT_TYPE) != Some(&DAG_CBOR) {
        return Err(Failure::MessageType);
    }
    Ok(())
}

async fn receive(body: Incoming, limit: Duration) -> Result<Bytes, Failure> {
    if body.size_hint().lower() > MESSAGE_BYTES_MAX as u64 {
        return Err(Failure::MessageTooLarge);
    }
    let late = |_| Failure::TimedOut { step: Step::Body, limit };
    let whole = timeout(limit, Limited::new(body, MESSAGE_BYTES_MAX).collect()).await.map_err(late)?;
    match whole {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Failure::MessageTooLarge),
        Err(_) => Err(Failure::MessageBroken),
    }
}
