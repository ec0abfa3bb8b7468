//! From a stored response to the answer to a request: its age, conditions, ranges, HEAD.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use atoll_cache::{Coding, Entry, Filled, Part, Reading, Report, conditional, describe, part, vary_by_coding, weaken};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Frame;

use super::{Asked, Front, Outcome, slices};
use crate::body::{Body, Broken};
use crate::respond::insert;

/// Says what a cache did (RFC 9211).
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The answer; `None` if the body that was to arrive does not.
pub(super) fn answer(
    front: &Arc<Front>,
    asked: &Asked,
    entry: &Arc<Entry>,
    now: SystemTime,
    report: Report,
) -> Option<Response<Body>> {
    let stored = &entry.stored;
    let source = Source::of(front, asked, entry)?;
    let mut headers = stored.answer_headers(now);
    add_report(&mut headers, front, Report { ttl: Some(stored.ttl(now)), ..report });
    let codable = front.rules.is_codable(stored, source.len());
    if codable {
        vary_by_coding(&mut headers);
    }
    if conditional::is_unchanged(stored, &asked.head.headers) {
        for name in [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_RANGE] {
            headers.remove(name);
        }
        if codable {
            // It may be what came coded that is asked about.
            weaken(&mut headers);
        }
        return Some(with(StatusCode::NOT_MODIFIED, headers, Body::empty()));
    }
    if let Some((coding, coded)) = coded(front, asked, entry).filter(|_| codable) {
        describe(&mut headers, coding, coded.len);
        offer(front, asked, entry, coded);
        return Some(with(stored.status(), headers, Body::whole(coded.parts.iter().cloned())));
    }
    // Only GET has parts (RFC 9110, section 14.2), and no date says of which coding they are.
    let dated = asked.head.headers.get(header::IF_RANGE).is_some_and(|condition| !condition.as_bytes().contains(&b'"'));
    if let Source::Whole(whole) = source {
        offer(front, asked, entry, whole);
    }
    let len = source.len().filter(|_| asked.head.method == Method::GET && !(codable && dated));
    let wanted = len.map_or(Part::Whole, |len| part(stored, &asked.head.headers, len));
    match (wanted, len) {
        (Part::Range(range), Some(len)) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end.saturating_sub(range.start)));
            insert(&mut headers, header::CONTENT_RANGE, format!("bytes {}-{}/{len}", range.start, range.end - 1));
            Some(with(StatusCode::PARTIAL_CONTENT, headers, source.part(asked, &range)))
        }
        (Part::Unsatisfiable, Some(len)) => {
            headers.remove(header::CONTENT_LENGTH);
            insert(&mut headers, header::CONTENT_RANGE, format!("bytes */{len}"));
            Some(with(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::empty()))
        }
        _ => Some(with(stored.status(), headers, source.whole(asked))),
    }
}

/// Has the kernel send a body without a copy if it can, now or in the future.
fn offer(front: &Front, asked: &Asked, entry: &Arc<Entry>, body: &Filled) {
    let client = &asked.client;
    match &body.seal {
        Some(seal) => client.sending.offer(seal),
        None if client.secure || asked.head.method == Method::HEAD => {}
        None => front.store.note_copy(&asked.key, entry, body),
    }
}

/// The body in a coding that the request takes, if it was made. If not, it is made for those who come later.
fn coded<'a>(front: &Front, asked: &Asked, entry: &'a Arc<Entry>) -> Option<(Coding, &'a Filled)> {
    let whole = entry.fill.whole()?;
    let fields = &asked.head.headers;
    if fields.contains_key(header::RANGE) || !front.rules.is_codable(&entry.stored, Some(whole.len)) {
        return None;
    }
    let accepted = Coding::accepted(fields);
    let made = accepted.iter().find_map(|coding| Some((*coding, entry.fill.coded(*coding)?)));
    if let Some(first) = accepted.first().filter(|first| made.is_none_or(|(made, _)| made != **first)) {
        front.store.code(&asked.key, entry, *first);
    }
    made
}

/// Adds what the cache did to what others did before, and counts it.
pub(super) fn add_report(headers: &mut HeaderMap, front: &Front, report: Report) {
    front.tally.count(Outcome::of(&report));
    if let Some(value) = front.reporter.value(&report) {
        headers.append(CACHE_STATUS, value);
    }
}

/// The bytes of a stored body.
enum Source<'a> {
    Whole(&'a Filled),
    /// Not all there; how many there will be, if that is known.
    Arriving(Reading, Option<u64>),
    /// Stored in slices, of which some may still have to be fetched; how many bytes they are.
    Sliced(&'a Arc<Front>, &'a Arc<Entry>, u64),
    /// Nobody wants them.
    Unwanted(Option<u64>),
}

impl<'a> Source<'a> {
    fn of(front: &'a Arc<Front>, asked: &Asked, entry: &'a Arc<Entry>) -> Option<Self> {
        if let Some(len) = entry.sliced() {
            let head = asked.head.method == Method::HEAD;
            return Some(if head { Self::Unwanted(Some(len)) } else { Self::Sliced(front, entry, len) });
        }
        if let Some(whole) = entry.fill.whole() {
            return Some(Self::Whole(whole));
        }
        let announced = entry.stored.headers().get(header::CONTENT_LENGTH);
        let len = announced.and_then(|len| len.to_str().ok()?.parse().ok());
        if asked.head.method == Method::HEAD {
            return entry.fill.is_sound().then_some(Self::Unwanted(len));
        }
        Some(Self::Arriving(entry.fill.read()?, len))
    }

    fn len(&self) -> Option<u64> {
        match self {
            Self::Whole(whole) => Some(whole.len),
            Self::Arriving(_, len) | Self::Unwanted(len) => *len,
            Self::Sliced(_, _, len) => Some(*len),
        }
    }

    fn whole(self, asked: &Asked) -> Body {
        match self {
            Self::Whole(whole) => Body::whole(whole.parts.iter().cloned()),
            Self::Arriving(reading, len) => arriving(asked, reading, len),
            Self::Sliced(front, entry, len) => slices::body(front, asked, entry, len, &(0..len)),
            Self::Unwanted(_) => Body::unknown(),
        }
    }

    fn part(self, asked: &Asked, range: &Range<u64>) -> Body {
        let len = range.end.saturating_sub(range.start);
        match self {
            Self::Whole(whole) => Body::whole(whole.range(range)),
            Self::Arriving(reading, _) => arriving(asked, reading.range(range), Some(len)),
            Self::Sliced(front, entry, whole) => slices::body(front, asked, entry, whole, range),
            Self::Unwanted(_) => Body::unknown(),
        }
    }
}

/// A body that is sent while it arrives. Who fills it keeps the time.
pub(super) fn arriving(asked: &Asked, reading: Reading, len: Option<u64>) -> Body {
    let frames = stream::try_unfold(reading, |mut reading| async move {
        let part = reading.next().await.map_err(Broken::from)?;
        Ok(part.map(|part| (Frame::data(part), reading)))
    });
    Body::frames(Box::pin(frames), len, asked.client.gateway.timeouts.chunk.saturating_mul(4))
}

fn with(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
