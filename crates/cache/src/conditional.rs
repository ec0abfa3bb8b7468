//! Conditions in requests: those of visitors, which a stored response may meet, and our own, by which it is validated (RFC 9110,
//! section 13; RFC 9111, section 4.3). Pure.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::field;
use crate::stored::Stored;

/// The fields that make a request conditional.
pub const CONDITIONS: [HeaderName; 5] =
    [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE, header::IF_RANGE];
/// The longest tag that is compared, in bytes.
const TAG_BYTES_MAX: usize = 1024;

/// Whether a request asks for a response only if it changed, and the stored one is what it has (RFC 9110, section 13.2.2).
pub fn is_unchanged(stored: &Stored, request: &HeaderMap) -> bool {
    if !stored.status().is_success() {
        return false;
    }
    if request.contains_key(header::IF_NONE_MATCH) {
        let tag = stored.headers().get(header::ETAG);
        return field::members(request, &header::IF_NONE_MATCH)
            .any(|member| member == b"*" || tag.is_some_and(|tag| is_same(member, tag.as_bytes())));
    }
    let Some(since) = field::date(request, &header::IF_MODIFIED_SINCE) else { return false };
    // Without one of its own, when it was made (RFC 9111, section 4.3.2).
    let changed = field::date(stored.headers(), &header::LAST_MODIFIED);
    changed.or_else(|| field::date(stored.headers(), &header::DATE)).is_some_and(|changed| changed <= since)
}

/// Whether a request has conditions that only the origin can judge.
pub fn is_for_origin(request: &HeaderMap) -> bool {
    request.contains_key(header::IF_MATCH) || request.contains_key(header::IF_UNMODIFIED_SINCE)
}

/// Makes a request ask whether the stored response still holds, and nothing else.
pub fn validate(stored: &Stored, request: &mut HeaderMap) {
    for name in CONDITIONS {
        request.remove(name);
    }
    request.remove(header::RANGE);
    if let Some(tag) = stored.headers().get(header::ETAG).filter(|tag| tag.len() <= TAG_BYTES_MAX) {
        request.insert(header::IF_NONE_MATCH, quoted(tag));
    }
    if let Some(modified) = stored.headers().get(header::LAST_MODIFIED) {
        request.insert(header::IF_MODIFIED_SINCE, modified.clone());
    }
}

/// Whether `validate` had anything to ask by.
pub fn can_validate(stored: &Stored) -> bool {
    let headers = stored.headers();
    headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED)
}

/// A tag with its quotes, if its origin forgot them.
fn quoted(tag: &HeaderValue) -> HeaderValue {
    let bytes = tag.as_bytes();
    if bytes.contains(&b'"') {
        return tag.clone();
    }
    HeaderValue::from_bytes(&[b"\"", bytes, b"\""].concat()).unwrap_or_else(|_| tag.clone())
}

/// Weak comparison (RFC 9110, section 8.8.3.2).
fn is_same(one: &[u8], other: &[u8]) -> bool {
    fn opaque(tag: &[u8]) -> &[u8] {
        tag.strip_prefix(b"W/").unwrap_or(tag)
    }
    opaque(one) == opaque(other)
}
