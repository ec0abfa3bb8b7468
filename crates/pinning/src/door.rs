//! Who may ask at all: by Host, by the origin of a web page, and by token.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    AUTHORIZATION, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

use crate::config::Config;
use crate::error::Failure;

/// The checks before a request is looked at.
#[derive(Debug)]
pub(crate) struct Door {
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// A request that was let in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The web page that may read the answer.
    origin: Option<HeaderValue>,
}

impl Door {
    pub(crate) fn new(config: &Config) -> Self {
        Self { hosts: config.hosts.clone(), origins: config.allowed_origins.clone() }
    }

    /// Lets a request in by its Host and Origin.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<Admitted, Failure> {
        // Other names could be a rebound DNS name of an attacker's.
        single(headers, HOST.as_str()).filter(|host| self.is_own(host)).ok_or(Failure::Host)?;
        if !headers.contains_key(ORIGIN) {
            return Ok(Admitted::default());
        }
        let origin = single(headers, ORIGIN.as_str()).ok_or(Failure::Origin)?;
        let allowed = |known: &String| known == "*" || known.eq_ignore_ascii_case(origin);
        if !self.origins.iter().any(allowed) {
            return Err(Failure::Origin);
        }
        Ok(Admitted { origin: HeaderValue::from_str(origin).ok() })
    }

    fn is_own(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
        let name = authority.host().trim_matches(['[', ']']);
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<std::net::IpAddr>().is_ok()
            || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

impl Admitted {
    /// Lets the web page read the answer (Fetch standard, CORS protocol).
    pub(crate) fn mark(self, headers: &mut HeaderMap) {
        if let Some(origin) = self.origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(VARY, HeaderValue::from_static("Origin"));
        }
    }

    /// Whether a web page asks, so that a preflight has a meaning.
    pub(crate) fn is_page(&self) -> bool {
        self.origin.is_some()
    }
}

/// What a preflight is told.
pub(crate) const PREFLIGHT: [(http::HeaderName, &str); 3] = [
    (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE"),
    (ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type"),
    (ACCESS_CONTROL_MAX_AGE, "600"),
];

/// The access token of a request.
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = single(headers, AUTHORIZATION.as_str())?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The value of a header that is there exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(headers: &[(&str, &str)]) -> Result<Admitted, Failure> {
        let config = Config {
            hosts: vec!["pins.example".to_owned()],
            allowed_origins: vec!["https://app.example".to_owned()],
            ..Config::default()
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        Door::new(&config).admit(&map)
    }

    #[test]
    fn a_rebound_name_and_a_foreign_page_are_refused() {
        assert!(admit(&[("host", "127.0.0.1:8082")]).is_ok() && admit(&[("host", "PINS.example:443")]).is_ok());
        assert_eq!(admit(&[("host", "evil.example")]), Err(Failure::Host));
        assert_eq!(admit(&[("host", "localhost"), ("host", "localhost")]), Err(Failure::Host));
        let host = ("host", "[::1]:8082");
        assert_eq!(admit(&[host, ("origin", "https://evil.example")]), Err(Failure::Origin));
        assert_eq!(admit(&[host, ("origin", "null")]), Err(Failure::Origin));
        assert!(admit(&[host, ("origin", "https://app.example")]).unwrap().is_page());
        assert_eq!(admit(&[]), Err(Failure::Host));
    }

    #[test]
    fn a_token_is_read_in_any_case_of_its_scheme() {
        let read = |value: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
            token(&headers).map(str::to_owned)
        };
        assert_eq!(read("Bearer x"), Some("x".to_owned()));
        assert_eq!(read("bearer  x "), Some("x".to_owned()));
        assert_eq!((read("Bearer "), read("Bearer"), read("Basic x")), (None, None, None));
    }
}
