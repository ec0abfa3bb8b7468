//! Bitswap 1.2 (specs.ipfs.tech/bitswap-protocol): blocks to and from peers, over streams of its own.
//!
//! What we ask of all peers is one state without I/O ([`Asks`]); what each wants of us is its [`ledger::Ledger`]. For each peer
//! one task writes what we want, one what it wants, and one reads each of its streams. Blocks that arrive are named by hashing
//! them, once; what was not asked for is dropped. Everything is in memory only, and bounded: wants, streams, bytes on their
//! way in and out.

mod asks;
mod budget;
mod lacking;
mod ledger;
mod pace;
mod peer;
mod serve;
mod spoken;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use atoll_core::bitswap::{MESSAGE_BYTES_MAX, Message, Payload};
use atoll_core::block::{BLOCK_BYTES_MAX, Multihash};
use atoll_core::{Block, Blocks, Cid, TransportError};
use libp2p::{PeerId, Stream, StreamProtocol};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::counts::{self, Counts};
use crate::streams::{Incoming, OpenError, Opener, Streams};
pub(crate) use asks::Key;
use asks::{Answer, Asks};
use budget::Budget;
use lacking::Lacking;
use peer::Peer;
use spoken::Gone;
pub(crate) use spoken::Spoken;
use wire::{Reader, WireError};

/// The versions that are spoken, the best first.
pub(crate) const PROTOCOLS: [&str; 4] =
    ["/ipfs/bitswap/1.2.0", "/ipfs/bitswap/1.1.0", "/ipfs/bitswap/1.0.0", "/ipfs/bitswap"];
/// The most peers that are known at a time.
const PEERS_MAX: usize = 4096;
/// The most streams that are read of one peer; more are reset. Kubo opens one for each message.
const STREAMS_MAX: usize = 256;
/// As many while there are many in all.
const STREAMS_FEW: usize = 16;
/// How many in all are many: there are never more than twice as many, with 512 connections.
const STREAMS_MANY: usize = 8192;
/// How long a stream may take to open, the connection included.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A writer with nothing to say ends after this time.
const IDLE: Duration = Duration::from_secs(30);
/// The most entries of our list in one message.
const ENTRIES_AT_ONCE: usize = 512;
/// How often it is looked whether somebody takes too long.
const TICK: Duration = Duration::from_millis(50);
/// Memory for messages that arrive, in KiB; only those over [`SMALL_BYTES`] count.
const RECEIVING_KIB: usize = 128 * 1024;
const SMALL_BYTES: usize = 64 * 1024;
/// The largest message of a peer that was asked for nothing.
const UNASKED_BYTES_MAX: usize = 1024 * 1024;
/// How long a message may take from its first byte to its last, and, while others wait for the memory, before its size counts.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);
const MESSAGE_STALL: Duration = Duration::from_secs(5);
/// Bytes in a second that it has to bring then.
const MESSAGE_RATE: usize = 64 * 1024;

/// The exchange of blocks with all peers.
pub(crate) struct Bitswap {
    opener: Opener,
    blocks: Arc<dyn Blocks>,
    counts: Arc<Counts>,
    peers: Mutex<HashMap<PeerId, Arc<Peer>>>,
    asks: Mutex<Asks>,
    /// Wakes the clock, which stands still while nothing is wanted.
    wanted: Notify,
    lacking: Arc<Lacking>,
    spoken: Arc<Spoken>,
    sending: Budget,
    receiving: Budget,
    runtime: Handle,
}

impl Bitswap {
    /// Wants to be made within a runtime.
    pub(crate) fn new(opener: Opener, (blocks, counts): (Arc<dyn Blocks>, Arc<Counts>), config: &Config) -> Arc<Self> {
        let kib = |bytes: usize| u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        Arc::new(Self {
            opener,
            blocks,
            counts,
            peers: Mutex::default(),
            asks: Mutex::default(),
            wanted: Notify::new(),
            lacking: Arc::default(),
            spoken: Arc::default(),
            sending: Budget::new(config.sending_mib.saturating_mul(1024), kib(BLOCK_BYTES_MAX)),
            receiving: Budget::new(RECEIVING_KIB, kib(MESSAGE_BYTES_MAX)),
            runtime: Handle::current(),
        })
    }

    /// Where it is told what peers speak.
    pub(crate) fn spoken(&self) -> Arc<Spoken> {
        Arc::clone(&self.spoken)
    }

    /// Takes streams of others, as long as there are any.
    pub(crate) async fn accept(self: Arc<Self>, mut streams: Streams) {
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&self).watch());
        while let Some(incoming) = streams.recv().await {
            while tasks.try_join_next().is_some() {}
            match incoming {
                Incoming::Came(id) => lock(&self.asks).came(id),
                Incoming::Again(id) => {
                    let peer = lock(&self.peers).get(&id).cloned();
                    peer.inspect(|peer| peer.connected_again());
                }
                Incoming::Went(id) => {
                    self.with_asks(|asks| asks.went(id, Instant::now()));
                    if let Some(peer) = lock(&self.peers).remove(&id) {
                        lock(&peer.ledger).clear();
                    }
                }
                Incoming::Stream(id, stream) => {
                    counts::one(&self.counts.streams[0]);
                    let Some(peer) = self.peer(id) else { continue };
                    let most = if tasks.len() < STREAMS_MANY { STREAMS_MAX } else { STREAMS_FEW };
                    let Some(place) = peer.begin_reading(most) else {
                        tracing::debug!(peer = %id, "too many streams of Bitswap; one is reset");
                        continue;
                    };
                    let bitswap = Arc::clone(&self);
                    tasks.spawn(async move {
                        let _place = place;
                        if let Err(error) = bitswap.read(&peer, stream).await {
                            tracing::debug!(peer = %id, %error, "a stream of Bitswap ends");
                        }
                    });
                }
            }
        }
    }

    /// Those of `peers` that the session does not know.
    pub(crate) fn strangers(&self, key: Key, peers: impl Iterator<Item = PeerId>) -> Vec<PeerId> {
        lock(&self.asks).strangers(key, peers)
    }

    /// Whether one of `peers` ever gave a block.
    pub(crate) fn has_given(&self, mut peers: impl Iterator<Item = PeerId>) -> bool {
        let asks = lock(&self.asks);
        peers.any(|peer| asks.has_given(&peer))
    }

    /// Asks for a block; `peers` belong to the session from now on.
    ///
    /// # Errors
    /// [`TransportError::Refused`] when too much is asked for.
    pub(crate) fn ask(
        self: &Arc<Self>,
        key: Key,
        cid: &Cid,
        peers: impl Iterator<Item = PeerId>,
    ) -> Result<Asking, TransportError> {
        let answer = self.with_asks(|asks| asks.want(key, *cid, peers, Instant::now()))?;
        self.wanted.notify_one();
        Ok(Asking { bitswap: Arc::clone(self), cid: *cid, answer })
    }

    /// Adds peers to the session of a DAG. What it waits for goes to them too.
    pub(crate) fn join(self: &Arc<Self>, key: Key, peers: impl Iterator<Item = PeerId>) {
        if let Err(error) = self.with_asks(|asks| asks.join(key, peers, Instant::now())) {
            tracing::debug!(%error, "peers are not added to a session");
        }
    }

    /// Whom to tell that a block is here now.
    pub(crate) fn arrivals(self: &Arc<Self>) -> Arrivals {
        Arrivals(Arc::downgrade(self))
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
            let peer = Arc::new(Peer::new(id, Arc::clone(&self.lacking)));
            peers.insert(id, Arc::clone(&peer));
            peer
        })
    }

    /// Changes what is asked, and has it told to those whom it concerns.
    fn with_asks<T>(self: &Arc<Self>, change: impl FnOnce(&mut Asks) -> T) -> T {
        let (value, woken) = {
            let mut asks = lock(&self.asks);
            (change(&mut asks), asks.woken())
        };
        for id in woken {
            let Some(peer) = self.peer(id) else { continue };
            if peer.asking.wake() {
                let bitswap = Arc::clone(self);
                self.runtime.spawn(async move { bitswap.tell(&peer).await });
            }
        }
        value
    }

    fn wake_serving(self: &Arc<Self>, peer: &Arc<Peer>) {
        if peer.serving.wake() {
            let (bitswap, peer) = (Arc::clone(self), Arc::clone(peer));
            self.runtime.spawn(async move { bitswap.serve(&peer).await });
        }
    }

    /// Moves on what takes too long, while there is something that is wanted.
    async fn watch(self: Arc<Self>) {
        loop {
            if lock(&self.asks).is_idle() {
                self.wanted.notified().await;
            }
            sleep(TICK).await;
            self.with_asks(|asks| asks.tick(Instant::now()));
        }
    }

    /// Tells a peer what we want, until there was nothing to tell for a while.
    async fn tell(self: &Arc<Self>, peer: &Peer) {
        let mut stream = None;
        let has_work = || lock(&self.asks).has_work(peer.id);
        while peer.asking.wait(has_work, IDLE).await {
            let entries = lock(&self.asks).take(peer.id, ENTRIES_AT_ONCE);
            counts::many(&self.counts.wants[1], entries.len());
            let message = Message { entries, ..Message::default() };
            if let Err(error) = self.send(peer, &mut stream, &message).await {
                tracing::debug!(peer = %peer.id, %error, "nothing can be asked");
                self.with_asks(|asks| asks.lost(peer.id, &error, Instant::now()));
                stream = None;
            }
        }
        serve::close(stream).await;
    }

    async fn read(self: &Arc<Self>, peer: &Arc<Peer>, stream: Stream) -> Result<(), WireError> {
        let mut reader = Reader::new(stream);
        while reader.begins().await? {
            // Others of the peer's messages wait for their turn.
            let _turn = peer.turn().await;
            let message = self.read_message(peer, &mut reader).await?;
            for (cid, has) in message.presences {
                self.with_asks(|asks| asks.presence(peer.id, cid, has, Instant::now()));
            }
            if message.full || !message.entries.is_empty() {
                counts::many(&self.counts.wants[0], message.entries.len());
                lock(&peer.ledger).receive(message.full, message.entries);
                self.wake_serving(peer);
            }
        }
        Ok(())
    }

    /// One message, whose blocks are taken as they come.
    async fn read_message(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        reader: &mut Reader<Stream>,
    ) -> Result<Message, WireError> {
        let may_send = lock(&self.asks).may_send(peer.id);
        let most = if may_send { MESSAGE_BYTES_MAX } else { UNASKED_BYTES_MAX };
        let len = timeout(MESSAGE_STALL, reader.length(most)).await.map_err(|_| WireError::Late)??;
        let _room = match len > SMALL_BYTES {
            true => Some(self.receiving.take(len, may_send).await.ok_or(WireError::Ended)?),
            false => None,
        };
        let reading = reader.message(len, |payload| self.receive(peer, may_send, payload));
        tokio::pin!(reading);
        let begun = Instant::now();
        let patience = MESSAGE_STALL + Duration::from_secs((len / MESSAGE_RATE) as u64);
        loop {
            tokio::select! {
                biased;
                message = &mut reading => return message,
                () = sleep(MESSAGE_STALL) => {
                    let elapsed = begun.elapsed();
                    if elapsed >= MESSAGE_TIMEOUT || (elapsed >= patience && self.receiving.is_short()) {
                        return Err(WireError::Late);
                    }
                }
            }
        }
    }

    /// Takes a block. It is only hashed if its peer was asked for something.
    fn receive(self: &Arc<Self>, peer: &Peer, may_send: bool, payload: Payload) -> Result<(), WireError> {
        let now = Instant::now();
        let len = payload.bytes.len();
        let block = if may_send { payload.into_block() } else { None };
        let was_asked = block.is_some_and(|block| self.with_asks(|asks| asks.block(peer.id, &block, now)));
        if was_asked {
            counts::one(&self.counts.blocks[0]);
            counts::many(&self.counts.bytes[0], len);
        } else {
            counts::one(&self.counts.unasked);
            lock(&self.asks).wrong(peer.id, now);
        }
        if peer.count(was_asked) { Ok(()) } else { Err(WireError::Unasked) }
    }

    /// A stream of the newest protocol that the peer speaks. Nothing is sent before what is written.
    async fn open(&self, peer: PeerId) -> Result<Stream, TransportError> {
        let limit = TransportError::TimedOut(OPEN_TIMEOUT.as_secs() * 1000);
        let opens = async |protocol| match self.opener.open(peer, StreamProtocol::new(protocol)).await {
            Ok(stream) => {
                counts::one(&self.counts.streams[1]);
                Ok(stream)
            }
            Err(OpenError::Unspoken) => Err(TransportError::Refused),
            Err(error) => Err(TransportError::Connect(error.to_string())),
        };
        let opening = async {
            // Which fails at once when there is no connection.
            let stream = opens(PROTOCOLS[0]).await?;
            match self.spoken.of(&peer).await {
                Err(Gone) => Err(TransportError::Broken("the connection is closed".to_owned())),
                Ok(None) => Err(TransportError::Refused),
                Ok(Some(protocol)) if protocol == PROTOCOLS[0] => Ok(stream),
                Ok(Some(older)) => opens(older).await,
            }
        };
        timeout(OPEN_TIMEOUT, opening).await.map_err(|_| limit)?
    }
}

/// A block that was asked for. Dropped unanswered, it is taken back.
pub(crate) struct Asking {
    bitswap: Arc<Bitswap>,
    cid: Cid,
    answer: oneshot::Receiver<Answer>,
}

impl Asking {
    /// Waits for it.
    ///
    /// # Errors
    /// [`TransportError`] says why it did not come.
    pub(crate) async fn answer(mut self) -> Result<Block, TransportError> {
        let answer = (&mut self.answer).await;
        answer.unwrap_or_else(|_| Err(TransportError::Broken("the exchange ends".to_owned())))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.answer.close();
        self.bitswap.with_asks(|asks| asks.give_up(&self.cid));
    }
}

/// Takes the news that blocks arrived. It does not keep the exchange alive.
#[derive(Clone)]
pub struct Arrivals(Weak<Bitswap>);

impl Arrivals {
    /// A block is held now, and its bytes can be read: whoever asked for it before is told. Costs next to nothing while nobody
    /// wants what is not here.
    pub fn arrived(&self, hash: &Multihash) {
        let Some(bitswap) = self.0.upgrade() else { return };
        for id in bitswap.lacking.take(hash) {
            let peer = lock(&bitswap.peers).get(&id).cloned();
            if let Some(peer) = peer {
                lock(&peer.ledger).arrived(hash);
                bitswap.wake_serving(&peer);
            }
        }
    }
}

/// The value behind a lock, whatever a panicking thread left there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
