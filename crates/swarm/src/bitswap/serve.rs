//! Answers to what peers want: whether blocks are here by the index alone, then the blocks, one reply at a time for each peer.
//!
//! Replies take turns by the memory that they need, each at most [`REPLY_BYTES_MAX`] of blocks, so that no peer starves
//! another. Whoever does not take what it is sent is left as soon as others wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use atoll_core::bitswap::{Message, Payload, Wish};
use atoll_core::{Blocks, Cid, FetchError, TransportError};
use bytes::Bytes;
use futures_util::io::AsyncWriteExt as _;
use futures_util::stream::{self, StreamExt as _};
use libp2p::Stream;
use tokio::time::{sleep, timeout};

use super::ledger::Due;
use super::peer::Peer;
use super::{Bitswap, IDLE, lock};
use crate::counts;

/// Blocks of one reply, in bytes: further ones go into the next.
const REPLY_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// As much is sent at once to a peer that has not shown yet that it takes it, or one block.
const FIRST_BYTES_MAX: u64 = 256 * 1024;
/// A block of so many bytes is sent to whoever only asks whether it is here (as other implementations do).
const INSTEAD_OF_HAVE_BYTES: u64 = 1024;
/// Blocks of one reply that are read at a time.
const READ_AT_ONCE: usize = 4;
/// Bytes that are written at once.
const PIECE_BYTES: usize = 64 * 1024;
/// How long a piece may take, and while others wait.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
const STALL: Duration = Duration::from_secs(2);
/// How often it is looked whether others wait.
const LOOK: Duration = Duration::from_millis(500);

/// A stream to a peer, and how often that had connected again when the stream was opened.
pub(super) struct Open {
    stream: Stream,
    again: u64,
}

/// The blocks of a reply, and how many bytes they have.
type Reply = (Vec<Due>, u64);

impl Bitswap {
    /// Answers a peer until there was nothing to answer for a while.
    pub(super) async fn serve(&self, peer: &Peer) {
        let mut stream = None;
        let has_work = || lock(&peer.ledger).has_work();
        while peer.serving.wait(has_work, IDLE).await {
            if let Err(error) = self.reply(peer, &mut stream).await {
                tracing::debug!(peer = %peer.id, %error, "nothing can be sent");
                // It asks again for what it still wants.
                lock(&peer.ledger).clear();
                stream = None;
            }
        }
        close(stream).await;
    }

    /// Sends what is due and fits.
    async fn reply(&self, peer: &Peer, stream: &mut Option<Open>) -> Result<(), TransportError> {
        let due = lock(&peer.ledger).take();
        let (presences, (blocks, bytes)) = self.plan(peer, due).await;
        if !presences.is_empty() {
            // Not after blocks, for which it may be a while until it is this peer's turn.
            self.send(peer, stream, &Message { presences, ..Message::default() }).await?;
        }
        if blocks.is_empty() {
            return Ok(());
        }
        let room = self.sending.take(usize::try_from(bytes).unwrap_or(usize::MAX), peer.is_proven()).await;
        let payload = self.read_blocks(peer, &blocks).await;
        let (blocks, bytes) = (payload.len(), payload.iter().map(|block| block.bytes.len()).sum());
        let sent = self.send(peer, stream, &Message { payload, ..Message::default() }).await;
        drop(room);
        if sent.is_ok() {
            counts::many(&self.counts.blocks[1], blocks);
            counts::many(&self.counts.bytes[1], bytes);
        }
        sent
    }

    /// What is said, and which blocks are sent; the others come later.
    async fn plan(&self, peer: &Peer, due: Vec<Due>) -> (Vec<(Cid, bool)>, Reply) {
        let most = if peer.is_proven() { REPLY_BYTES_MAX } else { FIRST_BYTES_MAX };
        let (mut presences, mut blocks, mut bytes) = (Vec::new(), Vec::new(), 0_u64);
        let mut sizes = self.sizes(peer, &due).await.into_iter();
        for (at, due_now) in due.iter().enumerate() {
            match (sizes.next().flatten(), due_now.wish) {
                (Some(size), wish) if wish == Wish::Block || size <= INSTEAD_OF_HAVE_BYTES => {
                    if bytes > 0 && bytes.saturating_add(size) > most {
                        let wants_blocks = |due: &&Due| due.wish == Wish::Block;
                        let later: Vec<Due> = due.iter().skip(at).filter(wants_blocks).copied().collect();
                        // Whether it has it is answered by what it is told below.
                        if wish == Wish::Block {
                            lock(&peer.ledger).put_back(&later);
                            break;
                        }
                        presences.push((due_now.cid, true));
                        continue;
                    }
                    bytes = bytes.saturating_add(size);
                    blocks.push(*due_now);
                }
                (Some(_), _) => presences.push((due_now.cid, true)),
                (None, _) if due_now.send_dont_have => presences.push((due_now.cid, false)),
                (None, _) => {}
            }
        }
        (presences, (blocks, bytes))
    }

    /// The sizes of the blocks that are here. The others are noted as lacking.
    async fn sizes(&self, peer: &Peer, due: &[Due]) -> Vec<Option<u64>> {
        let cids: Vec<Cid> = due.iter().map(|due| due.cid).collect();
        let mut sizes = self.blocks.sizes(&cids).await;
        let missing = |sizes: &[Option<u64>]| -> Vec<Cid> {
            cids.iter().zip(sizes).filter(|(_, size)| size.is_none()).map(|(cid, _)| *cid).collect()
        };
        let lacked = missing(&sizes);
        if lacked.is_empty() {
            return sizes;
        }
        {
            let mut ledger = lock(&peer.ledger);
            lacked.iter().for_each(|cid| ledger.lack(cid));
        }
        // One that came between the look and the note told nobody: it is looked for once more.
        let again = self.blocks.sizes(&lacked).await;
        let found = lacked.iter().zip(again).filter_map(|(cid, size)| size.map(|_| *cid));
        for cid in found {
            lock(&peer.ledger).arrived(cid.hash());
        }
        sizes.resize(cids.len(), None);
        sizes
    }

    /// The blocks that can be read.
    async fn read_blocks(&self, peer: &Peer, due: &[Due]) -> Vec<Payload> {
        let cids: Vec<Cid> = due.iter().map(|due| due.cid).collect();
        let mut read = stream::iter(cids).map(|cid| read(Arc::clone(&self.blocks), cid)).buffered(READ_AT_ONCE);
        let mut payload = Vec::with_capacity(due.len());
        while let Some((cid, bytes)) = read.next().await {
            match bytes {
                Ok(bytes) => {
                    lock(&peer.ledger).served(&cid);
                    payload.push(Payload::new(&cid, bytes));
                }
                Err(error) => {
                    tracing::debug!(%cid, %error, "a wanted block cannot be read");
                    lock(&peer.ledger).lack(&cid);
                }
            }
        }
        payload
    }

    /// Writes a message on `stream`, or on a new one.
    pub(super) async fn send(
        &self,
        peer: &Peer,
        stream: &mut Option<Open>,
        message: &Message,
    ) -> Result<(), TransportError> {
        if message.is_empty() {
            return Ok(());
        }
        let parts = message.encode_parts();
        // A stream that was open before may have been closed by the other side: once more on a new one.
        if let Some(mut open) = stream.take_if(|open| open.again == peer.again()) {
            match self.write(peer, &mut open.stream, &parts).await {
                Ok(()) => {
                    *stream = Some(open);
                    return Ok(());
                }
                Err(TransportError::TimedOut(limit)) => return Err(TransportError::TimedOut(limit)),
                Err(_) => {}
            }
        }
        if stream.is_some() {
            // On an older connection, where it may take what was written before.
            self.runtime.spawn(close(stream.take()));
        }
        let again = peer.again();
        let mut open = Open { stream: self.open(peer.id).await?, again };
        self.write(peer, &mut open.stream, &parts).await?;
        *stream = Some(open);
        Ok(())
    }

    async fn write(&self, peer: &Peer, stream: &mut Stream, parts: &[Bytes]) -> Result<(), TransportError> {
        for part in parts {
            for piece in part.chunks(PIECE_BYTES) {
                self.within_patience(peer, stream.write_all(piece)).await?;
            }
        }
        self.within_patience(peer, stream.flush()).await?;
        peer.took(parts.iter().map(Bytes::len).sum());
        Ok(())
    }

    /// Waits for the peer to take something, but not long while others wait for the memory.
    async fn within_patience(
        &self,
        peer: &Peer,
        taken: impl Future<Output = std::io::Result<()>>,
    ) -> Result<(), TransportError> {
        tokio::pin!(taken);
        let begun = Instant::now();
        loop {
            tokio::select! {
                biased;
                taken = &mut taken => return taken.map_err(|error| TransportError::Broken(error.to_string())),
                () = sleep(LOOK) => {
                    let elapsed = begun.elapsed();
                    if elapsed >= PIECE_TIMEOUT || (elapsed >= STALL && self.sending.is_short()) {
                        peer.stalled();
                        return Err(TransportError::TimedOut(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)));
                    }
                }
            }
        }
    }
}

async fn read(blocks: Arc<dyn Blocks>, cid: Cid) -> (Cid, Result<Bytes, FetchError>) {
    let bytes = match blocks.cached(&cid) {
        Some(bytes) => Ok(bytes),
        None => blocks.block(&cid, &cid).await,
    };
    (cid, bytes)
}

/// Ends a stream in good order, if it goes at once.
pub(super) async fn close(open: Option<Open>) {
    if let Some(mut open) = open {
        let _ = timeout(STALL, open.stream.close()).await;
    }
}
