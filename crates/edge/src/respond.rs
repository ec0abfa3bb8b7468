//! From what was found to an HTTP response: one file for each kind. Pure but for the bodies they hand over; a crash loses
//! nothing.

pub(crate) mod car;
pub(crate) mod contact;
pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod listing;
pub(crate) mod mime;
pub(crate) mod modified;
pub(crate) mod preview;
pub(crate) mod record;
pub(crate) mod redirect;

use atoll_content::reader::Resolved;
use atoll_core::{Resolution, SystemClock};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::body::Body;
use crate::negotiate::Wanted;
use crate::route::ContentPath;

pub(crate) use file::Described;

/// What is named by its CID never changes (Path Gateway, "Cache-Control"): 29,030,400 s, as all implementations say.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=29030400, immutable");
/// A listing is made by us, so that it changes with us.
const LISTING: HeaderValue = HeaderValue::from_static("public, max-age=604800, stale-while-revalidate=2678400");
/// What has expired is shown, if at all, to one client only.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Says that browsers may not guess the type.
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const X_IPFS_PATH: HeaderName = HeaderName::from_static("x-ipfs-path");
const X_IPFS_ROOTS: HeaderName = HeaderName::from_static("x-ipfs-roots");

/// The headers that every answer with content has: path, roots, and that any page may read it.
pub(crate) fn content_headers(path: &ContentPath, resolved: &Resolved) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    let roots: Vec<String> = resolved.roots.iter().map(ToString::to_string).collect();
    insert(&mut headers, X_IPFS_PATH, path.full());
    insert(&mut headers, X_IPFS_ROOTS, roots.join(","));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    allow_any_origin(&mut headers);
    headers
}

/// How long content may be cached: for ever under its CID, else as long as its name holds (Path Gateway,
/// "Cache-Control").
pub(crate) fn cache_control(path: &ContentPath) -> HeaderValue {
    path.resolution.as_ref().map_or(IMMUTABLE, |resolution| age(resolution, ""))
}

/// How long a page that we made of content may be cached.
pub(crate) fn page_cache_control(path: &ContentPath) -> HeaderValue {
    path.resolution.as_ref().map_or(LISTING, |resolution| age(resolution, ", stale-while-revalidate=2678400"))
}

/// Sets what is left of a name's lifetime.
pub(crate) fn set_age(headers: &mut HeaderMap, resolution: &Resolution) {
    headers.insert(header::CACHE_CONTROL, age(resolution, ""));
}

fn age(resolution: &Resolution, more: &str) -> HeaderValue {
    let now = SystemClock::now();
    if !resolution.is_valid(now) {
        return NO_STORE;
    }
    let value = format!("public, max-age={}{more}", resolution.max_age(now).as_secs());
    HeaderValue::try_from(value).unwrap_or(NO_STORE)
}

/// Lets any page read the answer: content is public (Path Gateway, "CORS").
pub(crate) fn allow_any_origin(headers: &mut HeaderMap) {
    const PAIRS: [(HeaderName, HeaderValue); 4] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS")),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Content-Type, Range, User-Agent, X-Requested-With, Atoll-Nonce"),
        ),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED),
    ];
    headers.extend(PAIRS);
}

/// What pages of other origins may read of an answer that is not signed.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Content-Length, Content-Range, X-Chunked-Output, X-Ipfs-Path, X-Ipfs-Roots, X-Stream-Output",
);
/// The same of one that is.
const EXPOSED_SIGNED: HeaderValue = HeaderValue::from_static(
    "Content-Length, Content-Range, X-Chunked-Output, X-Ipfs-Path, X-Ipfs-Roots, X-Stream-Output, Unencoded-Digest, \
     Atoll-Bundle, Atoll-Key, Atoll-Head, Atoll-Nonce, Signature-Input, Signature",
);

/// Lets pages of other origins read what a signature is made of, unless the site itself says what they may read.
pub(crate) fn expose_signature(headers: &mut HeaderMap) {
    if headers.get(header::ACCESS_CONTROL_EXPOSE_HEADERS) == Some(&EXPOSED) {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_SIGNED);
    }
}

/// The answer to a preflight.
pub(crate) fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    allow_any_origin(response.headers_mut());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response.headers_mut().insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

/// How a browser is to name what it saves; `None` where the path says enough.
pub(crate) fn disposition(wanted: &Wanted, fallback: Option<String>) -> Option<HeaderValue> {
    let attach = wanted.download || fallback.is_some();
    named(wanted.filename.clone().or(fallback), attach)
}

/// A name for what is saved, and whether it is to be saved at once.
pub(crate) fn named(name: Option<String>, attach: bool) -> Option<HeaderValue> {
    let kind = if attach { "attachment" } else { "inline" };
    let name = match name {
        Some(name) => name,
        None if attach => return Some(HeaderValue::from_static("attachment")),
        None => return None,
    };
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let encoded = utf8_percent_encode(&name, EXT_VALUE);
    HeaderValue::try_from(format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")).ok()
}

/// What stays as it is in an extended parameter (RFC 8187, section 3.2.1).
const EXT_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Whether a character can stand in a quoted `filename`.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ' | '(' | ')' | '+' | ',' | '=' | '@' | '~')
}

/// Sets a header to a text that is ASCII by construction; one that is not would be left out.
pub(crate) fn insert(headers: &mut HeaderMap, name: HeaderName, value: impl Into<String>) {
    if let Ok(value) = HeaderValue::try_from(value.into()) {
        headers.insert(name, value);
    }
}

/// Whether `If-None-Match` names `etag` (RFC 9110, section 13.1.2: weak comparison).
pub(crate) fn none_match(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let weak = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    let own = weak(etag.as_bytes());
    let listed = |value: &HeaderValue| {
        value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|tag| tag == b"*" || weak(tag) == own)
    };
    headers.get_all(header::IF_NONE_MATCH).iter().any(listed)
}

/// 304, with the headers that a cache updates (RFC 9110, section 15.4.5).
pub(crate) fn not_modified(headers: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    let kept = headers.iter().filter(|(name, _)| {
        !matches!(**name, header::CONTENT_TYPE | header::CONTENT_LENGTH | header::CONTENT_DISPOSITION)
    });
    response.headers_mut().extend(kept.map(|(name, value)| (name.clone(), value.clone())));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let etag = HeaderValue::from_static("\"abc\"");
        let matches = |list: &'static str| {
            none_match(&HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(list))]), &etag)
        };
        for list in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*", "\"x\",W/\"abc\",\"y\""] {
            assert!(matches(list), "{list}");
        }
        for list in ["abc", "\"ab\"", "", "\"x\""] {
            assert!(!matches(list), "{list}");
        }
    }

    #[test]
    fn a_file_name_cannot_leave_its_quotes() {
        let wanted = Wanted { filename: Some("a\"; x=\r\n\\ą.html".to_owned()), download: true, ..Wanted::default() };
        let value = disposition(&wanted, None).unwrap();
        assert_eq!(
            value.to_str().unwrap(),
            "attachment; filename=\"a__ x=____.html\"; filename*=UTF-8''a%22%3B%20x%3D%0D%0A%5C%C4%85.html"
        );
    }
}
