//! Large objects of which parts are wanted: they are fetched and stored in slices. What is stored under their URL is the head alone;
//! each slice is of the version that it names, by a strong tag (RFC 9110, section 8.8.1), so that slices of two versions never meet.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use atoll_cache::{Entry, Flight, Found, Landed, Looked, Part, Rules, Times, Variant, conditional, part};
use atoll_fallback::Download;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request, response};
use http_body::Frame;
use http_body_util::BodyExt as _;

use super::{Asked, Front};
use crate::body::{Body, Broken};

/// Bytes of a slice.
const SLICE_BYTES: u64 = 1024 * 1024;
/// Objects up to so many bytes are stored as a whole, if they may be.
const WHOLE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The largest object that is sliced, in bytes.
const OBJECT_BYTES_MAX: u64 = 1 << 40;
/// Slices that are fetched at a time for one visitor: the one that is sent, and the next.
const AHEAD: usize = 2;

/// Why a slice is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// Its origin does not answer.
    Origin,
    /// It has another version.
    Version,
}

/// Stores the head of a large object, by an answer to somebody who wants a part of it: to be filled slice by slice.
pub(super) fn begin(
    front: &Front,
    asked: &Asked,
    (sent, begun): (&request::Parts, u64),
    times: Times,
    response: &Response<Download>,
) -> Option<Arc<Entry>> {
    let headers = response.headers();
    let len = match response.status() {
        StatusCode::OK => number(headers.get(header::CONTENT_LENGTH)?)?,
        // With `If-Range`, a part need not say all that the whole does (RFC 9110, section 15.3.7).
        StatusCode::PARTIAL_CONTENT if !sent.headers.contains_key(header::IF_RANGE) => content_range(headers)?.1,
        _ => return None,
    };
    let takes_ranges = headers.get(header::ACCEPT_RANGES).is_some_and(|unit| unit == "bytes");
    let known = response.status() == StatusCode::PARTIAL_CONTENT || takes_ranges;
    if sent.method != Method::GET || !known || !(WHOLE_BYTES_MAX..=OBJECT_BYTES_MAX).contains(&len) {
        return None;
    }
    strong_tag(headers)?;
    let mut head = whole_head(response.headers().clone());
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    let stored = front.rules.store((&sent.method, &asked.head.headers), &head, times).ok()?;
    let variant = Variant::of(&asked.head.headers, &head.headers)?;
    let (fill, writing) = front.store.begin(Some(0))?;
    writing.end();
    let entry = Entry::new(stored, variant, fill, begun);
    front.store.insert(&asked.key, Arc::clone(&entry));
    front.store.settle(&asked.key, &entry);
    Some(entry)
}

/// The head of a part, as that of the whole.
fn whole_head(mut headers: HeaderMap) -> response::Parts {
    for name in [header::CONTENT_RANGE, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.headers = headers;
    parts
}

/// The tag of a version whose bytes are all the same.
fn strong_tag(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut tags = headers.get_all(header::ETAG).iter();
    let (tag, other) = (tags.next()?, tags.next());
    let bytes = tag.as_bytes();
    let strong = bytes.len() >= 2 && bytes.starts_with(b"\"") && bytes.ends_with(b"\"");
    (strong && other.is_none()).then_some(tag)
}

/// Which bytes of how many a part is (RFC 9110, section 14.4).
fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, len) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    let (first, last, len) = (number(first)?, number(last)?, number(len)?);
    (first <= last && last < len).then(|| (first..last.saturating_add(1), len))
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}

/// Whether the answer from a stored head can begin: the first slice of it is there, or comes. If not, the head is forgotten.
pub(super) async fn is_ready(front: &Arc<Front>, asked: &Asked, entry: &Arc<Entry>) -> bool {
    let bodiless = asked.head.method != Method::GET || conditional::is_unchanged(&entry.stored, &asked.head.headers);
    let Some(len) = entry.sliced().filter(|_| !bodiless) else { return true };
    let first = match part(&entry.stored, &asked.head.headers, len) {
        Part::Whole => 0,
        Part::Range(range) => range.start / SLICE_BYTES,
        Part::Unsatisfiable => return true,
    };
    match slice(front, &asked.for_itself(), entry, len, first).await {
        Ok(_) => true,
        Err(Lost::Origin) => false,
        Err(Lost::Version) => {
            front.store.remove(&asked.key).await;
            false
        }
    }
}

/// Bytes of an object, slice by slice, from what is stored or from its origin.
pub(super) fn body(front: &Arc<Front>, asked: &Asked, entry: &Arc<Entry>, len: u64, range: &Range<u64>) -> Body {
    let (front, entry, itself, wanted) =
        (Arc::clone(front), Arc::clone(entry), Arc::new(asked.for_itself()), range.clone());
    let limit = asked.client.gateway.timeouts.chunk.saturating_mul(4);
    let numbers = wanted.start / SLICE_BYTES..wanted.end.div_ceil(SLICE_BYTES);
    let slices = stream::iter(numbers).map(move |number| {
        let (front, entry, itself, wanted) =
            (Arc::clone(&front), Arc::clone(&entry), Arc::clone(&itself), wanted.clone());
        async move {
            let bytes = match slice(&front, &itself, &entry, len, number).await {
                Ok(bytes) => bytes,
                Err(lost) => {
                    if lost == Lost::Version {
                        front.store.remove(&itself.key).await;
                    }
                    return Err(Broken::from(atoll_cache::Broken));
                }
            };
            let start = number.saturating_mul(SLICE_BYTES);
            let index = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(bytes.len());
            Ok(Frame::data(bytes.slice(index(wanted.start)..index(wanted.end))))
        }
    });
    Body::frames(Box::pin(slices.buffered(AHEAD)), Some(range.end.saturating_sub(range.start)), limit)
}

/// A slice of a version.
async fn slice(front: &Arc<Front>, asked: &Asked, entry: &Arc<Entry>, len: u64, number: u64) -> Result<Bytes, Lost> {
    let key = asked.key.slice(number);
    let tag = strong_tag(entry.stored.headers()).ok_or(Lost::Version)?;
    let start = number.saturating_mul(SLICE_BYTES);
    let range = start..start.saturating_add(SLICE_BYTES).min(len);
    // Others fetch the same now and then; whoever has waited twice fetches for itself.
    for _ in 0..2 {
        let Looked { found, .. } = front.store.look(&key, &asked.head.headers).await;
        if let Found::Entry(stored) | Found::Stale(stored) = found
            && strong_tag(stored.stored.headers()) == Some(tag)
            && let Some(bytes) = whole(&stored).await
            && bytes.len() as u64 == range.end.saturating_sub(range.start)
        {
            return Ok(bytes);
        }
        match front.store.board(&key) {
            Flight::Follow(landing) => drop(landing.wait().await),
            Flight::Lead(leader) => {
                let fetched = fetch(front, asked, (tag, len), &range, number).await;
                leader.land(if fetched.is_ok() { Landed::Answered } else { Landed::Failed });
                return fetched;
            }
        }
    }
    fetch(front, asked, (tag, len), &range, number).await
}

/// The bytes of a stored slice.
async fn whole(entry: &Arc<Entry>) -> Option<Bytes> {
    if let Some(whole) = entry.fill.whole() {
        return match whole.parts.as_slice() {
            [one] => Some(one.clone()),
            parts => Some(parts.concat().into()),
        };
    }
    let (mut reading, mut bytes) = (entry.fill.read()?, BytesMut::new());
    while let Some(part) = reading.next().await.ok()? {
        bytes.extend_from_slice(&part);
    }
    Some(bytes.freeze())
}

/// Fetches a slice from the origin, and stores it.
async fn fetch(
    front: &Arc<Front>,
    asked: &Asked,
    (tag, len): (&HeaderValue, u64),
    range: &Range<u64>,
    number: u64,
) -> Result<Bytes, Lost> {
    let mut sent = asked.head.clone();
    Asked::for_all(&mut sent.headers);
    let wanted = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
    sent.headers.insert(header::RANGE, HeaderValue::try_from(wanted).map_err(|_| Lost::Origin)?);
    sent.headers.insert(header::IF_RANGE, tag.clone());
    let (begun, asked_at) = (front.store.now(), SystemTime::now());
    let response = match front.send(asked, &sent, None).await {
        Ok(response) => super::fetch::stripped(response),
        Err(error) => {
            tracing::debug!(%error, key = %asked.key, number, "a slice cannot be fetched");
            return Err(Lost::Origin);
        }
    };
    let times = Times { request: asked_at, response: SystemTime::now() };
    let (parts, mut body) = response.into_parts();
    let same = strong_tag(&parts.headers) == Some(tag) && content_range(&parts.headers) == Some((range.clone(), len));
    if parts.status != StatusCode::PARTIAL_CONTENT || !same {
        tracing::debug!(key = %asked.key, number, status = %parts.status, "the origin has another version");
        return Err(if parts.status.is_server_error() { Lost::Origin } else { Lost::Version });
    }
    let wanted = usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| Lost::Version)?;
    let mut bytes = BytesMut::with_capacity(wanted);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Lost::Origin)?.into_data() else { continue };
        if bytes.len().saturating_add(data.len()) > wanted {
            return Err(Lost::Version);
        }
        bytes.extend_from_slice(&data);
    }
    if bytes.len() != wanted {
        return Err(Lost::Origin);
    }
    let bytes = bytes.freeze();
    keep(front, asked, (&front.rules, whole_head(parts.headers)), (begun, times), number, &bytes).await;
    Ok(bytes)
}

/// Stores a slice, if it may be.
async fn keep(
    front: &Front,
    asked: &Asked,
    (rules, head): (&Rules, response::Parts),
    (begun, times): (u64, Times),
    number: u64,
    bytes: &Bytes,
) -> Option<()> {
    let stored = rules.store((&Method::GET, &asked.head.headers), &head, times).ok()?;
    let variant = Variant::of(&asked.head.headers, &head.headers)?;
    let (fill, writing) = front.store.begin(Some(bytes.len() as u64))?;
    let key = asked.key.slice(number);
    let entry = Entry::new(stored, variant, fill, begun);
    front.store.insert(&key, Arc::clone(&entry));
    writing.push(bytes.clone()).await;
    writing.end();
    front.store.settle(&key, &entry);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_say_which_bytes_they_are() {
        let said = |text: &'static str| {
            content_range(&HeaderMap::from_iter([(header::CONTENT_RANGE, HeaderValue::from_static(text))]))
        };
        assert_eq!(said("bytes 0-4/10"), Some((0..5, 10)));
        for wrong in ["bytes 5-4/10", "bytes 0-10/10", "bytes */10", "bytes 0-4/*", "bytes +0-4/10", "items 0-4/10", ""]
        {
            assert_eq!(said(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_strong_tags_name_a_version() {
        let tag = |text: &'static str| HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static(text))]);
        assert!(strong_tag(&tag("\"a\"")).is_some());
        for weak in ["W/\"a\"", "a", "\"", ""] {
            assert!(strong_tag(&tag(weak)).is_none(), "{weak}");
        }
    }
}
