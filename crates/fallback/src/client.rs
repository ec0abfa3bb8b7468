//! The connections to one origin. A crash loses them.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use rustls::ClientConfig;
use tokio::time::Instant;

use crate::body::Noted;
use crate::config::Timeouts;
use crate::connect::Connector;
use crate::link::Arriving;
use crate::origin::Origin;
use crate::resolve::{Reach, Resolver};
use crate::{http1, http2};

/// The most lanes: threads have connections of their own, so that none waits for another, and no request goes from one to the other
/// and back.
const LANES_MAX: usize = 16;
/// The largest head of an answer, and the most of a body that is read at once, in bytes.
pub(crate) const READ_BYTES_MAX: usize = 128 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Client {
    resolver: Resolver,
    host: String,
    pools: Pools,
}

#[derive(Debug)]
enum Pools {
    Http1(http1::Pool),
    Http2(http2::Pool),
}

/// What came of a request.
pub(crate) struct Sent {
    pub(crate) answered: Result<Response<Arriving>, SendError>,
    /// Whether its connection had answered before.
    pub(crate) used: bool,
}

impl Sent {
    /// There was nothing to be sent.
    pub(crate) fn nothing() -> Self {
        Self { answered: Err(SendError::Broken("the request is gone".to_owned())), used: false }
    }
}

/// Why there is no answer, with all causes.
#[derive(Debug)]
pub(crate) enum SendError {
    /// No connection came about.
    Connect(String),
    /// The connection broke, or what came was not HTTP.
    Broken(String),
}

impl Client {
    pub(crate) fn new(
        origin: &Origin,
        timeouts: &Timeouts,
        tls: ClientConfig,
        (resolver, reach): (Resolver, Reach),
    ) -> Result<Self, String> {
        let connector = Connector::new(origin, timeouts.connect, tls, (resolver.clone(), reach))?;
        let pools = match origin.is_http2() {
            false => Pools::Http1(http1::Pool::new(connector, timeouts.keep_alive)),
            true => Pools::Http2(http2::Pool::new(connector, timeouts.keep_alive)),
        };
        Ok(Self { resolver, host: origin.host().to_owned(), pools })
    }

    /// Sends a request, which is taken. Connections to addresses that are no longer the origin's are left to their requests, and end with them.
    pub(crate) async fn send(&self, request: &mut Option<Request<Noted>>, now: Instant) -> Sent {
        let (old, changes) = self.resolver.state();
        if old {
            let (resolver, host) = (self.resolver.clone(), self.host.clone());
            tokio::spawn(async move { resolver.resolve(host).await });
        }
        match &self.pools {
            Pools::Http1(pool) => pool.send(request, changes, now).await,
            // Boxed, since it is large, and the other is more frequent.
            Pools::Http2(pool) => Box::pin(pool.send(request.take(), changes)).await,
        }
    }
}

/// One of something for each lane.
#[derive(Debug)]
pub(crate) struct Lanes<T>(Vec<T>);

impl<T> Lanes<T> {
    pub(crate) fn new(one: impl FnMut() -> T) -> Self {
        Self(std::iter::repeat_with(one).take(lanes()).collect())
    }

    /// That of this thread.
    pub(crate) fn own(&self) -> Option<&T> {
        self.0.get(lane_of_thread() % self.0.len().max(1))
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
