//! Bitswap 1.2 (specs.ipfs.tech/bitswap-protocol): blocks to and from peers, over streams of its own.
//!
//! For each peer there is one [`Peer`]: what we asked of it, what it wants of us. One task writes to it, one reads each of
//! its streams. Blocks that arrive are named by hashing them; what was not asked for is dropped. Everything is in memory
//! only, and bounded: wants by peer, streams by peer, blocks on their way out over all peers.

mod peer;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atoll_core::bitswap::{Message, Payload, Wish};
use atoll_core::{Blocks, Cid, TransportError};
use bytes::Bytes;
use futures_util::io::AsyncWriteExt as _;
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::{Control, OpenStreamError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Config;
use crate::inbound::Streams;
use peer::{Peer, Work};

/// The versions that are spoken, the best first.
pub(crate) const PROTOCOLS: [&str; 4] =
    ["/ipfs/bitswap/1.2.0", "/ipfs/bitswap/1.1.0", "/ipfs/bitswap/1.0.0", "/ipfs/bitswap"];
/// Payload of one message: further blocks go into the next.
const REPLY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The most peers that are remembered while nothing is under way with them.
const PEERS_MAX: usize = 4096;
/// How long a message may take to go out.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection and a stream may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A writer with nothing to say ends after this time.
const IDLE: Duration = Duration::from_secs(30);
/// Room in the semaphore for the largest block, in KiB.
const BLOCK_KIB_MAX: u32 = 2048;

/// The exchange of blocks with all peers.
pub(crate) struct Bitswap {
    control: Control,
    blocks: Arc<dyn Blocks>,
    peers: Mutex<HashMap<PeerId, Arc<Peer>>>,
    /// KiB of blocks on their way to peers. In turn, so that no peer starves another.
    sending: Arc<Semaphore>,
}

impl Bitswap {
    pub(crate) fn new(control: Control, blocks: Arc<dyn Blocks>, config: &Config) -> Arc<Self> {
        let room = config.sending_mib.saturating_mul(1024).max(BLOCK_KIB_MAX as usize);
        let sending = Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { control, blocks, peers: Mutex::default(), sending })
    }

    /// Takes streams of others, as long as there are any.
    pub(crate) async fn accept(self: Arc<Self>, mut streams: Streams) {
        let mut reading = JoinSet::new();
        while let Some((id, stream)) = streams.recv().await {
            while reading.try_join_next().is_some() {}
            let Some(peer) = self.peer(id) else { continue };
            // Over the limit of one peer the stream is dropped, which resets it.
            if let Some(place) = peer.begin_reading() {
                let bitswap = Arc::clone(&self);
                reading.spawn(async move {
                    let _place = place;
                    if let Err(error) = bitswap.read(&peer, stream).await {
                        tracing::debug!(peer = %id, %error, "a stream of Bitswap ends");
                    }
                });
            }
        }
    }

    /// The block from one peer: named rightly, since what comes is named by hashing it.
    ///
    /// # Errors
    /// [`TransportError`] says why it did not come.
    pub(crate) async fn fetch(self: &Arc<Self>, id: PeerId, cid: &Cid) -> Result<Bytes, TransportError> {
        let peer = self.peer(id).ok_or(TransportError::Refused)?;
        let asking = peer.ask(*cid)?;
        self.wake(&peer);
        asking.answer().await
    }

    /// What is known of a peer; `None` when too many are known.
    fn peer(&self, id: PeerId) -> Option<Arc<Peer>> {
        let mut peers = lock(&self.peers);
        if let Some(peer) = peers.get(&id) {
            return Some(Arc::clone(peer));
        }
        if peers.len() >= PEERS_MAX {
            peers.retain(|_, peer| Arc::strong_count(peer) > 1);
        }
        (peers.len() < PEERS_MAX).then(|| {
            let peer = Arc::new(Peer::new(id));
            peers.insert(id, Arc::clone(&peer));
            peer
        })
    }

    async fn read(self: &Arc<Self>, peer: &Arc<Peer>, stream: Stream) -> Result<(), wire::WireError> {
        let mut reader = wire::Reader::new(stream);
        while reader.begins().await? {
            // Others of the peer's messages wait for their turn.
            let _turn = peer.turn().await;
            let message = reader.message().await?;
            peer.receive(message)?;
            self.wake(peer);
        }
        Ok(())
    }

    /// Lets the peer's writer know of work, and starts it if there is none.
    fn wake(self: &Arc<Self>, peer: &Arc<Peer>) {
        if peer.wake() {
            let (bitswap, peer) = (Arc::clone(self), Arc::clone(peer));
            tokio::spawn(async move { bitswap.write(&peer).await });
        }
    }

    /// Tells the peer what there is to tell, until there was nothing for a while.
    async fn write(&self, peer: &Peer) {
        let mut stream = None;
        while let Some(work) = peer.work(IDLE).await {
            let (message, permits) = self.message(peer, work).await;
            if message.is_empty() {
                continue;
            }
            if let Err(error) = self.send(peer, &mut stream, &message).await {
                tracing::debug!(peer = %peer.id, %error, "nothing can be sent");
                peer.lost(&error);
                stream = None;
            }
            drop(permits);
        }
        if let Some(mut stream) = stream {
            let _ = timeout(WRITE_TIMEOUT, stream.close()).await;
        }
    }

    /// What is to be sent, and the room in memory that it takes.
    async fn message(&self, peer: &Peer, work: Work) -> (Message, Vec<OwnedSemaphorePermit>) {
        let mut message = Message { entries: work.entries, ..Message::default() };
        let (mut permits, mut bytes) = (Vec::new(), 0_usize);
        for (at, want) in work.wants.iter().enumerate() {
            if bytes >= REPLY_BYTES_MAX {
                peer.put_back(work.wants.get(at..).unwrap_or_default());
                break;
            }
            let Ok(mut permit) = Arc::clone(&self.sending).acquire_many_owned(BLOCK_KIB_MAX).await else { break };
            match self.blocks.block(&want.cid, &want.cid).await {
                Ok(block) if want.wish == Wish::Block => {
                    if bytes > 0 && bytes.saturating_add(block.len()) > REPLY_BYTES_MAX {
                        peer.put_back(work.wants.get(at..).unwrap_or_default());
                        break;
                    }
                    let payload = Payload::new(&want.cid, block);
                    bytes = bytes.saturating_add(payload.encoded_len());
                    let spare =
                        BLOCK_KIB_MAX.saturating_sub(u32::try_from(payload.bytes.len() / 1024 + 1).unwrap_or(0));
                    drop(permit.split(spare as usize));
                    permits.push(permit);
                    message.payload.push(payload);
                    peer.served(&want.cid);
                }
                Ok(_) => message.presences.push((want.cid, true)),
                Err(_) if want.send_dont_have => message.presences.push((want.cid, false)),
                Err(_) => {}
            }
        }
        (message, permits)
    }

    async fn send(&self, peer: &Peer, stream: &mut Option<Stream>, message: &Message) -> Result<(), TransportError> {
        let bytes = message.encode();
        // A stream that was open before may have been closed by the other side: once more on a new one.
        if let Some(open) = stream.as_mut()
            && write(open, &bytes).await.is_ok()
        {
            return Ok(());
        }
        let mut open = self.open(peer.id).await?;
        write(&mut open, &bytes).await?;
        *stream = Some(open);
        Ok(())
    }

    async fn open(&self, peer: PeerId) -> Result<Stream, TransportError> {
        let limit = TransportError::TimedOut(OPEN_TIMEOUT.as_secs() * 1000);
        for protocol in PROTOCOLS {
            let mut control = self.control.clone();
            let opened = timeout(OPEN_TIMEOUT, control.open_stream(peer, StreamProtocol::new(protocol))).await;
            match opened.map_err(|_| limit.clone())? {
                Ok(stream) => return Ok(stream),
                Err(OpenStreamError::UnsupportedProtocol(_)) => {}
                Err(error) => return Err(TransportError::Connect(error.to_string())),
            }
        }
        Err(TransportError::Refused)
    }
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> Result<(), TransportError> {
    let written = timeout(WRITE_TIMEOUT, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    let late = TransportError::TimedOut(WRITE_TIMEOUT.as_secs() * 1000);
    written.await.map_err(|_| late)?.map_err(|error| TransportError::Broken(error.to_string()))
}

/// The value behind a lock, whatever a panicking thread left there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
