//! From a request to an answer: the paths of the API.

use std::collections::BTreeMap;
use std::time::Duration;

use atoll_core::{Cid, Subject};
use bytes::Bytes;
use http::request::Parts as Head;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::door::{PREFLIGHT, token};
use crate::error::{Failure, StoreError};
use crate::filter::Filter;
use crate::publisher::Publisher;
use crate::request::RequestId;
use crate::service::Inner;
use crate::store::View;
use crate::wire::{BODY_BYTES_MAX, DELEGATES_MAX, Pin, PinResults, PinStatus, Status, to_rfc3339};

/// How long the answer to a new request waits for it to be pinned.
const MOMENT: Duration = Duration::from_millis(500);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(10);

/// An answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Answers one request, whatever it is.
pub(crate) async fn answer(service: &Inner, head: Head, body: Incoming) -> Answer {
    let admitted = match service.door.admit(&head.headers) {
        Ok(admitted) => admitted,
        Err(failure) => return refusal(&failure),
    };
    let mut answer = if head.method == Method::OPTIONS && admitted.is_page() {
        preflight()
    } else {
        route(service, &head, body).await.unwrap_or_else(|failure| refusal(&failure))
    };
    admitted.mark(answer.headers_mut());
    answer
}

async fn route(service: &Inner, head: &Head, body: Incoming) -> Result<Answer, Failure> {
    let path = head.uri.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    let id = match path.strip_prefix("/pins") {
        Some("") => None,
        Some(rest) => Some(rest.strip_prefix('/').ok_or(Failure::Path)?),
        None => return Err(Failure::Path),
    };
    let publisher = token(&head.headers).and_then(|token| service.store.authenticate(token));
    let publisher = publisher.ok_or(Failure::Unauthorized)?;
    match (head.method.as_str(), id) {
        ("GET", None) => list(service, &publisher, head.uri.query().unwrap_or_default()),
        ("POST", None) => add(service, &publisher, None, body).await,
        ("GET", Some(id)) => show(service, &publisher, id),
        ("POST", Some(id)) => add(service, &publisher, Some(id), body).await,
        ("DELETE", Some(id)) => remove(service, &publisher, id).await,
        (method, _) => Err(Failure::Method(method.chars().take(16).collect())),
    }
}

fn list(service: &Inner, publisher: &Publisher, query: &str) -> Result<Answer, Failure> {
    let filter = Filter::parse(query, service.config.page_size)?;
    let (count, views) = service.store.list(&publisher.name, &filter);
    let delegates = service.delegates();
    let results = views.into_iter().map(|view| status_of(view, &delegates)).collect();
    Ok(json(StatusCode::OK, &PinResults { count, results }))
}

fn show(service: &Inner, publisher: &Publisher, id: &str) -> Result<Answer, Failure> {
    let id = parse(id)?;
    let view = service.store.get(&publisher.name, &id).ok_or(StoreError::NoRequest(id))?;
    Ok(json(StatusCode::OK, &status_of(view, &service.delegates())))
}

/// Makes a request, instead of another one if that is named.
async fn add(service: &Inner, publisher: &Publisher, old: Option<&str>, body: Incoming) -> Result<Answer, Failure> {
    let old = old.map(parse).transpose()?;
    if let Some(old) = old {
        service.store.get(&publisher.name, &old).ok_or(StoreError::NoRequest(old))?;
    }
    let pin = Pin::parse(&read(body).await?)?;
    if service.is_denied(&pin.cid) {
        return Err(Failure::Denied(pin.cid.to_string()));
    }
    let view = service.store.create(&publisher.name, pin, old, service.config.requests_per_publisher).await?;
    let view = soon(service, publisher, view).await;
    Ok(json(StatusCode::ACCEPTED, &status_of(view, &service.delegates())))
}

/// What has become of a request within a moment: what is small or here already is pinned before the answer says so.
async fn soon(service: &Inner, publisher: &Publisher, made: View) -> View {
    let id = made.id;
    let settled = async {
        loop {
            match service.store.get(&publisher.name, &id) {
                Some(view) if matches!(view.status, Status::Queued | Status::Pinning) => sleep(LOOK).await,
                other => return other,
            }
        }
    };
    timeout(MOMENT, settled).await.ok().flatten().unwrap_or(made)
}

async fn remove(service: &Inner, publisher: &Publisher, id: &str) -> Result<Answer, Failure> {
    let held = service.store.remove(&publisher.name, parse(id)?).await?;
    service.release(held).await;
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::ACCEPTED;
    Ok(answer)
}

/// What is no id names no request.
fn parse(id: &str) -> Result<RequestId, Failure> {
    id.parse().map_err(|_| Failure::Path)
}

impl Inner {
    /// Where publishers' nodes should connect to.
    fn delegates(&self) -> Vec<String> {
        let set = &self.config.delegates;
        let all = if set.is_empty() { self.network.delegates() } else { set.clone() };
        all.iter().take(DELEGATES_MAX).map(ToString::to_string).collect()
    }

    fn is_denied(&self, root: &Cid) -> bool {
        let whole = Subject::Path { root, names: &[] };
        [Subject::Block(root), whole].into_iter().any(|subject| self.deny.decide(subject).is_some())
    }
}

/// What a publisher is told of a request.
fn status_of(view: View, delegates: &[String]) -> PinStatus {
    let mut info = BTreeMap::new();
    match view.status {
        Status::Pinned => {
            info.insert("dag_size", view.bytes.to_string());
            info.insert("blocks", view.blocks.to_string());
        }
        Status::Queued | Status::Pinning => {
            info.insert("bytes", view.bytes.to_string());
            info.insert("blocks", view.blocks.to_string());
        }
        Status::Failed => {}
    }
    let details = match view.status {
        Status::Queued if view.note.is_empty() => "waiting for its turn".to_owned(),
        Status::Pinned if view.note.is_empty() => "kept".to_owned(),
        _ => view.note,
    };
    if !details.is_empty() {
        info.insert("status_details", details);
    }
    PinStatus {
        requestid: view.id.to_string(),
        status: view.status,
        created: to_rfc3339(view.created),
        pin: view.pin,
        delegates: delegates.to_vec(),
        info,
    }
}

/// A whole body, within its limit.
async fn read(body: Incoming) -> Result<Bytes, Failure> {
    let collected =
        tokio::time::timeout(crate::serve::BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::BodyTooLarge(BODY_BYTES_MAX)),
        _ => Err(Failure::Body),
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(text) => with_head(status, text),
        Err(_) => with_head(StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    }
}

/// The answer that says why not.
fn refusal(failure: &Failure) -> Answer {
    let (status, _) = failure.code();
    if status.is_server_error() {
        tracing::error!(error = %failure, "a pin request was not carried out");
    }
    let mut answer = with_head(status, failure.body());
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
    }
    answer
}

fn preflight() -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    for (name, value) in PREFLIGHT {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn with_head(status: StatusCode, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let fixed = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
