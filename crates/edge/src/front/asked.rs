//! What a visitor asks a site for, as its origin is to see it.

use std::sync::Arc;

use atoll_cache::{Key, conditional};
use atoll_fallback::hops;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header, request};
use hyper::ext::Protocol;

use super::{Front, METHODS, fields};
use crate::client::Client;
use crate::failure::Failure;
use crate::host::Seen;
use crate::route::TARGET_BYTES_MAX;

/// Which resource a request is for, as its origin is to see it.
pub(crate) struct RequestLine {
    method: Method,
    /// Path and query, or `*`.
    target: Uri,
    version: Version,
    /// The host that was asked for.
    host: HeaderValue,
    https: bool,
}

/// A request without what concerned its connection.
pub(crate) struct Asked {
    pub(crate) head: request::Parts,
    pub(crate) key: Key,
    pub(crate) client: Arc<Client>,
    /// The host that was asked for.
    pub(crate) host: HeaderValue,
    pub(crate) https: bool,
    bodiless: bool,
    /// Whether the visitor waits to be asked for the body.
    pub(super) expects: bool,
    /// What [`crate::sending::Sending`] names it by, if the visitor is told what the origin says before its answer.
    pub(super) heard_as: Option<u64>,
}

/// Path and query, as an origin is to see them: in origin form, or `*` of OPTIONS (RFC 9112, section 3.2).
fn target<B>(request: &Request<B>) -> Result<Uri, Failure> {
    let uri = request.uri();
    let malformed = Failure::PathMalformed("The address is malformed.");
    // An authority alone is for CONNECT.
    let Some(target) = uri.path_and_query() else { return Err(malformed) };
    if target.as_str().len() > TARGET_BYTES_MAX {
        return Err(Failure::PathMalformed("The address is too long."));
    }
    let absolute = uri.authority().is_some() && request.version() <= Version::HTTP_11;
    let target = match target.as_str() {
        whole if whole.starts_with('/') => Ok(target.clone()),
        "*" if *request.method() == Method::OPTIONS => Ok(target.clone()),
        // Behind the host of a whole URL, the path may be left out.
        rest if absolute && (rest.is_empty() || rest.starts_with('?')) => PathAndQuery::try_from(format!("/{rest}")),
        _ => return Err(malformed),
    };
    let visible = |target: &PathAndQuery| target.as_str().bytes().all(|byte| byte.is_ascii_graphic());
    target.ok().filter(visible).map(Uri::from).ok_or(malformed)
}

impl RequestLine {
    /// That of a request of which the client says so where it is for.
    ///
    /// # Errors
    /// [`Failure`] for what no origin is asked for.
    pub(crate) fn of<B>(request: &Request<B>, seen: Seen<'_>) -> Result<Self, Failure> {
        // With a protocol, CONNECT is how HTTP/2 says what HTTP/1.1 says with GET and `Upgrade` (RFC 8441).
        let switches = request.extensions().get::<Protocol>().is_some();
        if (*request.method() == Method::CONNECT && !switches) || *request.method() == Method::TRACE {
            return Err(Failure::Method(METHODS));
        }
        fields::check(request)?;
        Ok(Self {
            method: if switches { Method::GET } else { request.method().clone() },
            target: target(request)?,
            version: request.version(),
            host: HeaderValue::try_from(seen.authority).map_err(|_| Failure::HostMalformed)?,
            https: seen.https,
        })
    }
}

impl Asked {
    /// What a client asks a site for, with these fields.
    pub(crate) fn of(
        front: &Front,
        line: RequestLine,
        (headers, bodiless): (HeaderMap, bool),
        client: &Arc<Client>,
    ) -> Self {
        let RequestLine { method, target, version, host, https } = line;
        let (mut head, ()) = Request::new(()).into_parts();
        (head.method, head.uri, head.version, head.headers) = (method, target, version, headers);
        let continues = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        let expects = version == Version::HTTP_11 && head.headers.get(header::EXPECT).is_some_and(continues);
        hops::strip_request(&head.method, &mut head.headers);
        let scheme = if https { "https" } else { "http" };
        Self {
            key: front.key_of(scheme, host.to_str().unwrap_or_default(), &head.uri),
            host,
            client: Arc::clone(client),
            https,
            bodiless,
            expects,
            heard_as: None,
            head,
        }
    }

    /// The same for the whole response, as nobody's.
    pub(crate) fn for_itself(&self) -> Self {
        let mut head = self.head.clone();
        head.method = Method::GET;
        Self::for_all(&mut head.headers);
        Self {
            head,
            key: self.key.clone(),
            client: Arc::clone(&self.client),
            host: self.host.clone(),
            https: self.https,
            bodiless: true,
            expects: false,
            heard_as: None,
        }
    }

    /// From now on the visitor is told what the origin says before its answer, if there is a way to; whether there is.
    pub(super) fn hear(&mut self) -> bool {
        self.heard_as = (self.head.version == Version::HTTP_11).then(|| self.client.sending.begin_wait());
        self.heard_as.is_some()
    }

    /// Whether something stored may answer it.
    pub(crate) fn is_readable(&self) -> bool {
        let method = &self.head.method;
        (*method == Method::GET || *method == Method::HEAD)
            && self.bodiless
            && !conditional::is_for_origin(&self.head.headers)
    }

    /// Whether others that ask for the same may wait for its answer.
    pub(crate) fn is_shareable(&self) -> bool {
        let headers = &self.head.headers;
        self.is_readable() && self.head.method == Method::GET && !headers.contains_key(header::AUTHORIZATION)
    }

    /// Whether it wants less than the whole response: a part, or nothing if it has it already.
    pub(crate) fn wants_less(&self) -> bool {
        let less = [header::RANGE, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];
        less.iter().any(|name| self.head.headers.contains_key(name))
    }

    /// Whether it asks for the whole response, whatever of it is stored.
    pub(crate) fn is_for_all(&self) -> bool {
        let others = [header::RANGE];
        !conditional::CONDITIONS.iter().chain(&others).any(|name| self.head.headers.contains_key(name))
    }

    /// Makes a request ask for the whole response, whatever this visitor has or wants of it.
    pub(crate) fn for_all(headers: &mut HeaderMap) {
        for name in conditional::CONDITIONS.into_iter().chain([header::RANGE]) {
            headers.remove(name);
        }
    }

    /// Whether it has no body.
    pub(crate) fn is_bodiless(&self) -> bool {
        self.bodiless
    }

    /// The host that was asked for, as text.
    pub(crate) fn authority(&self) -> &str {
        self.host.to_str().unwrap_or_default()
    }
}
