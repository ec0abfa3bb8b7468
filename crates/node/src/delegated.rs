//! Delegated Routing V1 (specs.ipfs.tech/routing/http-routing-v1) on a listener of its own: who has content, where peers are, what
//! names point at, for whoever has no DHT.
//!
//! Answers from what the node holds, the members it knows, the DHT, and the records of names. Keeps nothing but connections;
//! each has its limits of time, and so has each address of its connections.

mod answers;
mod config;
mod guests;
mod names;
mod routes;
mod sources;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use atoll_core::{Multiaddr, Reach};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

pub use config::DelegatedConfig;
use guests::{Guest, Guests};

use crate::node::Inner;

/// Time for the head of a request, and for its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept; what it is busy with then may end.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(120);
/// Time to send what a search gave, after its own.
const SENDING_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest request head, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What all connections share.
pub(crate) struct Delegated {
    pub(crate) config: DelegatedConfig,
    pub(crate) counts: Arc<Counts>,
    guests: Arc<Guests>,
    searches: Arc<Semaphore>,
}

/// What was asked and answered since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) providers: AtomicU64,
    pub(crate) peers: AtomicU64,
    pub(crate) closest: AtomicU64,
    pub(crate) names: AtomicU64,
    pub(crate) published: AtomicU64,
    /// Requests that were not answered as asked, for their own faults or because there were too many.
    pub(crate) refused: AtomicU64,
    /// Records that were sent.
    pub(crate) records: AtomicU64,
}

impl Delegated {
    pub(crate) fn new(config: DelegatedConfig) -> Self {
        let guests = Arc::new(Guests::new(config.connections, config.connections_per_address));
        let searches = Arc::new(Semaphore::new(config.searches));
        Self { config, counts: Arc::default(), guests, searches }
    }

    /// How near the addresses are that a listener at `address` tells.
    fn reach(&self, address: SocketAddr) -> Reach {
        if self.config.private {
            return Reach::Loopback;
        }
        // A wildcard may be asked from anywhere.
        if address.ip().is_unspecified() { Reach::Public } else { Reach::of(&Multiaddr::from(address.ip())) }
    }
}

/// Answers on `listener` until `stop` changes.
pub(crate) async fn serve(listener: TcpListener, node: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    let reach = listener.local_addr().map_or(Reach::Public, |address| node.delegated.reach(address));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok((stream, from)) => {
                // Without a place for it, it is closed.
                if let Some(guest) = node.delegated.guests.admit(from.ip()) {
                    tokio::spawn(connection(stream, guest, Arc::clone(&node), reach));
                }
            }
            Err(error) => {
                // Out of descriptors, say: waiting lets connections end.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, guest: Guest, node: Arc<Inner>, reach: Reach) {
    let longest = node.delegated.config.search_timeout + SENDING_TIMEOUT;
    let service = service_fn(move |request| {
        let node = Arc::clone(&node);
        async move { Ok::<_, Infallible>(routes::answer(&node, reach, request).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let mut serving = pin!(server.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = tokio::time::sleep(CONNECTION_TIME_MAX) => {
            serving.as_mut().graceful_shutdown();
            tokio::time::timeout(longest, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of delegated routing ended");
    }
    drop(guest);
}

impl Counts {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
