//! How peers are reached: over HTTP, or over libp2p when their address names a peer id. Keeps nothing.

use std::time::Duration;

use atoll_core::delegated::is_http;
use atoll_core::transport::{ByteStream, Request, Response};
use atoll_core::{Block, BoxFuture, Cid, Multiaddr, Transport, TransportError};
use atoll_routing::HttpTransport;
use atoll_swarm::Swarm;
use multiaddr::Protocol;

/// HTTP, and libp2p where there is a swarm.
pub(crate) struct AnyTransport {
    http: HttpTransport,
    swarm: Option<Swarm>,
}

impl AnyTransport {
    pub(crate) fn new(http: HttpTransport, swarm: Option<Swarm>) -> Self {
        Self { http, swarm }
    }

    fn of(&self, to: &Multiaddr) -> &dyn Transport {
        match &self.swarm {
            Some(swarm) if !is_http(to) && to.iter().any(|part| matches!(part, Protocol::P2p(_))) => swarm,
            _ => &self.http,
        }
    }
}

impl Transport for AnyTransport {
    fn request<'a>(
        &'a self,
        to: &'a Multiaddr,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        self.of(to).request(to, request)
    }

    fn block<'a>(&'a self, to: &'a Multiaddr, cid: &'a Cid) -> BoxFuture<'a, Result<Block, TransportError>> {
        self.of(to).block(to, cid)
    }

    fn probe<'a>(&'a self, addresses: &'a [Multiaddr]) -> BoxFuture<'a, Result<Multiaddr, TransportError>> {
        match addresses.first() {
            Some(first) => self.of(first).probe(addresses),
            None => self.http.probe(addresses),
        }
    }

    fn car<'a>(&'a self, to: &'a Multiaddr, root: &'a Cid) -> BoxFuture<'a, Result<ByteStream, TransportError>> {
        self.of(to).car(to, root)
    }

    fn round_trip(&self, to: &Multiaddr) -> Option<Duration> {
        self.of(to).round_trip(to)
    }
}
