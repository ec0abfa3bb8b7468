//! What others are told of us. Peers in the public network hear of public addresses alone: others are of no use to them, and
//! tell strangers what a private network looks like. Keeps nothing.

use std::collections::HashSet;
use std::task::{Context, Poll};

use atoll_core::Reach;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::identify::{self, Config, Event};
use libp2p::swarm::behaviour::{AddressChange, ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

/// Identify (libp2p specs), once for those who are near and once for all others.
pub(crate) struct Behaviour {
    near: identify::Behaviour,
    far: identify::Behaviour,
    /// The connections of those who are not near.
    far_connections: HashSet<ConnectionId>,
    /// Whether there is a public network from which addresses are kept.
    is_public: bool,
}

impl Behaviour {
    pub(crate) fn new(config: &Config, is_public: bool) -> Self {
        let one = || identify::Behaviour::new(config.clone());
        Self { near: one(), far: one(), far_connections: HashSet::new(), is_public }
    }

    /// Notes who is at the other end of a connection; the half that speaks to it.
    fn meets(&mut self, connection: ConnectionId, remote: &Multiaddr) -> &mut identify::Behaviour {
        if self.is_public && Reach::of(remote) == Reach::Public {
            self.far_connections.insert(connection);
        }
        self.half(connection)
    }

    fn half(&mut self, connection: ConnectionId) -> &mut identify::Behaviour {
        if self.far_connections.contains(&connection) { &mut self.far } else { &mut self.near }
    }
}

/// Which address an event is about.
fn address_of<'a>(event: &FromSwarm<'a>) -> Option<&'a Multiaddr> {
    match event {
        FromSwarm::NewListenAddr(event) => Some(event.addr),
        FromSwarm::ExpiredListenAddr(event) => Some(event.addr),
        FromSwarm::ExternalAddrConfirmed(event) => Some(event.addr),
        FromSwarm::ExternalAddrExpired(event) => Some(event.addr),
        _ => None,
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = THandler<identify::Behaviour>;
    type ToSwarm = Event;

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let mut known = self.near.handle_pending_outbound_connection(id, peer, addresses, role)?;
        known.extend(self.far.handle_pending_outbound_connection(id, peer, addresses, role)?);
        Ok(known)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.meets(id, remote).handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.meets(id, address).handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id: id, .. })
            | FromSwarm::AddressChange(AddressChange { connection_id: id, .. }) => self.half(id).on_swarm_event(event),
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.half(connection_id).on_swarm_event(event);
                self.far_connections.remove(&connection_id);
            }
            // Another half of the node may have refused the connection.
            FromSwarm::ListenFailure(failure) => {
                self.far_connections.remove(&failure.connection_id);
            }
            event => {
                if address_of(&event).is_none_or(|address| Reach::of(address) == Reach::Public) {
                    self.far.on_swarm_event(event);
                }
                self.near.on_swarm_event(event);
                if let FromSwarm::DialFailure(failure) = event {
                    self.far_connections.remove(&failure.connection_id);
                }
            }
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.half(id).on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        match self.near.poll(cx) {
            Poll::Ready(event) => Poll::Ready(event),
            Poll::Pending => self.far.poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use libp2p::core::transport::MemoryTransport;
    use libp2p::core::upgrade::Version;
    use libp2p::identity::Keypair;
    use libp2p::swarm::SwarmEvent;
    use libp2p::{Swarm, SwarmBuilder, noise, tcp, yamux};
    use tokio::time::{Duration, timeout};

    use super::*;

    /// When a test is stuck.
    const PATIENCE: Duration = Duration::from_secs(30);
    const PUBLIC: &str = "/ip4/203.0.113.7/tcp/4001";

    fn swarm(is_public: bool) -> Swarm<Behaviour> {
        let builder = SwarmBuilder::with_new_identity().with_tokio();
        let tcp = builder.with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default).unwrap();
        let memory = |key: &Keypair| {
            let noise = noise::Config::new(key).unwrap();
            MemoryTransport::default().upgrade(Version::V1).authenticate(noise).multiplex(yamux::Config::default())
        };
        use libp2p::Transport as _;
        let behaviour = |key: &Keypair| {
            Behaviour::new(&Config::new_with_signed_peer_record("ipfs/0.1.0".to_owned(), key), is_public)
        };
        tcp.with_other_transport(memory).unwrap().with_behaviour(behaviour).unwrap().build()
    }

    /// What somebody hears from a node with loopback, private and public addresses, by the way from it to `at`.
    async fn heard_at(at: &str, is_public: bool) -> Vec<String> {
        let (mut node, mut other) = (swarm(is_public), swarm(false));
        for address in ["/ip4/127.0.0.1/tcp/4001", "/ip4/10.1.2.3/tcp/4001", PUBLIC] {
            node.add_external_address(address.parse().unwrap());
        }
        node.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        other.listen_on(at.parse().unwrap()).unwrap();
        let hearing = async {
            loop {
                tokio::select! {
                    _ = node.select_next_some() => {}
                    event = other.select_next_some() => match event {
                        SwarmEvent::NewListenAddr { address, .. } => node.dial(address).unwrap(),
                        SwarmEvent::Behaviour(Event::Received { info, .. }) => return info.listen_addrs,
                        _ => {}
                    }
                }
            }
        };
        let heard = timeout(PATIENCE, hearing).await.unwrap();
        heard.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn strangers_hear_of_public_addresses_alone() {
        // In memory there is no network that an address would belong to, so it counts as public.
        assert_eq!(heard_at("/memory/0", true).await, [PUBLIC]);
        let near = heard_at("/ip4/127.0.0.1/tcp/0", true).await;
        assert!(near.len() == 4 && near.iter().any(|address| address.contains("/10.1.2.3/")), "{near:?}");
        assert_eq!(heard_at("/memory/0", false).await.len(), 4, "without a public network");
    }
}
