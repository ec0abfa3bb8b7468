//! The connections to one origin. A crash loses them.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector};
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, HttpInfo, capture_connection};
use hyper_util::client::legacy::{Client as Pooled, Error as PooledError, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::timeout;
use tower_service::Service;

use crate::body::Noted;
use crate::config::Timeouts;
use crate::origin::Origin;
use crate::resolve::{Reach, Resolver};

/// The most idle connections that a lane keeps to one origin.
const IDLE_MAX: usize = 128;
/// The most lanes: threads have connections of their own, so that none waits for another, and no request goes from one to the other
/// and back.
const LANES_MAX: usize = 16;
/// The largest head of an answer, and the most of a body that is read at once, in bytes.
const READ_BYTES_MAX: usize = 128 * 1024;
/// The most fields of an answer.
const HEADERS_MAX: usize = 256;
/// The most connections that are remembered to have answered.
const USED_MAX: usize = 4096;
/// What an HTTP/2 origin may send ahead of what visitors take, in bytes.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Client {
    connector: Connector,
    http2: bool,
    keep_alive: Duration,
    resolver: Resolver,
    host: String,
    lanes: Vec<Mutex<Lane>>,
    /// Our ends of connections that have answered before.
    used: Mutex<HashSet<SocketAddr>>,
}

/// The connections of one thread, or a few.
#[derive(Debug)]
struct Lane {
    /// How often the origin's addresses had changed when they were begun.
    changes: u64,
    pool: Pooled<Connector, Noted>,
}

/// A request under way, and the connection that it took.
pub(crate) struct Sent {
    pub(crate) answer: ResponseFuture,
    connection: CaptureConnection,
}

impl Client {
    pub(crate) fn new(
        origin: &Origin,
        timeouts: &Timeouts,
        tls: ClientConfig,
        (resolver, reach): (Resolver, Reach),
    ) -> Result<Self, String> {
        let connector = Connector::new(origin, timeouts.connect, tls, (resolver.clone(), reach))?;
        let (http2, keep_alive) = (origin.is_http2(), timeouts.keep_alive);
        let lane = || Lane { changes: 0, pool: pooled(&connector, http2, keep_alive) };
        let lanes = std::iter::repeat_with(|| Mutex::new(lane())).take(lanes()).collect();
        let host = origin.host().to_owned();
        Ok(Self { connector, http2, keep_alive, resolver, host, lanes, used: Mutex::default() })
    }

    /// Sends a request.
    pub(crate) fn send(&self, mut request: Request<Noted>) -> Sent {
        let connection = capture_connection(&mut request);
        Sent { answer: self.current().request(request), connection }
    }

    /// The connections in use. Those to addresses that are no longer the origin's are left to their requests, and end with them.
    fn current(&self) -> Pooled<Connector, Noted> {
        let (old, changes) = self.resolver.state();
        if old {
            let (resolver, host) = (self.resolver.clone(), self.host.clone());
            tokio::spawn(async move { resolver.resolve(host).await });
        }
        let pool = || pooled(&self.connector, self.http2, self.keep_alive);
        let Some(lane) = self.lanes.get(lane_of_thread() % self.lanes.len().max(1)) else { return pool() };
        let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
        if lane.changes != changes {
            *lane = Lane { changes, pool: pool() };
        }
        lane.pool.clone()
    }

    /// Whether a request's connection has answered before; it has from now on, or is gone.
    pub(crate) fn note(&self, connection: &CaptureConnection, answered: bool) -> bool {
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

impl Sent {
    /// Its answer as it is, and whether its connection had answered before.
    pub(crate) fn noted(
        &self,
        client: &Client,
        answered: Result<Response<Incoming>, PooledError>,
    ) -> (Result<Response<Incoming>, PooledError>, bool) {
        let used = client.note(&self.connection, answered.is_ok());
        (answered, used)
    }
}

/// How many lanes there are.
pub(crate) fn lanes() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).clamp(1, LANES_MAX)
}

/// A number that the threads have in turn.
pub(crate) fn lane_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    OWN.with(|own| *own)
}

fn pooled(connector: &Connector, http2: bool, keep_alive: Duration) -> Pooled<Connector, Noted> {
    Pooled::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(keep_alive)
        .pool_max_idle_per_host(IDLE_MAX)
        .http1_max_buf_size(READ_BYTES_MAX)
        .http1_max_headers(HEADERS_MAX)
        .http2_only(http2)
        .http2_initial_stream_window_size(WINDOW_BYTES)
        .http2_initial_connection_window_size(WINDOW_BYTES.saturating_mul(4))
        .http2_max_header_list_size(u32::try_from(READ_BYTES_MAX).unwrap_or(u32::MAX))
        .build(connector.clone())
}

/// Connects to the origin, whatever the request says of where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    inner: HttpsConnector<To>,
    limit: Duration,
}

impl Connector {
    fn new(
        origin: &Origin,
        limit: Duration,
        mut tls: ClientConfig,
        (resolver, reach): (Resolver, Reach),
    ) -> Result<Self, String> {
        // Both families are tried, the second a little after the first (RFC 8305, simplified).
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(limit));
        tcp.set_nodelay(true);
        let target = origin.target().map_err(|error| error.to_string())?;
        tls.alpn_protocols = if origin.is_http2() { vec![b"h2".to_vec()] } else { Vec::new() };
        let name = Arc::new(FixedServerNameResolver::new(origin.server_name()));
        Ok(Self { inner: HttpsConnector::new(To { tcp, target, reach }, tls, false, name), limit })
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<To> as Service<Uri>>::Response;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, limit) = (self.inner.call(uri), self.limit);
        Box::pin(async move {
            let late = |_| Error::from(io::Error::new(io::ErrorKind::TimedOut, format!("not within {limit:?}")));
            timeout(limit, connecting).await.map_err(late)?
        })
    }
}

/// TCP to one place.
#[derive(Clone, Debug)]
pub(crate) struct To {
    tcp: HttpConnector<Resolver>,
    target: Uri,
    reach: Reach,
}

impl Service<Uri> for To {
    type Response = <HttpConnector<Resolver> as Service<Uri>>::Response;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.tcp.poll_ready(cx).map_err(Error::from)
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        // A host that is an address is not looked up, and so not checked there.
        if let Err(error) = self.reach.check(self.target.host().unwrap_or_default()) {
            return Box::pin(std::future::ready(Err(error.into())));
        }
        let connecting = self.tcp.call(self.target.clone());
        Box::pin(async move { Ok(connecting.await?) })
    }
}
