//! The origins of a site, and the connections to them. A crash loses the connections.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Extensions, HeaderValue, Method, Request, Response, Uri, header, request};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, HttpInfo, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::sleep_until;

use crate::body::{Download, Noted, Progress, Upload};
use crate::config::{OriginConfig, Timeouts};
use crate::error::{OriginError, Step, causes};

/// The most idle connections that are kept to one origin.
const IDLE_PER_HOST_MAX: usize = 128;
/// The largest head of an answer, and the most of a body that is read at once, in bytes.
const READ_BYTES_MAX: usize = 128 * 1024;
/// The most fields of an answer.
const HEADERS_MAX: usize = 256;
/// The most connections that are remembered to have answered.
const USED_MAX: usize = 4096;

/// A server.
#[derive(Clone, Debug)]
pub struct Origin {
    scheme: Scheme,
    authority: Authority,
    host: Host,
}

/// What an origin is told the host is.
#[derive(Clone, Debug)]
enum Host {
    Own(HeaderValue),
    Client,
}

/// The origins of a site, in the order in which they are tried. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Origins {
    origins: Vec<Origin>,
    client: Client<HttpsConnector<HttpConnector>, Noted>,
    timeouts: Timeouts,
    /// Our ends of connections that have answered before.
    used: Arc<Mutex<HashSet<SocketAddr>>>,
}

impl Origin {
    /// Reads what an operator wrote.
    ///
    /// # Errors
    /// What is wrong, naming the setting.
    pub fn parse(config: &OriginConfig) -> Result<Self, String> {
        let wrong = || format!("url: `{}` is not like https://origin.example or http://10.0.0.7:3000", config.url);
        let parts = config.url.parse::<Uri>().map_err(|_| wrong())?.into_parts();
        let plain = parts.path_and_query.as_ref().is_none_or(|path| path.as_str() == "/");
        let (Some(scheme), Some(authority), true) = (parts.scheme, parts.authority, plain) else { return Err(wrong()) };
        if (scheme != Scheme::HTTP && scheme != Scheme::HTTPS) || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = match &*config.host {
            "client" => Host::Client,
            "" => Host::Own(HeaderValue::try_from(authority.as_str()).map_err(|_| wrong())?),
            name => {
                let name = name.parse::<Authority>().ok().filter(|name| !name.as_str().contains('@'));
                let value = name.and_then(|name| HeaderValue::try_from(name.as_str()).ok());
                Host::Own(value.ok_or_else(|| format!("host: `{}` is neither a host name nor `client`", config.host))?)
            }
        };
        Ok(Self { scheme, authority, host })
    }

    /// Its host and port.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The request as it is sent there.
    fn request(&self, head: &request::Parts, host: &HeaderValue, body: Noted) -> Result<Request<Noted>, OriginError> {
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path);
        let uri = uri.build().map_err(|error| OriginError::Broken(error.to_string()))?;
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        request.headers_mut().clone_from(&head.headers);
        let host = match &self.host {
            Host::Own(own) => own.clone(),
            Host::Client => host.clone(),
        };
        request.headers_mut().insert(header::HOST, host);
        frame(&mut request);
        Ok(request)
    }
}

impl Origins {
    /// Those of the settings, which were checked. Wants a tokio runtime once they are used.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn new(origins: &[OriginConfig], timeouts: Timeouts) -> Result<Self, String> {
        Self::over(origins, timeouts, atoll_trust::over)
    }

    fn over(
        origins: &[OriginConfig],
        timeouts: Timeouts,
        tls: impl FnOnce(HttpConnector) -> HttpsConnector<HttpConnector>,
    ) -> Result<Self, String> {
        let origins = origins.iter().map(Origin::parse).collect::<Result<_, _>>()?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(timeouts.connect));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(timeouts.keep_alive)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .http1_max_buf_size(READ_BYTES_MAX)
            .http1_max_headers(HEADERS_MAX)
            .build(tls(connector));
        Ok(Self { origins, client, timeouts, used: Arc::default() })
    }

    /// Their hosts and ports.
    pub fn authorities(&self) -> impl Iterator<Item = &str> {
        self.origins.iter().map(Origin::authority)
    }

    /// Sends a request to the first origin that can be connected to. `host` is what the visitor asked for. A body is sent once: with
    /// one, only the first origin is tried.
    ///
    /// A request that changes nothing is sent again if it met a connection that its origin was closing (RFC 9112, section 9.3.1).
    ///
    /// # Errors
    /// [`OriginError`], the last one if there were several.
    pub async fn send(
        &self,
        head: &request::Parts,
        host: &HeaderValue,
        body: Option<Upload>,
    ) -> Result<Response<Download>, OriginError> {
        let mut failure = OriginError::None;
        let mut body = body.filter(|body| !body.is_end_stream());
        let again = body.is_none() && head.method.is_safe();
        for origin in &self.origins {
            let (last, upload) = (body.is_some(), body.take().unwrap_or_else(empty));
            let mut tried = self.send_to(origin, head, host, upload).await;
            if let (true, Err((OriginError::Broken(_), true))) = (again, &tried) {
                tracing::debug!(origin = %origin.authority, "a kept connection was closed; the request is sent again");
                tried = self.send_to(origin, head, host, empty()).await;
            }
            match tried {
                Err((error @ OriginError::Connect { .. }, _)) if !last => {
                    tracing::debug!(%error, "an origin cannot be reached");
                    failure = error;
                }
                answered => return answered.map_err(|(error, _)| error),
            }
        }
        Err(failure)
    }

    /// Sends a request to one origin. With an error comes whether the connection had answered before.
    async fn send_to(
        &self,
        origin: &Origin,
        head: &request::Parts,
        host: &HeaderValue,
        body: Upload,
    ) -> Result<Response<Download>, (OriginError, bool)> {
        let progress = Progress::new();
        let request = origin.request(head, host, Noted::new(body, Arc::clone(&progress)));
        let mut request = request.map_err(|error| (error, false))?;
        let connection = capture_connection(&mut request);
        let limit = self.timeouts.first_byte;
        let answer = self.client.request(request);
        tokio::pin!(answer);
        let answered = loop {
            // Whoever still uploads is not late.
            let until = progress.last() + limit;
            tokio::select! {
                answered = &mut answer => break answered,
                () = sleep_until(until) => {
                    if progress.last() + limit <= until {
                        return Err((OriginError::TimedOut { step: Step::Head, limit }, false));
                    }
                }
            }
        };
        let used = self.note(&connection, answered.is_ok());
        let idle = self.timeouts.idle;
        let answered = answered.map_err(|error| {
            let (origin, cause) = (origin.authority.to_string(), causes(&error));
            let error =
                if error.is_connect() { OriginError::Connect { origin, cause } } else { OriginError::Broken(cause) };
            (error, used)
        })?;
        let response = framed(answered).map_err(|error| (error, false))?;
        Ok(response.map(|body| Download::new(body, idle)))
    }

    /// Whether a connection has answered before; it has from now on, or is gone.
    fn note(&self, connection: &CaptureConnection, answered: bool) -> bool {
        let mut extras = Extensions::new();
        if let Some(connected) = connection.connection_metadata().as_ref() {
            connected.get_extras(&mut extras);
        }
        let Some(local) = extras.get::<HttpInfo>().map(HttpInfo::local_addr) else { return false };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if !answered {
            return used.remove(&local);
        }
        if used.len() >= USED_MAX {
            used.clear();
        }
        !used.insert(local)
    }
}

/// Says in one way how long the body is, whatever the visitor said: by its length if that is known, else in chunks (RFC 9112,
/// section 6.3).
fn frame(request: &mut Request<Noted>) {
    let (ended, len) = (request.body().is_end_stream(), request.body().size_hint().exact());
    let expected = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let empty_is_said = expected || request.headers().contains_key(header::CONTENT_LENGTH);
    let headers = request.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::TRANSFER_ENCODING);
    match len {
        _ if ended && !empty_is_said => {}
        _ if ended => drop(headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"))),
        Some(len) => drop(headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len))),
        None => drop(headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
    }
}

/// An answer that says in one way how long it is; a length beside chunks counts for nothing (RFC 9112, section 6.3).
fn framed<B>(mut response: Response<B>) -> Result<Response<B>, OriginError> {
    let headers = response.headers_mut();
    let codings: Vec<_> = headers.get_all(header::TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes).collect();
    match codings[..] {
        [] => {}
        [coding] if coding.eq_ignore_ascii_case(b"chunked") || is_of_no_meaning(coding) => {
            headers.remove(header::CONTENT_LENGTH);
        }
        _ => return Err(OriginError::Broken("the answer has a transfer coding that is not undone here".to_owned())),
    }
    let lengths: Vec<_> = headers.get_all(header::CONTENT_LENGTH).iter().map(HeaderValue::as_bytes).collect();
    match lengths[..] {
        [] => Ok(response),
        [length] if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => Ok(response),
        _ => Err(OriginError::Broken("the length of the answer is in doubt".to_owned())),
    }
}

/// Whether it names a coding that nobody knows: the body is whatever comes until the connection closes (RFC 9112, section 6.3).
fn is_of_no_meaning(coding: &[u8]) -> bool {
    let known = ["gzip", "x-gzip", "deflate", "compress", "x-compress", "identity", "br", "zstd"];
    let is_known = |coding: &[u8]| known.iter().any(|known| coding.eq_ignore_ascii_case(known.as_bytes()));
    let says_chunked = coding.to_ascii_lowercase().windows(7).any(|part| part == b"chunked");
    let is_token = !coding.is_empty() && coding.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    is_token && !says_chunked && !is_known(coding)
}

fn empty() -> Upload {
    Upload::new(Empty::<Bytes>::new().map_err(|never| match never {}))
}

#[cfg(test)]
mod tests;
