//! What of a message concerns one connection only, and what each hop adds: RFC 9110, section 7.6, RFC 7239 and RFC 8586. Pure.

use std::net::IpAddr;

use http::header::Entry;
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

/// What cannot be told (RFC 7239, section 6.2).
const UNKNOWN: HeaderValue = HeaderValue::from_static("unknown");

/// What a field is about, if it is not about the message itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// One connection, whether `Connection` names it or not.
    Connection,
    /// By it a proxy tells an origin about its client. From a stranger it is a lie, and answers to lies would be stored for everybody.
    Proxies,
    /// Some servers take it for another method than the request has.
    Method,
    /// It belongs into the head of a message alone: servers that put head and trailers together would believe it (RFC 9110, section
    /// 6.5.1).
    Head,
}

impl About {
    /// By names, since looking through what is there beats looking for each that might be.
    fn of(name: &HeaderName) -> Option<Self> {
        match name.as_str() {
            "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-authentication-info"
            | "http2-settings"
            | "expect" => Some(Self::Connection),
            "forwarded" | "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto" | "x-forwarded-port"
            | "x-forwarded-prefix" | "x-forwarded-scheme" | "x-forwarded-server" | "x-real-ip" | "x-original-url"
            | "x-rewrite-url" => Some(Self::Proxies),
            "x-http-method-override" | "x-http-method" | "x-method-override" => Some(Self::Method),
            "cdn-loop" | "via" | "host" | "cookie" | "authorization" | "content-length" => Some(Self::Head),
            _ => None,
        }
    }
}

/// What origins are told about who sends requests for one host over one connection, in the words that they are told it.
#[derive(Clone, Debug)]
pub struct Hop {
    name: HeaderValue,
    client: HeaderValue,
    host: HeaderValue,
    scheme: HeaderValue,
    forwarded: HeaderValue,
    trusted: bool,
}

impl Hop {
    /// `name` is what this node calls itself in `CDN-Loop`, unlike all others: a token. `trusted` is a client that is a proxy which is
    /// believed, and `https` whether the visitor speaks TLS.
    pub fn new(name: &str, (client, trusted): (IpAddr, bool), host: &HeaderValue, https: bool) -> Self {
        let scheme = if https { "https" } else { "http" };
        let client = client.to_canonical();
        let (open, close) = if client.is_ipv6() { ("\"[", "]\"") } else { ("", "") };
        let quoted = host.to_str().unwrap_or_default().replace(['"', '\\'], "");
        let forwarded = format!("for={open}{client}{close};host=\"{quoted}\";proto={scheme}");
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(UNKNOWN);
        Self {
            name: value(name.to_owned()),
            client: value(client.to_string()),
            host: host.clone(),
            scheme: HeaderValue::from_static(scheme),
            forwarded: value(forwarded),
            trusted,
        }
    }

    /// The host.
    pub(crate) fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Whether it is of requests for this host, over TLS or not.
    pub fn is_for(&self, host: &HeaderValue, https: bool) -> bool {
        self.host == *host && (self.scheme == "https") == https
    }

    /// Looks whether a request came through here before, or through too many (RFC 8586).
    ///
    /// # Errors
    /// [`OriginError::Loop`].
    pub fn check(&self, headers: &HeaderMap) -> Result<(), OriginError> {
        let members = list(headers, &CDN_LOOP).map(|member| member.split(';').next().unwrap_or_default().trim());
        let is_own = |member: &str| member.as_bytes().eq_ignore_ascii_case(self.name.as_bytes());
        match members.take(HOPS_MAX + 1).enumerate().any(|(n, member)| n == HOPS_MAX || is_own(member)) {
            true => Err(OriginError::Loop),
            false => Ok(()),
        }
    }

    /// Adds to a request what the origin is to know about who sent it.
    pub fn announce(&self, headers: &mut HeaderMap, version: Version) {
        if !self.trusted {
            remove(headers, &[About::Proxies]);
        }
        // What is added here, and by the origin's own settings.
        headers.reserve(ADDED);
        add(headers, X_FORWARDED_FOR, &self.client);
        headers.entry(X_FORWARDED_HOST).or_insert_with(|| self.host.clone());
        headers.entry(X_FORWARDED_PROTO).or_insert_with(|| self.scheme.clone());
        add(headers, FORWARDED, &self.forwarded);
        add(headers, CDN_LOOP, &self.name);
        via(headers, version);
    }
}

/// Takes out of a request what concerned the connection that it came by.
pub fn strip_request(method: &Method, headers: &mut HeaderMap) {
    if !headers.keys().any(|name| matches!(About::of(name), Some(About::Connection | About::Method))) {
        return;
    }
    // Trailers are asked for hop by hop, and we pass them on.
    let trailers = list(headers, &header::TE).any(|member| member.eq_ignore_ascii_case("trailers"));
    strip(headers);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if *method == Method::GET || *method == Method::HEAD {
        remove(headers, &[About::Method]);
    }
}

/// Takes out of a request's trailers what belongs into its head alone.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    remove(trailers, &[About::Connection, About::Proxies, About::Method, About::Head]);
}

/// Takes out of an answer what concerned the connection that it came by.
pub fn strip_response(headers: &mut HeaderMap) {
    strip(headers);
}

fn strip(headers: &mut HeaderMap) {
    if !headers.keys().any(|name| About::of(name) == Some(About::Connection)) {
        return;
    }
    // Most name no field, or only what is removed in any case. The length is the message's, whatever is said of it.
    let others =
        |name: &&str| !["close", "keep-alive", "content-length"].iter().any(|known| known.eq_ignore_ascii_case(name));
    let named = list(headers, &header::CONNECTION).filter(others).filter_map(|name| name.parse().ok());
    for name in named.collect::<Vec<HeaderName>>() {
        headers.remove(name);
    }
    remove(headers, &[About::Connection]);
}

/// Removes all fields that are about one of these, of which most messages have few.
fn remove(headers: &mut HeaderMap, about: &[About]) {
    let is_one = |name: &&HeaderName| About::of(name).is_some_and(|of| about.contains(&of));
    while let Some(name) = headers.keys().find(is_one).cloned() {
        headers.remove(name);
    }
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
    add(headers, header::VIA, &HeaderValue::from_static(via));
}

/// Adds a member to a list, in the line of those before it.
fn add(headers: &mut HeaderMap, name: HeaderName, member: &HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(entry) => drop(entry.insert(member.clone())),
        Entry::Occupied(mut entry) => {
            let lines: Vec<&[u8]> = entry.iter().chain([member]).map(HeaderValue::as_bytes).collect();
            if let Ok(line) = HeaderValue::try_from(lines.join(&b", "[..])) {
                entry.insert(line);
            }
        }
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

    fn hop(trusted: bool) -> Hop {
        let client = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
        Hop::new("atoll-1", (client, trusted), &HeaderValue::from_static("edge.example"), true)
    }

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
        hop(false).announce(&mut found, Version::HTTP_11);
        assert_eq!(found["x-forwarded-for"], "192.0.2.1");
        assert_eq!(found["x-forwarded-host"], "edge.example");
        assert_eq!(found["forwarded"], "for=192.0.2.1;host=\"edge.example\";proto=https");
        assert_eq!((&found["via"], &found["cdn-loop"]), (&"1.1 atoll".parse().unwrap(), &"atoll-1".parse().unwrap()));
        let mut found = headers(&lines);
        hop(true).announce(&mut found, Version::HTTP_11);
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
        let check = |value: &'static str| hop(false).check(&headers(&[("cdn-loop", value)]));
        assert!(matches!(check("other, ATOLL-1; x=\"y\""), Err(OriginError::Loop)));
        assert!(check("other, atoll-2").is_ok());
        let many = "a,".repeat(HOPS_MAX + 1);
        let mut found = HeaderMap::new();
        found.insert(CDN_LOOP, many.parse().unwrap());
        assert!(hop(false).check(&found).is_err());
    }
}
