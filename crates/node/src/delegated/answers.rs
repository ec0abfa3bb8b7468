//! Answers as HTTP: lists, streams, and refusals, each with what caches and pages of other origins need.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use atoll_core::delegated::{Filter, JSON, NDJSON, PeerRecord};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;

use super::sources::Records;
use super::{Counts, Delegated};
use crate::control::Body;

/// How long an answer with records, and one without, may be kept ("Response Headers").
const MAX_AGE: u64 = 300;
const MAX_AGE_EMPTY: u64 = 15;
/// How long it may be shown while it is asked for again: as long as providers are believed by the DHT.
const STALE: u64 = 48 * 3600;

/// How a list is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// All of it, as one object.
    List,
    /// A record a line, as they are found; only for those who ask for it.
    Stream,
}

impl Form {
    /// What the client wants; `None` when it takes neither.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut accepts = headers.get_all(header::ACCEPT).iter().peekable();
        if accepts.peek().is_none() {
            return Some(Self::List);
        }
        let mut form = None;
        for range in accepts.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
            let refused =
                parts.any(|part| matches!(part.trim_start_matches(['q', 'Q']), "=0" | "=0.0" | "=0.00" | "=0.000"));
            match essence.as_str() {
                NDJSON if !refused => return Some(Self::Stream),
                JSON | "application/*" | "*/*" if !refused => form = Some(Self::List),
                _ => {}
            }
        }
        form
    }
}

/// A list or stream of the records that pass, under the name that the endpoint gives it. `none` is the status without any.
pub(super) async fn records(
    delegated: &Delegated,
    (form, name, none): (Form, &'static str, StatusCode),
    filter: Filter,
    records: Records,
    hold: impl Send + 'static,
) -> Response<Body> {
    let config = &delegated.config;
    let counts = Arc::clone(&delegated.counts);
    let most = if form == Form::List { config.records_max } else { config.stream_records_max };
    let until = Box::pin(tokio::time::sleep(config.search_timeout));
    let records = records.filter_map(move |record| std::future::ready(filter.apply(record)));
    let mut records = records.take_until(until).take(most).inspect(move |_| {
        counts.records.fetch_add(1, Ordering::Relaxed);
    });
    // The head tells caches how much to think of the answer, so the first record decides it.
    let first = match form {
        Form::Stream => records.next().await.into_iter().collect::<Vec<_>>(),
        Form::List => records.by_ref().collect().await,
    };
    let (media_type, body) = match form {
        Form::List => (JSON, full(list(name, &first))),
        Form::Stream => {
            let lines = stream::iter(first.clone()).chain(records).map(move |record| {
                let _hold = &hold;
                Ok(Frame::data(line(&record)))
            });
            (NDJSON, StreamBody::new(lines).boxed_unsync())
        }
    };
    let status = if first.is_empty() { none } else { StatusCode::OK };
    let max_age = if first.is_empty() { MAX_AGE_EMPTY } else { MAX_AGE };
    let mut response = with_head(status, media_type, body);
    let headers = response.headers_mut();
    cache(headers, max_age, STALE);
    insert(headers, header::LAST_MODIFIED, &httpdate::fmt_http_date(SystemTime::now()));
    response
}

fn list(name: &'static str, records: &[PeerRecord]) -> Bytes {
    serde_json::to_vec(&serde_json::json!({ name: records })).unwrap_or_default().into()
}

fn line(record: &PeerRecord) -> Bytes {
    let mut line = serde_json::to_vec(record).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// A text for people, which no cache keeps.
pub(super) fn refusal(counts: &Counts, status: StatusCode, text: impl ToString) -> Response<Body> {
    Counts::add(&counts.refused);
    let mut response = text_of(status, text);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

/// A text for people.
pub(super) fn text_of(status: StatusCode, text: impl ToString) -> Response<Body> {
    with_head(status, "text/plain; charset=utf-8", full(text.to_string() + "\n"))
}

/// There is no record of a name (IPIP-513: not a status, but another type of content).
pub(super) fn no_record(text: impl ToString) -> Response<Body> {
    let mut response = text_of(StatusCode::OK, text);
    cache(response.headers_mut(), MAX_AGE_EMPTY, STALE);
    response
}

/// To a browser that asks whether a page of another origin may ask.
pub(super) fn preflight(methods: &'static str) -> Response<Body> {
    let mut response = with_head(StatusCode::NO_CONTENT, "text/plain", full(Bytes::new()));
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers
        .insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Accept, Content-Type, If-None-Match"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

/// A body with what every answer has.
pub(super) fn with_head(status: StatusCode, media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let fixed = [
        (header::CONTENT_TYPE, media_type),
        (header::VARY, "Accept"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, OPTIONS"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Etag, Expires, Last-Modified, Retry-After"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// How long an answer may be kept, and shown while it is asked for again, in seconds.
pub(super) fn cache(headers: &mut HeaderMap, max_age: u64, stale: u64) {
    let value = format!("public, max-age={max_age}, stale-while-revalidate={stale}, stale-if-error={stale}");
    insert(headers, header::CACHE_CONTROL, &value);
}

/// An IPNS record is kept for its TTL, and never past its end, however stale it may be shown.
pub(super) fn cache_until(headers: &mut HeaderMap, ttl: Duration, left: Duration) {
    /// For records without a TTL.
    const TTL_DEFAULT: u64 = 60;
    let ttl = if ttl.is_zero() { TTL_DEFAULT } else { ttl.as_secs() };
    let max_age = ttl.min(left.as_secs());
    cache(headers, max_age, left.as_secs().saturating_sub(max_age));
}

pub(super) fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_only_for_those_who_ask() {
        for (accept, form) in [
            (&[][..], Some(Form::List)),
            (&["*/*"], Some(Form::List)),
            (&["application/json"], Some(Form::List)),
            (&["application/x-ndjson"], Some(Form::Stream)),
            (&["application/json, application/x-ndjson;q=0.1"], Some(Form::Stream)),
            (&["application/x-ndjson, application/json;q=0.8"], Some(Form::Stream)),
            (&["application/json", "Application/X-NDJSON"], Some(Form::Stream)),
            (&["application/x-ndjson;q=0, application/*"], Some(Form::List)),
            (&["text/html"], None),
            (&["application/json; q=0"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(Form::of(&headers), form, "{accept:?}");
        }
    }

    #[test]
    fn a_record_is_kept_for_its_ttl_and_never_past_its_end() {
        let of = |ttl, left| {
            let mut headers = HeaderMap::new();
            cache_until(&mut headers, Duration::from_secs(ttl), Duration::from_secs(left));
            headers[header::CACHE_CONTROL].to_str().unwrap().to_owned()
        };
        assert_eq!(of(300, 1000), "public, max-age=300, stale-while-revalidate=700, stale-if-error=700");
        assert_eq!(of(300, 100), "public, max-age=100, stale-while-revalidate=0, stale-if-error=0");
        assert_eq!(of(0, 1000), "public, max-age=60, stale-while-revalidate=940, stale-if-error=940");
    }
}
