//! The origins of a site, and the connections to them. A crash loses the connections.

use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, header, request};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
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
        Ok(request)
    }
}

impl Origins {
    /// Those of the settings, which were checked. Wants a tokio runtime once they are used.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn new(origins: &[OriginConfig], timeouts: Timeouts) -> Result<Self, String> {
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
            .build(atoll_trust::over(connector));
        Ok(Self { origins, client, timeouts })
    }

    /// Their hosts and ports.
    pub fn authorities(&self) -> impl Iterator<Item = &str> {
        self.origins.iter().map(Origin::authority)
    }

    /// Sends a request to the first origin that can be connected to. `host` is what the visitor asked for. A body is sent once: with
    /// one, only the first origin is tried.
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
        for origin in &self.origins {
            let (last, upload) = (body.is_some(), body.take().unwrap_or_else(empty));
            match self.send_to(origin, head, host, upload).await {
                Err(error @ OriginError::Connect { .. }) if !last => {
                    tracing::debug!(%error, "an origin cannot be reached");
                    failure = error;
                }
                answered => return answered,
            }
        }
        Err(failure)
    }

    async fn send_to(
        &self,
        origin: &Origin,
        head: &request::Parts,
        host: &HeaderValue,
        body: Upload,
    ) -> Result<Response<Download>, OriginError> {
        let progress = Progress::new();
        let request = origin.request(head, host, Noted::new(body, std::sync::Arc::clone(&progress)))?;
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
                        return Err(OriginError::TimedOut { step: Step::Head, limit });
                    }
                }
            }
        };
        let idle: Duration = self.timeouts.idle;
        match answered {
            Ok(response) => Ok(response.map(|body| Download::new(body, idle))),
            Err(error) if error.is_connect() => {
                Err(OriginError::Connect { origin: origin.authority.to_string(), cause: causes(&error) })
            }
            Err(error) => Err(OriginError::Broken(causes(&error))),
        }
    }
}

fn empty() -> Upload {
    Upload::new(Empty::<Bytes>::new().map_err(|never| match never {}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read() {
        let parse = |url: &str, host: &str| Origin::parse(&OriginConfig { url: url.to_owned(), host: host.to_owned() });
        for (url, host) in
            [("https://a.example", ""), ("http://[::1]:3000/", "client"), ("http://10.0.0.7", "b.example")]
        {
            assert!(parse(url, host).is_ok(), "{url}");
        }
        for (url, host) in [
            ("", ""),
            ("a.example", ""),
            ("ftp://a.example", ""),
            ("https://a.example/path", ""),
            ("https://a.example/?q", ""),
            ("https://user@a.example", ""),
            ("https://a.example", "b/c"),
        ] {
            assert!(parse(url, host).is_err(), "{url} {host}");
        }
    }
}
