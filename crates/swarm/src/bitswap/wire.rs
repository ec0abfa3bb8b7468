//! Messages on a stream: a length, then so many bytes. They are read field by field, so that a block is handed on before the
//! next one has come, and keeps no more memory than its own.

use std::io;

use atoll_core::bitswap::{BLOCKS_MAX, BitswapError, MESSAGE_BYTES_MAX, Message, Payload};
use futures_util::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use unsigned_varint::aio::{read_u64, read_usize};
use unsigned_varint::io::ReadError;

/// What of a stream is read ahead. Blocks are larger, and read into memory of their own at once.
const BUFFER_BYTES: usize = 8 * 1024;

/// The messages of one stream.
pub(super) struct Reader<S> {
    stream: BufReader<S>,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream: BufReader::with_capacity(BUFFER_BYTES, stream) }
    }

    /// Waits for the next message; `false` when the peer has ended the stream.
    pub(super) async fn begins(&mut self) -> Result<bool, WireError> {
        Ok(!self.stream.fill_buf().await?.is_empty())
    }

    /// The length of the message that has begun, at most `most`.
    pub(super) async fn length(&mut self, most: usize) -> Result<usize, WireError> {
        let len = read_usize(&mut self.stream).await?;
        if len > most { Err(BitswapError::TooLarge(len).into()) } else { Ok(len) }
    }

    /// The message of `len` bytes without its blocks, each of which is given to `take` as it comes. There has to be room for
    /// `len` bytes: so much is reserved at most.
    pub(super) async fn message(
        &mut self,
        len: usize,
        mut take: impl FnMut(Payload) -> Result<(), WireError>,
    ) -> Result<Message, WireError> {
        let mut body = (&mut self.stream).take(len.min(MESSAGE_BYTES_MAX) as u64);
        let (mut message, mut blocks) = (Message::default(), 0_usize);
        while body.limit() > 0 {
            let key = read_u64(&mut body).await?;
            let skip = match key & 7 {
                0 => {
                    read_u64(&mut body).await?;
                    continue;
                }
                1 => Some(8),
                2 => None,
                5 => Some(4),
                _ => return Err(WireError::Kind),
            };
            let len = match skip {
                Some(len) => len,
                None => read_usize(&mut body).await?,
            };
            if len as u64 > body.limit() {
                return Err(BitswapError::Truncated.into());
            }
            let mut bytes = vec![0; len];
            body.read_exact(&mut bytes).await?;
            let tag = u32::try_from(key >> 3).unwrap_or(0);
            if skip.is_none() {
                message.take(tag, bytes.into())?;
            }
            for payload in message.payload.drain(..) {
                blocks = blocks.saturating_add(1);
                if blocks > BLOCKS_MAX {
                    return Err(BitswapError::TooManyBlocks.into());
                }
                take(payload)?;
            }
        }
        Ok(message)
    }
}

/// Why a stream ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("a number is none")]
    Number,
    #[error("{0}")]
    Message(#[from] BitswapError),
    #[error("a field is of no known kind")]
    Kind,
    #[error("a message takes too long")]
    Late,
    #[error("too many blocks that were not asked for")]
    Unasked,
    #[error("the exchange ends")]
    Ended,
}

impl From<ReadError> for WireError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            _ => Self::Number,
        }
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::bitswap::{Entry, Wish};
    use atoll_core::block::RAW;
    use atoll_core::{Block, Cid};
    use futures_util::FutureExt as _;
    use futures_util::io::Cursor;

    use super::*;

    fn block(n: u8) -> Block {
        Block::sha2_256(RAW, vec![n; 40_000].into()).unwrap()
    }

    /// All that is read of `bytes`.
    fn read(bytes: Vec<u8>) -> Result<(Message, Vec<Cid>), WireError> {
        let (mut reader, mut blocks) = (Reader::new(Cursor::new(bytes)), Vec::new());
        let reading = async {
            assert!(reader.begins().await?);
            let len = reader.length(MESSAGE_BYTES_MAX).await?;
            let message = reader.message(len, |payload| {
                blocks.extend(payload.cid());
                Ok(())
            });
            message.await
        };
        let message = reading.now_or_never().unwrap()?;
        Ok((message, blocks))
    }

    #[test]
    fn what_is_written_is_read_block_by_block() {
        let [one, two] = [block(1), block(2)];
        let entry = Entry { cid: *one.cid(), priority: 3, wish: Wish::Have, send_dont_have: true };
        let message = Message {
            full: true,
            entries: vec![entry],
            payload: [&one, &two].map(|block| Payload::new(block.cid(), block.bytes().clone())).into(),
            presences: vec![(*two.cid(), true)],
        };
        let (rest, blocks) = read(message.encode()).unwrap();
        assert_eq!(blocks, [*one.cid(), *two.cid()]);
        assert_eq!(rest, Message { payload: Vec::new(), ..message });
    }

    #[test]
    fn lengths_that_lie_end_the_stream() {
        let whole =
            Message { payload: vec![Payload::new(block(1).cid(), block(1).bytes().clone())], ..Message::default() };
        let whole = whole.encode();
        assert!(matches!(read(whole[..whole.len() - 1].to_vec()), Err(WireError::Io(_))));
        // A field that is longer than its message.
        assert!(matches!(read(vec![3, 0x1a, 0x7f, 0]), Err(WireError::Message(BitswapError::Truncated))));
        assert!(matches!(read(vec![0xff; 12]), Err(WireError::Number)));
        let large = [0x81, 0x80, 0x80, 0x02];
        assert!(matches!(read(large.to_vec()), Err(WireError::Message(BitswapError::TooLarge(_)))));
        // Groups are of the past, and numbers of no use.
        assert!(matches!(read(vec![1, 0x1b]), Err(WireError::Kind)));
        assert_eq!(read(vec![2, 0x28, 0x05]).unwrap(), (Message::default(), vec![]));
    }

    #[test]
    fn blocks_of_one_message_have_a_limit() {
        let bytes: Vec<u8> = [0x12, 0].repeat(BLOCKS_MAX + 1);
        let mut reader = Reader::new(Cursor::new(bytes.clone()));
        let read = reader.message(bytes.len(), |_| Ok(())).now_or_never().unwrap();
        assert!(matches!(read, Err(WireError::Message(BitswapError::TooManyBlocks))));
    }
}
