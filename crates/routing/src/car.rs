//! A CAR read as it arrives: core's framing over a stream, each block verified. Keeps at most one section in memory.

use std::collections::VecDeque;

use atoll_core::car::{Decoder, Item};
use atoll_core::transport::ByteStream;
use atoll_core::{Block, BlockError};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::error::CarError;

/// The most bytes that are given to the decoder at once, so that its buffer stays near one section.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Blocks out of a stream of bytes.
pub(crate) struct CarReader {
    stream: ByteStream,
    decoder: Decoder,
    pieces: VecDeque<Bytes>,
}

impl CarReader {
    /// Reads `stream`. The roots that its header names are not trusted, and not looked at.
    pub(crate) fn new(stream: ByteStream) -> Self {
        Self { stream, decoder: Decoder::default(), pieces: VecDeque::new() }
    }

    /// The next block, verified; `None` at a clean end.
    pub(crate) async fn next(&mut self) -> Result<Option<Block>, CarError> {
        loop {
            match self.decoder.next_item()? {
                Some(Item::Header(_)) => {}
                Some(Item::Section(section)) => {
                    // A copy, since it is a part of a buffer that holds more, and may be kept for long.
                    return Block::verified(section.cid, Bytes::copy_from_slice(&section.bytes)).map(Some).map_err(
                        |error| match error {
                            BlockError::Mismatch(cid) => CarError::Lie(cid),
                            other => CarError::Block(other),
                        },
                    );
                }
                None if self.fill().await? => {}
                None => {
                    self.decoder.finish()?;
                    return Ok(None);
                }
            }
        }
    }

    /// Gives the decoder what comes next; `false` at the end of the stream.
    async fn fill(&mut self) -> Result<bool, CarError> {
        while self.pieces.is_empty() {
            let Some(data) = self.stream.next().await else { return Ok(false) };
            let mut data = data?;
            while !data.is_empty() {
                self.pieces.push_back(data.split_to(data.len().min(PIECE_BYTES_MAX)));
            }
        }
        if let Some(piece) = self.pieces.pop_front() {
            self.decoder.push(&piece);
        }
        Ok(true)
    }
}
