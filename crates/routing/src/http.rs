//! [`Transport`] over HTTP/1.1, plain or with TLS: messages by the exchange's paths, blocks and CARs by the trustless gateway protocol.
//!
//! Keeps idle connections and nothing else. What comes back is bounded in size and time; of it only single blocks are verified here.

use std::net::IpAddr;
use std::time::Duration;

use atoll_core::block::BLOCK_BYTES_MAX;
use atoll_core::transport::{ByteStream, MESSAGE_BYTES_MAX, Request, Response, decode, encode};
use atoll_core::{Block, BoxFuture, Cid, Multiaddr, Transport, TransportError};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, FuturesUnordered, StreamExt as _};
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use multiaddr::Protocol;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use crate::exchange;
use crate::time::millis;

/// The most idle connections that are kept to one member.
const IDLE_PER_HOST_MAX: usize = 8;
/// The largest response head, and the most of a body that is read at once, in bytes.
const READ_BYTES_MAX: usize = 64 * 1024;
/// The most headers in a response.
const HEADERS_MAX: usize = 64;

/// The most addresses of one stranger that are tried.
const PROBED_MAX: usize = 4;

/// The `[http]` settings of the transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// How long a connection may take.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long the head of an answer may take, the connection included.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// How long a body may pause.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// How long a message or block may take altogether.
    #[serde(with = "humantime_serde")]
    pub total_timeout: Duration,
    /// How long a CAR may take altogether.
    #[serde(with = "humantime_serde")]
    pub car_timeout: Duration,
    /// How long an unused connection is kept.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(30),
            car_timeout: Duration::from_secs(60 * 60),
            keep_alive: Duration::from_secs(30),
        }
    }
}

/// Asks gateways over HTTP/1.1, plain or with TLS; cheap to clone, one pool of connections.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    config: HttpConfig,
}

impl HttpTransport {
    /// A transport without connections yet. Wants a tokio runtime once it is used.
    pub fn new(config: HttpConfig) -> Self {
        Self::over(config, atoll_trust::over)
    }

    fn over(config: HttpConfig, tls: impl FnOnce(HttpConnector) -> HttpsConnector<HttpConnector>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(config.connect_timeout));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.keep_alive)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .http1_max_buf_size(READ_BYTES_MAX)
            .http1_max_headers(HEADERS_MAX)
            .build(tls(connector));
        Self { client, config }
    }

    /// Sends, and returns the answer once its head says 200.
    pub(crate) async fn send(
        &self,
        request: http::Request<Full<Bytes>>,
        until: Instant,
    ) -> Result<http::Response<Incoming>, TransportError> {
        let limit = until.min(Instant::now() + self.config.header_timeout);
        let timed_out = TransportError::TimedOut(millis(self.config.header_timeout));
        let response = timeout_at(limit, self.client.request(request)).await.map_err(|_| timed_out)?;
        let response = response.map_err(|error| failure(&error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            // 412: the member does not hold it, and was asked not to fetch it.
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::PRECONDITION_FAILED => Err(TransportError::NotFound),
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Err(TransportError::Refused)
            }
            other => Err(TransportError::Status(other.as_u16())),
        }
    }

    /// Asks for the empty block, which every gateway has (Trustless Gateway, "Dedicated Probe Paths").
    async fn is_gateway<'a>(&self, to: &'a Multiaddr) -> Result<&'a Multiaddr, TransportError> {
        let request = content(to, "/ipfs/bafkqaaa?format=raw", "application/vnd.ipld.raw")?;
        self.exchange(request, 0).await.map(|_| to)
    }

    /// Reads a body within its times.
    pub(crate) fn reader(&self, body: Incoming, until: Instant) -> Reader {
        Reader { body, until, config: self.config.clone() }
    }

    /// Sends, and collects a body of at most `bytes_max`.
    async fn exchange(&self, request: http::Request<Full<Bytes>>, bytes_max: usize) -> Result<Bytes, TransportError> {
        let until = Instant::now() + self.config.total_timeout;
        let body = self.send(request, until).await?.into_body();
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > bytes_max {
            return Err(TransportError::Malformed);
        }
        let mut reader = self.reader(body, until);
        let mut collected = BytesMut::with_capacity(announced);
        while let Some(data) = reader.next().await? {
            if collected.len().saturating_add(data.len()) > bytes_max {
                return Err(TransportError::Malformed);
            }
            collected.extend_from_slice(&data);
        }
        Ok(collected.freeze())
    }
}

impl Transport for HttpTransport {
    fn request<'a>(
        &'a self,
        to: &'a Multiaddr,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(async move {
            let body = Bytes::from(encode(request)?);
            let request_head = head(Method::POST, to, exchange::path_of(request))?
                .header(header::CONTENT_TYPE, exchange::MEDIA_TYPE)
                .header(header::ACCEPT, exchange::MEDIA_TYPE);
            let message = request_head.body(Full::new(body)).map_err(|_| TransportError::Malformed)?;
            let answer = decode(&self.exchange(message, MESSAGE_BYTES_MAX).await?)?;
            if exchange::fits(request, &answer) { Ok(answer) } else { Err(TransportError::Malformed) }
        })
    }

    fn block<'a>(&'a self, to: &'a Multiaddr, cid: &'a Cid) -> BoxFuture<'a, Result<Block, TransportError>> {
        Box::pin(async move {
            let request = content(to, &exchange::block_path(cid), "application/vnd.ipld.raw")?;
            Ok(Block::verified(*cid, self.exchange(request, BLOCK_BYTES_MAX).await?)?)
        })
    }

    fn probe<'a>(&'a self, addresses: &'a [Multiaddr]) -> BoxFuture<'a, Result<Multiaddr, TransportError>> {
        Box::pin(async move {
            let mut tries: FuturesUnordered<_> =
                addresses.iter().take(PROBED_MAX).map(|to| self.is_gateway(to)).collect();
            let mut failure = TransportError::Refused;
            while let Some(tried) = tries.next().await {
                match tried {
                    Ok(to) => return Ok(to.clone()),
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        })
    }

    fn car<'a>(&'a self, to: &'a Multiaddr, root: &'a Cid) -> BoxFuture<'a, Result<ByteStream, TransportError>> {
        Box::pin(async move {
            let accept = "application/vnd.ipld.car; version=1; order=dfs; dups=n";
            let request = content(to, &exchange::car_path(root), accept)?;
            let until = Instant::now() + self.config.car_timeout;
            let reader = self.reader(self.send(request, until).await?.into_body(), until);
            let stream: ByteStream = Box::pin(stream::try_unfold(reader, |mut reader| async move {
                Ok(reader.next().await?.map(|data| (data, reader)))
            }));
            Ok(stream)
        })
    }
}

/// A body that is read within its times.
pub(crate) struct Reader {
    body: Incoming,
    until: Instant,
    config: HttpConfig,
}

impl Reader {
    /// The next bytes; `None` at a proper end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, TransportError> {
        loop {
            let limit = self.until.min(Instant::now() + self.config.idle_timeout);
            let timed_out = |_| TransportError::TimedOut(millis(self.config.idle_timeout));
            match timeout_at(limit, self.body.frame()).await.map_err(timed_out)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(TransportError::Broken(error.to_string())),
                Some(Ok(frame)) => {
                    // Trailers carry nothing for us.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// A request for content that must not make the member fetch it from others.
fn content(to: &Multiaddr, path: &str, accept: &str) -> Result<http::Request<Full<Bytes>>, TransportError> {
    head(Method::GET, to, path)?
        .header(header::ACCEPT, accept)
        .header(header::CACHE_CONTROL, "only-if-cached")
        .body(Full::default())
        .map_err(|_| TransportError::Malformed)
}

/// Method and URI.
fn head(method: Method, to: &Multiaddr, path: &str) -> Result<http::request::Builder, TransportError> {
    let origin = origin(to).ok_or_else(|| TransportError::Address(to.clone()))?;
    Ok(http::Request::builder().method(method).uri(format!("{origin}{path}")))
}

/// `http://host:port` of `/ip4|ip6|dns|dns4|dns6/…/tcp/…/http`, and `https://host:port` of `…/tls/http` and `…/https`, whatever
/// `/p2p/…` follows. `None` for every other address.
pub(crate) fn origin(address: &Multiaddr) -> Option<String> {
    let mut parts = address.iter().peekable();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => ip.to_string(),
        Protocol::Ip6(ip) => format!("[{ip}]"),
        // Nothing that could end the host and reach into port or path.
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)
            if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) =>
        {
            name.into_owned()
        }
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else { return None };
    let has_tls = parts.next_if(|part| matches!(part, Protocol::Tls)).is_some();
    let scheme = match parts.next()? {
        Protocol::Http if !has_tls => "http",
        Protocol::Http | Protocol::Https => "https",
        _ => return None,
    };
    let plain = parts.all(|part| matches!(part, Protocol::P2p(_)));
    plain.then(|| format!("{scheme}://{host}:{port}"))
}

/// The address of an HTTP gateway at `ip` and `port`.
pub fn gateway_address(ip: IpAddr, port: u16) -> Multiaddr {
    Multiaddr::from(ip).with(Protocol::Tcp(port)).with(Protocol::Http)
}

/// Tells a connection that never was from one that broke.
fn failure(error: &hyper_util::client::legacy::Error) -> TransportError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    if error.is_connect() { TransportError::Connect(text) } else { TransportError::Broken(text) }
}

#[cfg(test)]
mod tests;
