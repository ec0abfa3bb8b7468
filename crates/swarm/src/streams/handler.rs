//! The streams of one connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use libp2p::PeerId;
use libp2p::core::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol,
};
use tokio::sync::mpsc;

use super::{Incoming, Open, OpenError, Opened};

/// Takes the streams of one connection, and opens others on it.
pub(crate) struct Handler {
    peer: PeerId,
    protocols: &'static [&'static str],
    streams: mpsc::Sender<Incoming>,
    opening: VecDeque<Open>,
}

impl Handler {
    pub(super) fn new(peer: PeerId, protocols: &'static [&'static str], streams: mpsc::Sender<Incoming>) -> Self {
        Self { peer, protocols, streams, opening: VecDeque::new() }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = Take;
    type OutboundProtocol = Speak;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opened;

    fn listen_protocol(&self) -> SubstreamProtocol<Take> {
        SubstreamProtocol::new(Take(self.protocols), ())
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Speak, Opened, Infallible>> {
        while let Some(Open { protocol, opened, .. }) = self.opening.pop_front() {
            if !opened.is_closed() {
                let protocol = SubstreamProtocol::new(Speak(protocol), opened);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
        }
        Poll::Pending
    }

    /// It is polled after each event.
    fn on_behaviour_event(&mut self, open: Open) {
        self.opening.push_back(open);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Take, Speak, (), Opened>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. }) => {
                let taken = self.streams.try_send(Incoming::Stream(self.peer, stream));
                taken.unwrap_or_else(|_| tracing::debug!(peer = %self.peer, "too many streams wait; one is reset"));
            }
            // Whoever waited may have gone.
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info: opened }) => {
                let _ = opened.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: opened, error }) => {
                let error = match error {
                    StreamUpgradeError::NegotiationFailed => OpenError::Unspoken,
                    other => OpenError::Unconnected(other.to_string()),
                };
                let _ = opened.send(Err(error));
            }
            _ => {}
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

/// Opens a stream of this protocol as it is.
pub(crate) struct Speak(StreamProtocol);

impl UpgradeInfo for Speak {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Once<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(self.0.clone())
    }
}

impl OutboundUpgrade<Stream> for Speak {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _protocol: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}
