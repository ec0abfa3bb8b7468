//! Members' messages: `POST /atoll/v1/{records,announce,probe}` (`docs/formats.md`, "Messages"). Keeps nothing.

use std::time::Duration;

use atoll_core::Answer;
use atoll_core::transport::MESSAGE_BYTES_MAX;
use atoll_routing::exchange;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

use crate::body::Body;
use crate::config::Timeouts;
use crate::failure::{Failure, Step};
use crate::incoming::Incoming;

/// The type of a message and of its answer.
const DAG_CBOR: HeaderValue = HeaderValue::from_static(exchange::MEDIA_TYPE);

/// Receives the message that is posted to `path` and answers it.
pub(crate) async fn answer(
    answer: &dyn Answer,
    path: &str,
    request: &http::request::Parts,
    body: Incoming,
    limits: &Timeouts,
) -> Result<Response<Body>, Failure> {
    check(&request.method, &request.headers)?;
    let bytes = receive(body, limits.body).await?;
    let message = exchange::request_from(path, &bytes).ok_or(Failure::NoRoute)?.map_err(Failure::Message)?;
    let late = |_| Failure::TimedOut { step: Step::Message, limit: limits.message };
    let said = timeout(limits.message, answer.answer(message)).await.map_err(late)?.map_err(Failure::Message)?;
    let mut response = Response::new(Body::one(exchange::body_of(&said).map_err(Failure::Message)?.into()));
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
