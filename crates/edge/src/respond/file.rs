//! Bytes of a known length: files and single blocks, whole or in part (RFC 9110, sections 13 and 14).

use std::ops::Range;
use std::sync::Arc;

use atoll_cache::cut;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{insert, modified, none_match, not_modified};
use crate::body::Body;
use crate::client::{UNNAMED, X_REQUEST_ID};
use crate::sign::Said;

/// Everything about bytes but themselves.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    /// The headers of an answer with all of them.
    pub(crate) headers: HeaderMap,
    /// Their strong tag.
    pub(crate) etag: HeaderValue,
    /// How many they are.
    pub(crate) len: u64,
    /// Whether the site itself says how long they may be cached, whatever its name says.
    pub(crate) own_age: bool,
    /// What can be said of an answer with all of them, so that it is signed.
    pub(crate) said: Option<Arc<Said>>,
    /// Whether parts of them are served.
    ranges: bool,
}

/// What a client is to be sent of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Nothing: it has them.
    NotModified,
    /// All.
    Whole,
    /// Some; never empty.
    Range(Range<u64>),
    /// It asked for what lies behind the end.
    Unsatisfiable,
}

impl Described {
    /// Bytes with these headers and that tag, `len` of them.
    pub(crate) fn new(mut headers: HeaderMap, etag: HeaderValue, len: u64) -> Self {
        headers.insert(header::ETAG, etag.clone());
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
        // Every answer is named last: with a place for that, a copy of these headers need not grow for it.
        headers.insert(X_REQUEST_ID, UNNAMED);
        Self { headers, etag, len, own_age: false, said: None, ranges: true }
    }

    /// The same, always served whole.
    pub(crate) fn without_ranges(self) -> Self {
        Self { ranges: false, ..self }
    }

    /// What a client that sent `request` is to be sent.
    pub(crate) fn part(&self, request: &HeaderMap) -> Part {
        // Most requests have none of them.
        if request.contains_key(header::IF_NONE_MATCH) && none_match(request, &self.etag) {
            return Part::NotModified;
        }
        if request.contains_key(header::IF_MODIFIED_SINCE) && modified::is_unmodified(request, &self.headers) {
            return Part::NotModified;
        }
        match request.get(header::RANGE) {
            Some(range) if self.ranges && self.if_range(request) => self.range(range),
            _ => Part::Whole,
        }
    }

    /// The response, given the body of that part.
    pub(crate) fn respond(&self, part: &Part, body: Body) -> Response<Body> {
        match part {
            Part::NotModified => not_modified(&self.headers),
            Part::Whole => self.with(StatusCode::OK, body),
            Part::Range(range) => {
                let content_range = format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), self.len);
                let len = range.end.saturating_sub(range.start);
                self.with_range(StatusCode::PARTIAL_CONTENT, len, content_range, body)
            }
            Part::Unsatisfiable => {
                let content_range = format!("bytes */{}", self.len);
                let mut response = self.with_range(StatusCode::RANGE_NOT_SATISFIABLE, 0, content_range, Body::empty());
                response.headers_mut().remove(header::CONTENT_TYPE);
                response.headers_mut().remove(header::CACHE_CONTROL);
                response
            }
        }
    }

    /// The response from bytes that are all there.
    pub(crate) fn respond_from(&self, request: &HeaderMap, parts: &[Bytes]) -> Response<Body> {
        let part = self.part(request);
        let body = match &part {
            Part::Whole => Body::whole(parts.iter().cloned()),
            Part::Range(range) => Body::whole(cut(parts, range)),
            Part::NotModified | Part::Unsatisfiable => Body::empty(),
        };
        self.respond(&part, body)
    }

    fn with(&self, status: StatusCode, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = self.headers.clone();
        response
    }

    fn with_range(&self, status: StatusCode, len: u64, content_range: String, body: Body) -> Response<Body> {
        let mut response = self.with(status, body);
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(len));
        insert(response.headers_mut(), header::CONTENT_RANGE, content_range);
        response
    }

    /// Whether a range may be served: without `If-Range`, or if that names the tag (RFC 9110, section 13.1.5). A
    /// date never matches: it is a publisher's, and says nothing certain about the bytes.
    fn if_range(&self, request: &HeaderMap) -> bool {
        request.get(header::IF_RANGE).is_none_or(|tag| tag == self.etag)
    }

    /// Reads a `Range`. Of several the first is answered, and what is none with the whole (RFC 9110, section 14.2): that
    /// costs no more than one, however many there are.
    fn range(&self, value: &HeaderValue) -> Part {
        let Some(spec) = value.to_str().ok().and_then(|value| value.trim().strip_prefix("bytes=")) else {
            return Part::Whole;
        };
        let first = spec.split(',').next().unwrap_or_default();
        let Some((from, to)) = first.trim().split_once('-') else { return Part::Whole };
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok());
        let range = match (number(from), number(to)) {
            (Some(None), Some(Some(last))) if from.is_empty() => self.len.saturating_sub(last)..self.len,
            (Some(Some(first)), Some(None)) if to.is_empty() => first..self.len,
            (Some(Some(first)), Some(Some(last))) if first <= last => first..last.saturating_add(1).min(self.len),
            _ => return Part::Whole,
        };
        if range.start < range.end { Part::Range(range) } else { Part::Unsatisfiable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(len: u64, headers: &[(&'static str, &str)]) -> Part {
        let etag = HeaderValue::from_static("\"tag\"");
        let described = Described::new(HeaderMap::new(), etag, len);
        let mut request = HeaderMap::new();
        for (name, value) in headers {
            request.insert(*name, value.parse().unwrap());
        }
        described.part(&request)
    }

    #[test]
    fn ranges_are_read() {
        for (spec, expected) in [
            ("bytes=0-0", Part::Range(0..1)),
            ("bytes=2-", Part::Range(2..10)),
            ("bytes=-3", Part::Range(7..10)),
            ("bytes=-30", Part::Range(0..10)),
            ("bytes=5-99", Part::Range(5..10)),
            ("bytes=5-18446744073709551615", Part::Range(5..10)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=5-4", Part::Whole),
            ("bytes=0-1,3-4", Part::Range(0..2)),
            ("bytes=+1-2", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=99999999999999999999-", Part::Whole),
            ("lines=1-2", Part::Whole),
        ] {
            assert_eq!(part(10, &[("range", spec)]), expected, "{spec}");
        }
        assert_eq!(part(0, &[("range", "bytes=0-")]), Part::Unsatisfiable);
    }

    #[test]
    fn a_range_is_bound_to_its_version() {
        assert_eq!(part(10, &[("range", "bytes=0-1"), ("if-range", "\"tag\"")]), Part::Range(0..2));
        assert_eq!(part(10, &[("range", "bytes=0-1"), ("if-range", "\"old\"")]), Part::Whole);
        assert_eq!(part(10, &[("range", "bytes=0-1"), ("if-none-match", "\"tag\"")]), Part::NotModified);
    }

    #[test]
    fn parts_are_cut_across_leaves() {
        let parts = [Bytes::from_static(b"abc"), Bytes::from_static(b"def"), Bytes::from_static(b"ghi")];
        assert_eq!(cut(&parts, &(2..7)).concat(), b"cdefg");
        assert_eq!(cut(&parts, &(3..6)), [Bytes::from_static(b"def")]);
    }
}
