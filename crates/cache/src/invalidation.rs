//! What a request that changes something makes stale: RFC 9111, section 4.4. Pure.

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri, header};

/// The paths, with their queries, that are no longer what was stored after a request for `target` was answered. `authorities` are
/// the names of the origin: what another says about its URLs counts for nothing.
pub fn invalidated(
    method: &Method,
    target: &Uri,
    (status, headers): (StatusCode, &HeaderMap),
    authorities: &[&str],
) -> Vec<String> {
    let safe = method.is_safe() || method.as_str() == "QUERY";
    if safe || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let path = |uri: &Uri| uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
    let mut found = vec![path(target)];
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let Some(text) = headers.get(name).and_then(|value| value.to_str().ok()) else { continue };
        let text = text.split('#').next().unwrap_or_default();
        found.extend(resolved(target, text, authorities));
    }
    found
}

/// The path of a reference, if it is of one of `authorities`.
fn resolved(target: &Uri, text: &str, authorities: &[&str]) -> Option<String> {
    let absolute = |uri: Uri| {
        let authority = uri.authority()?.as_str();
        let own = authorities.iter().any(|own| own.eq_ignore_ascii_case(authority));
        own.then(|| uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned())
    };
    if let Some(rest) = text.strip_prefix("//") {
        return absolute(format!("http://{rest}").parse().ok()?);
    }
    if text.starts_with('/') {
        return text.parse::<PathAndQuery>().ok().map(|path| path.as_str().to_owned());
    }
    if text.contains("://") {
        return absolute(text.parse().ok()?);
    }
    if text.is_empty() || text.starts_with('?') || text.contains("..") || text.contains("./") {
        return None;
    }
    let folder = target.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{text}").parse::<PathAndQuery>().ok().map(|path| path.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(method: Method, status: u16, location: &'static str) -> Vec<String> {
        let headers = HeaderMap::from_iter([(header::LOCATION, location.parse().unwrap())]);
        let status = StatusCode::from_u16(status).unwrap();
        invalidated(&method, &"/a/b?c".parse().unwrap(), (status, &headers), &["edge.example", "Origin.example:8080"])
    }

    #[test]
    fn what_changed_is_named() {
        assert_eq!(after(Method::POST, 201, "/x?y#z"), ["/a/b?c", "/x?y"]);
        assert_eq!(after(Method::DELETE, 302, "http://origin.example:8080/x"), ["/a/b?c", "/x"]);
        assert_eq!(after(Method::PUT, 200, "//edge.example/x"), ["/a/b?c", "/x"]);
        assert_eq!(after(Method::PUT, 200, "x"), ["/a/b?c", "/a/x"]);
        assert_eq!(after(Method::from_bytes(b"M-SEARCH").unwrap(), 200, "http://other.example/x"), ["/a/b?c"]);
    }

    #[test]
    fn failures_and_safe_methods_change_nothing() {
        assert_eq!(after(Method::POST, 500, "/x"), [""; 0]);
        assert_eq!(after(Method::GET, 200, "/x"), [""; 0]);
    }
}
