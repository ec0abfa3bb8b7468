//! Streams that peers open for Bitswap, handed on as they come; streams that are opened to peers; and who is connected.
//!
//! `libp2p-stream` drops a stream when another one came just before (Kubo opens one for each message, all of which count), opens streams
//! on any connection of a peer, a dead one too, and waits for a connection that is there already when it was asked just as that came.

mod handler;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, NotifyHandler, Stream, StreamProtocol,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

use handler::Handler;

/// Streams that wait to be taken; more are reset.
const WAITING_MAX: usize = 4096;
/// Streams that wait to be opened, those included that wait for a connection.
const OPENING_MAX: usize = 4096;

/// What comes.
pub(crate) enum Incoming {
    /// A peer is connected.
    Came(PeerId),
    /// It is connected once more: what is under way on an older connection may never arrive.
    Again(PeerId),
    /// Its last connection is gone.
    Went(PeerId),
    /// It opened a stream.
    Stream(PeerId, Stream),
}

/// What comes, in order.
pub(crate) type Streams = mpsc::Receiver<Incoming>;

/// Why a stream was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum OpenError {
    /// The peer does not speak the protocol.
    #[error("the peer does not speak the protocol")]
    Unspoken,
    /// There is no connection, or it broke.
    #[error("{0}")]
    Unconnected(String),
}

/// Who waits for a stream.
type Opened = oneshot::Sender<Result<Stream, OpenError>>;

/// A stream that is to be opened.
#[derive(Debug)]
pub(crate) struct Open {
    peer: PeerId,
    protocol: StreamProtocol,
    opened: Opened,
}

/// Opens streams.
#[derive(Clone)]
pub(crate) struct Opener(mpsc::Sender<Open>);

impl Opener {
    /// A stream on the newest connection to a peer, which is dialled if there is none. It waits without end for a peer that neither
    /// takes the connection nor refuses it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) async fn open(&self, peer: PeerId, protocol: StreamProtocol) -> Result<Stream, OpenError> {
        let (opened, opens) = oneshot::channel();
        let ended = || OpenError::Unconnected("the swarm ends".to_owned());
        self.0.send(Open { peer, protocol, opened }).await.map_err(|_| ended())?;
        opens.await.unwrap_or_else(|_| Err(OpenError::Unconnected("the connection is closed".to_owned())))
    }
}

/// Takes streams of some protocols, and opens others, over all connections.
pub(crate) struct Behaviour {
    protocols: &'static [&'static str],
    streams: mpsc::Sender<Incoming>,
    /// Connections that others are to hear of once there is room.
    waiting: VecDeque<Incoming>,
    asked: mpsc::Receiver<Open>,
    /// The connections of each peer, the newest last.
    connections: HashMap<PeerId, Vec<ConnectionId>>,
    /// What waits for a connection.
    unconnected: HashMap<PeerId, Vec<Open>>,
    orders: VecDeque<ToSwarm<Infallible, Open>>,
}

impl Behaviour {
    pub(crate) fn new(protocols: &'static [&'static str]) -> (Self, Opener, Streams) {
        let (streams, taken) = mpsc::channel(WAITING_MAX);
        let (ask, asked) = mpsc::channel(OPENING_MAX);
        let behaviour = Self {
            protocols,
            streams,
            waiting: VecDeque::new(),
            asked,
            connections: HashMap::new(),
            unconnected: HashMap::new(),
            orders: VecDeque::new(),
        };
        (behaviour, Opener(ask), taken)
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
        Handler::new(peer, self.protocols, self.streams.clone())
    }

    /// Has a stream opened on the newest connection, or waits for one.
    fn open(&mut self, open: Open) {
        let peer = open.peer;
        if let Some(newest) = self.connections.get(&peer).and_then(|all| all.last()) {
            return self.orders.push_back(on(peer, *newest, open));
        }
        self.unconnected.retain(|_, waiting| {
            waiting.retain(|open| !open.opened.is_closed());
            !waiting.is_empty()
        });
        if self.unconnected.values().map(Vec::len).sum::<usize>() >= OPENING_MAX {
            return fail(vec![open], "too many wait for a connection");
        }
        self.unconnected.entry(peer).or_default().push(open);
        // When it is being dialled already, what becomes of that counts.
        let opts = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).build();
        self.orders.push_back(ToSwarm::Dial { opts });
    }

    fn came(&mut self, event: &ConnectionEstablished<'_>) {
        let (peer, id) = (event.peer_id, event.connection_id);
        let all = self.connections.entry(peer).or_default();
        self.waiting.push_back(if all.is_empty() { Incoming::Came(peer) } else { Incoming::Again(peer) });
        all.push(id);
        let waited = self.unconnected.remove(&peer).unwrap_or_default();
        self.orders.extend(waited.into_iter().map(|open| on(peer, id, open)));
    }

    fn went(&mut self, event: &ConnectionClosed<'_>) {
        let Some(all) = self.connections.get_mut(&event.peer_id) else { return };
        all.retain(|id| *id != event.connection_id);
        if all.is_empty() {
            self.connections.remove(&event.peer_id);
            self.waiting.push_back(Incoming::Went(event.peer_id));
        }
    }
}

/// The order to open a stream on a connection.
fn on(peer_id: PeerId, connection: ConnectionId, open: Open) -> ToSwarm<Infallible, Open> {
    ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(connection), event: open }
}

fn fail(waiting: Vec<Open>, cause: &str) {
    for open in waiting {
        // Whoever waited may have gone.
        let _ = open.opened.send(Err(OpenError::Unconnected(cause.to_owned())));
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
            FromSwarm::ConnectionEstablished(event) => self.came(&event),
            FromSwarm::ConnectionClosed(event) => self.went(&event),
            FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, .. }) => {
                if !matches!(error, DialError::DialPeerConditionFalse(_))
                    && let Some(waiting) = self.unconnected.remove(&peer)
                {
                    fail(waiting, &error.to_string());
                }
                return;
            }
            _ => return,
        }
        self.hand_on();
    }

    fn on_connection_handler_event(&mut self, _peer: PeerId, _connection: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.hand_on();
        loop {
            if let Some(order) = self.orders.pop_front() {
                return Poll::Ready(order);
            }
            match self.asked.poll_recv(cx) {
                Poll::Ready(Some(open)) => self.open(open),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}
