//! A peer that speaks libp2p and does with streams of Bitswap what it likes.

use atoll_core::bitswap::Message;
use futures_util::StreamExt as _;
use futures_util::io::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, Stream, StreamProtocol, noise, tcp, yamux};
use libp2p_stream::{Behaviour, Control, IncomingStreams};
use multiaddr::Multiaddr;
use tokio::task::JoinHandle;

const BITSWAP: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");

pub(crate) struct Hostile {
    pub(crate) address: Multiaddr,
    me: PeerId,
    other: PeerId,
    control: Control,
    incoming: IncomingStreams,
    held: Vec<Stream>,
    swarm: JoinHandle<()>,
}

impl Hostile {
    /// One that is connected to `address`.
    pub(crate) async fn connected(address: &Multiaddr) -> Self {
        Self::start(Some(address)).await
    }

    /// One that waits for others.
    pub(crate) async fn listening() -> Self {
        Self::start(None).await
    }

    async fn start(dial: Option<&Multiaddr>) -> Self {
        let mut swarm = libp2p::SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| Behaviour::new())
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::from_secs(600)))
            .build();
        let mut control = swarm.behaviour().new_control();
        let incoming = control.accept(BITSWAP).unwrap();
        match dial {
            Some(address) => swarm.dial(address.clone()).unwrap(),
            None => drop(swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap()),
        }
        let (me, mut other) = (*swarm.local_peer_id(), PeerId::random());
        let address = loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } => break address.with_p2p(me).unwrap(),
                SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
                    other = peer_id;
                    break endpoint.get_remote_address().clone();
                }
                _ => {}
            }
        };
        let swarm = tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Self { address, me, other, control, incoming, held: Vec::new(), swarm }
    }

    /// Who it is.
    pub(crate) fn me(&self) -> PeerId {
        self.me
    }

    /// A stream of Bitswap to the peer that it is connected to.
    pub(crate) async fn open(&self) -> Wire {
        self.open_as(BITSWAP).await
    }

    /// A stream of another protocol.
    pub(crate) async fn open_as(&self, protocol: StreamProtocol) -> Wire {
        Wire(self.control.clone().open_stream(self.other, protocol).await.unwrap())
    }

    /// Takes the next stream of the other side, and never reads from it.
    pub(crate) async fn hold_next_stream(&mut self) {
        let next = tokio::time::timeout(std::time::Duration::from_secs(3), self.incoming.next()).await;
        self.held.extend(next.ok().flatten().map(|(_, stream)| stream));
    }

    /// Answers each message on a stream of its own, for ever.
    pub(crate) async fn answer(mut self, answer: impl Fn(&Message) -> Message) {
        let mut reading = futures_util::stream::SelectAll::new();
        loop {
            tokio::select! {
                Some((peer, stream)) = self.incoming.next() => reading.push(messages(peer, stream).boxed()),
                Some((peer, message)) = reading.next() => {
                    let reply = answer(&message);
                    if !reply.is_empty() && let Ok(stream) = self.control.open_stream(peer, BITSWAP).await {
                        // The other side may have had enough.
                        let _ = Wire(stream).send(&reply).await;
                    }
                }
            }
        }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.swarm.abort();
    }
}

/// The messages of a stream.
fn messages(peer: PeerId, stream: Stream) -> impl futures_util::Stream<Item = (PeerId, Message)> {
    futures_util::stream::unfold(stream, move |mut stream| async move {
        let (mut len, mut shift, mut byte) = (0, 0, [0x80]);
        while byte[0] & 0x80 != 0 {
            stream.read_exact(&mut byte).await.ok()?;
            len |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
        }
        let mut bytes = vec![0; len];
        stream.read_exact(&mut bytes).await.ok()?;
        Some(((peer, Message::decode(bytes.into()).ok()?), stream))
    })
}

/// What it writes on.
pub(crate) struct Wire(Stream);

impl Wire {
    pub(crate) async fn send(&mut self, message: &Message) -> std::io::Result<()> {
        self.write(&message.encode()).await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }
}
