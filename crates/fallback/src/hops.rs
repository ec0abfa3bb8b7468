//! What of a message concerns one connection only, and what each hop adds: RFC 9110, section 7.6, RFC 7239 and RFC 8586. Pure.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

use crate::error::OriginError;

/// The most members of `CDN-Loop`, and of the fields that say through whom a request came.
const HOPS_MAX: usize = 32;

/// About how many fields a request has more when it leaves.
const ADDED: usize = 8;

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields of one connection, whether `Connection` names them or not.
const OF_CONNECTION: [HeaderName; 11] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("http2-settings"),
    header::EXPECT,
];

/// Fields by which a proxy tells an origin about its client. From a stranger they are lies, and answers to lies would be stored for
/// everybody.
const OF_PROXIES: [HeaderName; 11] = [
    FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];

/// Fields that some servers take for another method than the request has.
const OF_METHODS: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// The hop of a request.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// What this node calls itself: in `Via`, and unlike all others in `CDN-Loop`.
    pub name: &'a str,
    /// Who sent it.
    pub client: IpAddr,
    /// Whether that is a proxy that is believed.
    pub trusted: bool,
    /// Whether the visitor speaks TLS.
    pub https: bool,
    /// The host that the visitor asked for.
    pub host: &'a str,
}

/// Takes out of a request what concerned the connection that it came by.
pub fn strip_request(method: &Method, headers: &mut HeaderMap) {
    // Trailers are asked for hop by hop, and we pass them on.
    let trailers = list(headers, &header::TE).any(|member| member.eq_ignore_ascii_case("trailers"));
    strip(headers);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if *method == Method::GET || *method == Method::HEAD {
        remove(headers, &OF_METHODS);
    }
}

/// Takes out of a request's trailers what belongs into its head alone: servers that put both together would believe it (RFC 9110,
/// section 6.5.1).
pub fn strip_trailers(trailers: &mut HeaderMap) {
    let of_head = [CDN_LOOP, header::VIA, header::HOST, header::COOKIE, header::AUTHORIZATION, header::CONTENT_LENGTH];
    for name in OF_CONNECTION.into_iter().chain(OF_PROXIES).chain(OF_METHODS).chain(of_head) {
        trailers.remove(name);
    }
}

/// Takes out of an answer what concerned the connection that it came by.
pub fn strip_response(headers: &mut HeaderMap) {
    strip(headers);
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = list(headers, &header::CONNECTION).filter_map(|name| name.parse().ok()).collect();
    // The length is the message's, whatever is said of it.
    for name in named.into_iter().filter(|name| *name != header::CONTENT_LENGTH) {
        headers.remove(name);
    }
    remove(headers, &OF_CONNECTION);
}

/// Removes fields, of which there are few. Most messages have few too, and none of these: looking through what is there beats looking
/// for each.
fn remove(headers: &mut HeaderMap, names: &[HeaderName]) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| names.contains(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Adds to a request what the origin is to know about who sent it.
///
/// # Errors
/// [`OriginError::Loop`] if it came through here before, or through too many.
pub fn announce(headers: &mut HeaderMap, hop: &Hop<'_>, version: Version) -> Result<(), OriginError> {
    let members = list(headers, &CDN_LOOP).map(|member| member.split(';').next().unwrap_or_default().trim());
    if members.take(HOPS_MAX + 1).enumerate().any(|(n, member)| n == HOPS_MAX || member.eq_ignore_ascii_case(hop.name))
    {
        return Err(OriginError::Loop);
    }
    if !hop.trusted {
        remove(headers, &OF_PROXIES);
    }
    // What is added here, and by the origin's own settings.
    headers.reserve(ADDED);
    let scheme = if hop.https { "https" } else { "http" };
    let client = hop.client.to_canonical().to_string();
    add(headers, X_FORWARDED_FOR, &client);
    if !headers.contains_key(X_FORWARDED_HOST) {
        add(headers, X_FORWARDED_HOST, hop.host);
    }
    if !headers.contains_key(X_FORWARDED_PROTO) {
        add(headers, X_FORWARDED_PROTO, scheme);
    }
    let (open, close) = if hop.client.to_canonical().is_ipv6() { ("\"[", "]\"") } else { ("", "") };
    let host = hop.host.replace(['"', '\\'], "");
    add(headers, FORWARDED, &format!("for={open}{client}{close};host=\"{host}\";proto={scheme}"));
    add(headers, CDN_LOOP, hop.name);
    via(headers, version);
    Ok(())
}

/// Adds to a message that it came through here (RFC 9110, section 7.6.3).
pub fn via(headers: &mut HeaderMap, version: Version) {
    let via = match version {
        Version::HTTP_09 => "0.9 atoll",
        Version::HTTP_10 => "1.0 atoll",
        Version::HTTP_2 => "2 atoll",
        Version::HTTP_3 => "3 atoll",
        _ => "1.1 atoll",
    };
    add(headers, header::VIA, via);
}

/// Adds a member to a list, in the line of those before it.
fn add(headers: &mut HeaderMap, name: HeaderName, member: &str) {
    let mut line = Vec::new();
    for before in headers.get_all(&name) {
        line.extend_from_slice(before.as_bytes());
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(member.as_bytes());
    if let Ok(value) = HeaderValue::try_from(line) {
        headers.insert(name, value);
    }
}

/// The members of a list of tokens.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOP: Hop<'_> = Hop {
        name: "atoll-1",
        client: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        trusted: false,
        https: true,
        host: "edge.example",
    };

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_concerns_a_connection_stays_on_it() {
        let mut found = headers(&[
            ("connection", "close, X-Own"),
            ("connection", "content-length"),
            ("x-own", "1"),
            ("keep-alive", "5"),
            ("te", "gzip, trailers"),
            ("upgrade", "h2c"),
            ("content-length", "3"),
            ("x-http-method-override", "DELETE"),
            ("accept", "a"),
        ]);
        strip_request(&Method::GET, &mut found);
        let expected = headers(&[("te", "trailers"), ("connection", "te"), ("content-length", "3"), ("accept", "a")]);
        assert_eq!(found, expected);
    }

    #[test]
    fn strangers_say_nothing_about_who_they_are() {
        let lines = [("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=10.0.0.1"), ("x-forwarded-host", "evil")];
        let mut found = headers(&lines);
        announce(&mut found, &HOP, Version::HTTP_11).unwrap();
        assert_eq!(found["x-forwarded-for"], "192.0.2.1");
        assert_eq!(found["x-forwarded-host"], "edge.example");
        assert_eq!(found["forwarded"], "for=192.0.2.1;host=\"edge.example\";proto=https");
        assert_eq!((&found["via"], &found["cdn-loop"]), (&"1.1 atoll".parse().unwrap(), &"atoll-1".parse().unwrap()));
        let mut found = headers(&lines);
        announce(&mut found, &Hop { trusted: true, ..HOP }, Version::HTTP_11).unwrap();
        assert_eq!(found["x-forwarded-for"], "10.0.0.1, 192.0.2.1");
        assert_eq!(found["x-forwarded-host"], "evil");
    }

    #[test]
    fn trailers_say_nothing_that_belongs_before_the_body() {
        let mut found = headers(&[("x-sum", "1"), ("x-forwarded-for", "10.0.0.1"), ("cookie", "a=b"), ("te", "x")]);
        strip_trailers(&mut found);
        assert_eq!(found, headers(&[("x-sum", "1")]));
    }

    #[test]
    fn loops_are_refused() {
        let check = |value: &'static str| announce(&mut headers(&[("cdn-loop", value)]), &HOP, Version::HTTP_11);
        assert!(matches!(check("other, ATOLL-1; x=\"y\""), Err(OriginError::Loop)));
        assert!(check("other, atoll-2").is_ok());
        let many = "a,".repeat(HOPS_MAX + 1);
        let mut found = HeaderMap::new();
        found.insert(CDN_LOOP, many.parse().unwrap());
        assert!(announce(&mut found, &HOP, Version::HTTP_11).is_err());
    }
}
