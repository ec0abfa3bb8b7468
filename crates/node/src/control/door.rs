//! Who may ask what: the socket everything, the admin listener what its checks allow.

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use sha2::{Digest as _, Sha256};

use super::{Body, events};

/// Paths that show and change nothing, open to whoever reaches the admin listener.
const OPEN: [&str; 5] = ["/", "/healthz", "/readyz", "/metrics", "/v1/status"];

/// A way in.
#[derive(Debug)]
pub(crate) enum Door {
    /// The CLI's socket: file permissions did the check.
    Socket,
    /// The admin listener.
    Admin {
        /// Host names that are the node's own, beside `localhost` and IP addresses.
        hosts: Vec<String>,
        /// SHA-256 of the bearer token.
        token: [u8; 32],
    },
}

impl Door {
    /// The admin door with this token.
    pub(crate) fn admin(hosts: Vec<String>, token: &str) -> Self {
        Self::Admin { hosts, token: Sha256::digest(token).into() }
    }

    /// Lets a request in, or answers it.
    pub(crate) fn admit<B>(&self, request: &Request<B>) -> Result<(), Response<Body>> {
        let Self::Admin { hosts, token } = self else { return Ok(()) };
        let refuse = |status, text| Err(events::error(status, text));
        let Some(host) = single(request.headers(), HOST.as_str()).filter(|host| is_own(host, hosts)) else {
            return refuse(
                StatusCode::MISDIRECTED_REQUEST,
                "this listener answers by IP address, localhost, or admin.hosts",
            );
        };
        // A page of another origin may link here, but not ask here on its visitor's behalf.
        let same = |origin: &str| origin.strip_prefix("http://").is_some_and(|from| from.eq_ignore_ascii_case(host));
        if request.headers().contains_key(ORIGIN) && !single(request.headers(), ORIGIN.as_str()).is_some_and(same) {
            return refuse(StatusCode::FORBIDDEN, "requests from other origins are refused");
        }
        let reads = request.method() == Method::GET || request.method() == Method::HEAD;
        if reads && OPEN.contains(&request.uri().path()) {
            return Ok(());
        }
        let bearer = single(request.headers(), AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
        // Digests are compared, so that the time taken tells nothing about the token.
        match bearer {
            Some(bearer) if <[u8; 32]>::from(Sha256::digest(bearer)) == *token => Ok(()),
            _ => refuse(StatusCode::UNAUTHORIZED, "say `Authorization: Bearer` and the token in admin.token"),
        }
    }
}

/// The value of a header that is there exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether a Host header names this listener. Other names could be a rebound DNS name of an attacker's.
fn is_own(host: &str, hosts: &[String]) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok()
        || hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Result<(), u16> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let door = Door::admin(vec!["edge.example".to_owned()], "secret");
        door.admit(&request.body(()).unwrap()).map_err(|answer| answer.status().as_u16())
    }

    #[test]
    fn status_is_open_and_changes_need_the_token() {
        let host = ("host", "127.0.0.1:8081");
        assert_eq!(ask("GET", "/v1/status", &[host]), Ok(()));
        assert_eq!(ask("POST", "/v1/gc", &[host]), Err(401));
        assert_eq!(ask("GET", "/v1/pins", &[host]), Err(401));
        assert_eq!(ask("POST", "/v1/gc", &[host, ("authorization", "Bearer wrong")]), Err(401));
        assert_eq!(ask("POST", "/v1/gc", &[host, ("authorization", "Bearer secret")]), Ok(()));
    }

    #[test]
    fn a_rebound_name_and_a_foreign_page_are_refused() {
        assert_eq!(ask("GET", "/v1/status", &[("host", "evil.example")]), Err(421));
        assert_eq!(ask("GET", "/v1/status", &[]), Err(421));
        assert_eq!(ask("GET", "/v1/status", &[("host", "edge.example:1"), ("host", "localhost")]), Err(421));
        assert_eq!(ask("GET", "/v1/status", &[("host", "edge.example:1")]), Ok(()));
        let host = ("host", "localhost:8081");
        assert_eq!(ask("GET", "/v1/status", &[host, ("origin", "http://evil.example")]), Err(403));
        assert_eq!(ask("GET", "/v1/status", &[host, ("origin", "null")]), Err(403));
        assert_eq!(ask("GET", "/v1/status", &[host, ("origin", "http://localhost:8081")]), Ok(()));
    }
}
