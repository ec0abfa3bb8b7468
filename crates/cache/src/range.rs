//! Which part of a stored body a request wants: RFC 9110, section 14. Pure.

use std::ops::Range;

use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::field;
use crate::stored::Stored;

/// What of a body is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All.
    Whole,
    /// These bytes.
    Range(Range<u64>),
    /// Bytes that it does not have.
    Unsatisfiable,
}

/// The part of a stored body of `len` bytes that a request wants. Of several ranges none is taken: the whole is an answer too.
pub fn part(stored: &Stored, request: &HeaderMap, len: u64) -> Part {
    let Some(range) = request.get(header::RANGE) else { return Part::Whole };
    if stored.status() != StatusCode::OK || !if_range(stored, request) {
        return Part::Whole;
    }
    let spec = range.to_str().ok().and_then(|range| range.trim().strip_prefix("bytes="));
    let Some((from, to)) = spec.and_then(|spec| spec.trim().split_once('-')) else { return Part::Whole };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let range = match (number(from), number(to)) {
        (None, Some(last)) if from.is_empty() => len.saturating_sub(last)..len,
        (Some(first), None) if to.is_empty() => first..len,
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(len),
        _ => return Part::Whole,
    };
    if range.start < range.end { Part::Range(range) } else { Part::Unsatisfiable }
}

/// Whether a range is of the version that the request means (RFC 9110, section 13.1.5).
fn if_range(stored: &Stored, request: &HeaderMap) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else { return true };
    let same = |name: &HeaderName| stored.headers().get(name) == Some(condition);
    if condition.as_bytes().contains(&b'"') {
        return !condition.as_bytes().starts_with(b"W/") && same(&header::ETAG);
    }
    // A date counts if nothing can have changed within its second.
    let modified = field::date(stored.headers(), &header::LAST_MODIFIED);
    let made = field::date(stored.headers(), &header::DATE);
    let settled = modified
        .zip(made)
        .is_some_and(|(modified, made)| made.duration_since(modified).is_ok_and(|between| between.as_secs() >= 1));
    settled && same(&header::LAST_MODIFIED)
}
