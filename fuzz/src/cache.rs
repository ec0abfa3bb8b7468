//! What origins and visitors say about storing answers, and about the connections that they came by.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use atoll_cache::{Profile, Purge, Reuse, Rules, Times, Variant, conditional, invalidated, invalidated_groups, part};
use atoll_fallback::hops::{self, Hop};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version};

/// The first line is a method, a status and a target; then the fields of a request and, behind an empty line, of its response.
pub fn cache(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut words = first.split(' ');
    let method = words.next().and_then(|word| Method::from_bytes(word.as_bytes()).ok()).unwrap_or(Method::GET);
    let status = words.next().and_then(|word| word.parse().ok()).unwrap_or(StatusCode::OK);
    let target: Uri = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
    let mut request = fields(lines.by_ref().take_while(|line| !line.is_empty()));
    let (mut response, ()) = Response::new(()).into_parts();
    (response.status, response.headers) = (status, fields(lines));
    hops::strip_request(&method, &mut request);
    hops::strip_response(&mut response.headers);
    assert!(!response.headers.contains_key("connection") && !response.headers.contains_key("transfer-encoding"));
    let received = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for profile in [Profile::Cdn, Profile::Rfc9111] {
        judge(&Rules { profile, ..Rules::default() }, (&method, &request), &response, received);
    }
    let changed = invalidated(&method, &target, (status, &response.headers), &["a.example"]);
    assert!(changed.len() <= 3 && changed.iter().all(|path| path.starts_with('/') || path.starts_with('*')));
    let _ = invalidated_groups(&response.headers);
    let _ = Purge::of(&first, true, None);
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let hop = Hop::new("atoll", (client, false), &HeaderValue::from_static("a.example"), true);
    if hop.check(&request).is_ok() {
        hop.announce(&mut request, Version::HTTP_11);
        // Nobody else says who asked.
        assert_eq!(request.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), ["127.0.0.1"]);
        assert!(hop.check(&request).is_err());
    }
}

fn judge(
    rules: &Rules,
    (method, request): (&Method, &HeaderMap),
    response: &http::response::Parts,
    received: SystemTime,
) {
    let Ok(stored) = rules.store((method, request), response, Times::at(received)) else { return };
    assert!(!stored.directives().private.is_all());
    if let Some(variant) = Variant::of(request, stored.headers()) {
        // It answers at least the request that it was the answer to.
        assert!(variant.matches(request, stored.headers()));
    }
    for later in [0, 1, 60, 1 << 33] {
        let now = received + Duration::from_secs(later);
        let fresh = rules.reuse(&stored, &HeaderMap::new(), now) == Reuse::Fresh;
        assert!(!fresh || stored.age(now) < stored.lifetime());
        let _ = (rules.on_error(&stored, None, now), stored.answer_headers(now));
    }
    let _ = (conditional::is_unchanged(&stored, request), conditional::is_for_origin(request));
    for len in [0, 1, 1000, u64::MAX] {
        let _ = part(&stored, request, len);
    }
    let mut validating = request.clone();
    conditional::validate(&stored, &mut validating);
    let _ = stored.freshened(rules, &response.headers, Times::at(received));
}

/// Files of a cache on disk: a record of a response, the text in one, a journal, and the names in one.
pub fn stored(data: &[u8]) {
    atoll_cache::fuzz_files(data);
}

/// Fields, of each line one; what is none is left out.
fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.take(256) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
