//! Streams that peers open for Bitswap, handed on as they come, and who is connected.
//!
//! `libp2p-stream` drops a stream when another one came just before; Kubo opens one for each message, all of which count.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::DeniedUpgrade;
use libp2p::core::{Endpoint, InboundUpgrade, UpgradeInfo};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour, Stream,
    StreamProtocol, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc::{self, error::TrySendError};

/// Streams that wait to be taken; more are reset.
const WAITING_MAX: usize = 4096;

/// What comes.
pub(crate) enum Incoming {
    /// A peer is connected.
    Came(PeerId),
    /// Its last connection is gone.
    Went(PeerId),
    /// It opened a stream.
    Stream(PeerId, Stream),
}

/// What comes, in order.
pub(crate) type Streams = mpsc::Receiver<Incoming>;

/// Takes streams of some protocols, over all connections.
pub(crate) struct Behaviour {
    protocols: &'static [&'static str],
    streams: mpsc::Sender<Incoming>,
    /// Connections that others are to hear of once there is room.
    waiting: VecDeque<Incoming>,
}

impl Behaviour {
    pub(crate) fn new(protocols: &'static [&'static str]) -> (Self, Streams) {
        let (streams, taken) = mpsc::channel(WAITING_MAX);
        (Self { protocols, streams, waiting: VecDeque::new() }, taken)
    }

    /// Tells of connections, in order. While streams fill the way, the next look is when the swarm has something else to do.
    fn hand_on(&mut self) {
        while let Some(next) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(next)) = self.streams.try_send(next) {
                return self.waiting.push_front(next);
            }
        }
    }

    fn handler(&self, peer: PeerId) -> Handler {
        Handler { peer, protocols: self.protocols, streams: self.streams.clone() }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _connection: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _connection: ConnectionId,
        peer: PeerId,
        _address: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, other_established: 0, .. }) => {
                self.waiting.push_back(Incoming::Came(peer_id));
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, remaining_established: 0, .. }) => {
                self.waiting.push_back(Incoming::Went(peer_id));
            }
            _ => return,
        }
        self.hand_on();
    }

    fn on_connection_handler_event(&mut self, _peer: PeerId, _connection: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.hand_on();
        Poll::Pending
    }
}

/// Takes the streams of one connection.
pub(crate) struct Handler {
    peer: PeerId,
    protocols: &'static [&'static str],
    streams: mpsc::Sender<Incoming>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Take;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Infallible;

    fn listen_protocol(&self) -> SubstreamProtocol<Take> {
        SubstreamProtocol::new(Take(self.protocols), ())
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, Infallible, Infallible>> {
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Take, DeniedUpgrade, (), Infallible>) {
        if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. }) = event
            && self.streams.try_send(Incoming::Stream(self.peer, stream)).is_err()
        {
            tracing::debug!(peer = %self.peer, "too many streams wait; one is reset");
        }
    }
}

/// Takes a stream of any of these protocols as it is.
pub(crate) struct Take(&'static [&'static str]);

impl UpgradeInfo for Take {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Map<std::slice::Iter<'static, &'static str>, fn(&&'static str) -> StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().map(|protocol| StreamProtocol::new(protocol))
    }
}

impl InboundUpgrade<Stream> for Take {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _protocol: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}
