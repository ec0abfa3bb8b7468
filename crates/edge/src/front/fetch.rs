//! A request that nothing stored answers at once: it goes to the origin, or waits for another that did.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use crate::incoming::Incoming;
use atoll_cache::{
    Directives, Entry, Flight, Forwarded, Found, Landed, Leader, Looked, Report, Reuse, Times, conditional,
    vary_by_coding,
};
use atoll_fallback::{Answer, Download, OriginError, hops, is_failure};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::keep::{self, Kept};
use super::{Asked, Front, slices, stored, upload};
use crate::body::{Body, Broken};
use crate::failure::Failure;

/// Why a request goes to the origin, and what is stored that its answer may confirm.
struct Need {
    why: Forwarded,
    prior: Option<Arc<Entry>>,
    collapsed: bool,
}

/// Answers a request, by what was `found` in memory if that is known.
///
/// # Errors
/// [`Failure`] if neither its origin nor anything stored does.
pub(super) async fn answer(
    front: &Arc<Front>,
    asked: &Asked,
    body: Incoming,
    mut found: Option<Found>,
) -> Result<Response<Body>, Failure> {
    let mut collapsed = false;
    loop {
        let need = match look(front, asked, collapsed, found.take()).await {
            Ok(response) => return Ok(response),
            Err(need) => need,
        };
        if asked.is_readable() && Directives::of_request(&asked.head.headers).only_if_cached {
            return Err(Failure::OnlyIfStored);
        }
        // One that was set apart is not shared: waiting for it would only take time.
        if collapsed || !asked.is_shareable() || front.store.is_apart(&asked.key) {
            return forward(front, asked, &need, false, Some(body)).await;
        }
        let landing = match front.store.board(&asked.key) {
            Flight::Lead(leader) => return lead(front, asked, &need, leader, body).await,
            Flight::Follow(landing) => landing,
        };
        match landing.wait().await {
            Landed::Answered => collapsed = true,
            Landed::Gone => {}
            // What failed for one would fail for all, each after its time.
            Landed::Failed => {
                let failed = || Failure::Origin(OriginError::Broken("another request for the same failed".to_owned()));
                return on_error(front, asked, &need, None).ok_or_else(failed);
            }
        }
    }
}

/// Goes to the origin for all who ask for the same.
async fn lead(
    front: &Arc<Front>,
    asked: &Asked,
    need: &Need,
    leader: Leader,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    let answered = forward(front, asked, need, true, Some(body)).await;
    leader.land(if answered.is_ok() { Landed::Answered } else { Landed::Failed });
    answered
}

/// What is stored and answers, or why it does not.
async fn look(
    front: &Arc<Front>,
    asked: &Asked,
    collapsed: bool,
    found: Option<Found>,
) -> Result<Response<Body>, Need> {
    let need = |why, prior| Need { why, prior, collapsed };
    if !asked.is_readable() {
        let safe = asked.head.method == Method::GET || asked.head.method == Method::HEAD;
        return Err(need(if safe { Forwarded::Bypass } else { Forwarded::Method }, None));
    }
    let found = found.unwrap_or_else(|| front.store.find(&asked.key, &asked.head.headers));
    let Looked { found, disk } = front.store.look_on(found, &asked.key, &asked.head.headers).await;
    let entry = match found {
        Found::Entry(entry) => entry,
        Found::Stale(entry) => return Err(need(Forwarded::Stale, Some(entry))),
        Found::Others => return Err(need(Forwarded::VaryMiss, None)),
        Found::Nothing => return Err(need(Forwarded::UriMiss, None)),
    };
    let now = SystemTime::now();
    match front.rules.reuse(&entry.stored, &asked.head.headers, now) {
        Reuse::Wanted => return Err(need(Forwarded::Request, Some(entry))),
        Reuse::Validate => return Err(need(Forwarded::Stale, Some(entry))),
        Reuse::Stale => revalidate(front, asked, &entry),
        Reuse::Fresh => {}
    }
    // Boxed, as all here that is large and rare: a request's way is moved to where it waits.
    if entry.sliced().is_some() && !Box::pin(slices::is_ready(front, asked, &entry)).await {
        return Err(need(Forwarded::UriMiss, None));
    }
    let report = Report { collapsed, disk, ..Report::default() };
    stored::answer(front, asked, &entry, now, report).ok_or_else(|| need(Forwarded::UriMiss, None))
}

/// Validates a stored response while it answers, unless that is being done (RFC 5861, section 3).
fn revalidate(front: &Arc<Front>, asked: &Asked, entry: &Arc<Entry>) {
    let Flight::Lead(leader) = front.store.board(&asked.key) else { return };
    let mut sent = asked.head.clone();
    sent.method = Method::GET;
    conditional::validate(&entry.stored, &mut sent.headers);
    let (front, entry, asked) = (Arc::clone(front), Arc::clone(entry), asked.for_itself());
    tokio::spawn(async move {
        // Those who would wait for it have an answer already.
        let _leader = leader;
        let (begun, asked_at) = (front.store.now(), SystemTime::now());
        match front.send(&asked, &sent, None).await {
            Ok(response) => {
                let times = Times { request: asked_at, response: SystemTime::now() };
                let response = stripped(response);
                if response.status() == StatusCode::NOT_MODIFIED {
                    freshen(&front, &asked, &entry, (response.headers(), begun), times);
                } else if !is_failure(response.status()) {
                    drop(keep::keep(&front, &asked, begun, times, response));
                }
            }
            Err(error) => tracing::debug!(%error, key = %asked.key, "a stale answer could not be validated"),
        }
    });
}

/// Sends a request to the origin and makes its answer, or what is stored, the visitor's. For `all`, the origin is asked for the whole
/// response, whatever conditions this visitor has and whatever part it wants: that is made of it here.
async fn forward(
    front: &Arc<Front>,
    asked: &Asked,
    need: &Need,
    all: bool,
    body: Option<Incoming>,
) -> Result<Response<Body>, Failure> {
    let mut sent = Cow::Borrowed(&asked.head);
    let validated = need.prior.as_ref().filter(|prior| conditional::can_validate(&prior.stored));
    match validated {
        Some(prior) => conditional::validate(&prior.stored, &mut sent.to_mut().headers),
        None if all && !asked.is_for_all() => Asked::for_all(&mut sent.to_mut().headers),
        None => {}
    }
    let limit = asked.client.gateway.timeouts.chunk;
    let body = body.filter(|_| !asked.is_bodiless());
    let upload = body.map(|body| upload::bounded(body, front.upload_bytes_max, limit)).transpose()?;
    let (upload, fate) = upload.unzip();
    let (begun, asked_at) = (front.store.now(), SystemTime::now());
    let response = match front.send(asked, &sent, upload).await {
        Ok(response) => stripped(response),
        // It is the request that is at fault, not the origin.
        Err(error @ OriginError::Loop) => return Err(Failure::Origin(error)),
        Err(error) => {
            let failure = fate.and_then(|fate| fate.failure(limit)).unwrap_or(Failure::Origin(error));
            return on_error(front, asked, need, None).ok_or(failure);
        }
    };
    let times = Times { request: asked_at, response: SystemTime::now() };
    if is_failure(response.status())
        && let Some(stale) = on_error(front, asked, need, Some(response.status()))
    {
        return Ok(stale);
    }
    if let (StatusCode::NOT_MODIFIED, Some(prior)) = (response.status(), validated) {
        let fresh = freshen(front, asked, prior, (response.headers(), begun), times);
        let report = Report { stored: true, ..need.report(Some(StatusCode::NOT_MODIFIED)) };
        let lost = || Failure::Origin(OriginError::Broken("what it confirmed broke off meanwhile".to_owned()));
        return stored::answer(front, asked, &fresh, times.response, report).ok_or_else(lost);
    }
    if asked.head.method == Method::HEAD {
        Box::pin(described(front, asked, need, (response.status(), response.headers(), begun), times)).await;
    }
    if is_ranged(asked)
        && let Some(entry) = slices::begin(front, asked, (&sent, begun), times, &response)
        // Who was asked for the whole is asked for slices instead.
        && response.status() == StatusCode::OK
        && Box::pin(slices::is_ready(front, asked, &entry)).await
        && let Some(sliced) = stored::answer(front, asked, &entry, times.response, Report { stored: true, ..need.report(None) })
    {
        return Ok(sliced);
    }
    match take(front, asked, need, begun, times, response).await {
        // The whole is not stored, so that it need not be fetched for a part of it.
        Taken::Passed(response) if all && response.status() == StatusCode::OK && is_ranged(asked) => {
            drop(response);
            Box::pin(forward(front, asked, need, false, None)).await
        }
        Taken::Passed(response) | Taken::Stored(response) => Ok(response),
    }
}

/// Whether a part is wanted.
fn is_ranged(asked: &Asked) -> bool {
    asked.head.headers.contains_key(header::RANGE)
}

/// An answer of the origin, as the visitor gets it.
enum Taken {
    Stored(Response<Body>),
    Passed(Response<Body>),
}

/// Passes an origin's answer on, storing it if it may be.
async fn take(front: &Arc<Front>, asked: &Asked, need: &Need, begun: u64, times: Times, response: Answer) -> Taken {
    let head = asked.head.method == Method::HEAD;
    let changed = match asked.head.method.is_safe() {
        true => None,
        false => Box::pin(keep::invalidate(front, asked, &response)).await,
    };
    let begun = changed.unwrap_or(begun);
    let (mut parts, entry, reading) = match keep::keep(front, asked, begun, times, response) {
        Kept::Stored(parts, entry, reading) => (parts, entry, reading),
        Kept::Passed(parts, body) => {
            let body = passed(asked, head, body);
            return Taken::Passed(reported(front, (parts, body), need.report(None)));
        }
    };
    let report = Report { stored: true, ..need.report(None) };
    if asked.wants_less() {
        let report = Report { status: Some(parts.status), ..report };
        if let Some(response) = stored::answer(front, asked, &entry, times.response, report) {
            return Taken::Stored(response);
        }
    }
    let len = entry.fill.whole().map(|whole| whole.len).or_else(|| announced_len(&parts.headers));
    let report = Report { ttl: Some(entry.stored.ttl(times.response)), ..report };
    if front.rules.is_codable(&entry.stored, len) {
        vary_by_coding(&mut parts.headers);
    }
    let body = match entry.fill.whole() {
        Some(whole) => Body::whole(whole.parts.iter().cloned()),
        None => stored::arriving(asked, reading, len),
    };
    Taken::Stored(reported(front, (parts, body), report))
}

fn reported(front: &Front, (parts, body): (http::response::Parts, Body), report: Report) -> Response<Body> {
    let mut response = Response::from_parts(parts, body);
    *response.version_mut() = http::Version::HTTP_11;
    *response.extensions_mut() = http::Extensions::new();
    stored::add_report(response.headers_mut(), front, report);
    response
}

/// An origin's body, as fast as the visitor takes it.
pub(super) fn passed(asked: &Asked, head: bool, mut body: Download) -> Body {
    if head {
        return Body::unknown();
    }
    if body.is_end_stream() {
        return Body::empty();
    }
    if let Some(whole) = body.whole() {
        return Body::one(whole);
    }
    let len = body.size_hint().exact();
    let frames = stream::unfold(body, |mut body| async move { Some((body.frame().await?, body)) });
    let frames = frames.map(|frame| frame.map_err(Broken::from));
    Body::frames(Box::pin(frames), len, asked.client.gateway.timeouts.chunk.saturating_mul(4))
}

/// A stored response with what its origin said of it now, in its place.
fn freshen(
    front: &Front,
    asked: &Asked,
    prior: &Arc<Entry>,
    (update, begun): (&HeaderMap, u64),
    times: Times,
) -> Arc<Entry> {
    let stored = prior.stored.freshened(&front.rules, update, times);
    front.store.freshen(&asked.key, prior, stored, begun)
}

/// What an answer to HEAD says about what is stored: it is still the same, or no longer (RFC 9111, section 4.3.5).
async fn described(
    front: &Front,
    asked: &Asked,
    need: &Need,
    (status, headers, begun): (StatusCode, &HeaderMap, u64),
    times: Times,
) {
    let Some(prior) = &need.prior else { return };
    if prior.stored.is_described_by(status, headers) {
        freshen(front, asked, prior, (headers, begun), times);
    } else if !is_failure(status) {
        front.store.remove(&asked.key).await;
    }
}

/// The stale response that may answer instead of an origin that fails.
fn on_error(front: &Arc<Front>, asked: &Asked, need: &Need, status: Option<StatusCode>) -> Option<Response<Body>> {
    let prior = need.prior.as_ref()?;
    let now = SystemTime::now();
    if !front.rules.on_error(&prior.stored, status, now) {
        return None;
    }
    stored::answer(front, asked, prior, now, need.report(status))
}

/// An answer without what concerned the connection that it came by.
pub(super) fn stripped(mut response: Answer) -> Answer {
    let version = response.version();
    hops::strip_response(response.headers_mut());
    hops::via(response.headers_mut(), version);
    response
}

fn announced_len(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Need {
    fn report(&self, status: Option<StatusCode>) -> Report {
        Report { forwarded: Some(self.why), status, collapsed: self.collapsed, ..Report::default() }
    }
}
