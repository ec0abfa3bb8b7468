//! Messages on a stream: a length, then so many bytes. Nothing is reserved on a peer's word.

use std::time::Duration;

use atoll_core::bitswap::{BitswapError, MESSAGE_BYTES_MAX, Message};
use bytes::Bytes;
use futures_util::io::{AsyncReadExt as _, BufReader};
use libp2p::Stream;
use tokio::time::timeout;

/// How long a message may take from its first byte to its last.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// The messages of one stream.
pub(super) struct Reader {
    stream: BufReader<Stream>,
    /// The first byte of the next message.
    first: u8,
}

impl Reader {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream: BufReader::with_capacity(BUFFER_BYTES, stream), first: 0 }
    }

    /// Waits for the next message; `false` when the peer has ended the stream.
    pub(super) async fn begins(&mut self) -> Result<bool, WireError> {
        let mut first = [0];
        let read = self.stream.read(&mut first).await?;
        [self.first] = first;
        Ok(read > 0)
    }

    /// The message that has begun.
    pub(super) async fn message(&mut self) -> Result<Message, WireError> {
        let rest = timeout(MESSAGE_TIMEOUT, self.rest()).await.map_err(|_| WireError::Late)??;
        Ok(Message::decode(rest)?)
    }

    async fn rest(&mut self) -> Result<Bytes, WireError> {
        let len = self.length().await?;
        let mut bytes = Vec::new();
        (&mut self.stream).take(len as u64).read_to_end(&mut bytes).await?;
        if bytes.len() < len { Err(WireError::Broken) } else { Ok(bytes.into()) }
    }

    async fn length(&mut self) -> Result<usize, WireError> {
        let (mut byte, mut len, mut shift) = (self.first, 0_usize, 0);
        loop {
            len |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if len > MESSAGE_BYTES_MAX { Err(BitswapError::TooLarge(len).into()) } else { Ok(len) };
            }
            shift += 7;
            // 4 MiB take four bytes.
            if shift > 21 {
                return Err(WireError::Length);
            }
            let mut next = [0];
            self.stream.read_exact(&mut next).await?;
            [byte] = next;
        }
    }
}

/// Why a stream ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Message(#[from] BitswapError),
    #[error("a length is over four bytes")]
    Length,
    #[error("the stream ends within a message")]
    Broken,
    #[error("a message took longer than {} s", MESSAGE_TIMEOUT.as_secs())]
    Late,
    #[error("too many blocks that were not asked for")]
    Unasked,
}
