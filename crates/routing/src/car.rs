//! A CARv1 read as it arrives: framing only, bounded. Keeps at most one section in memory.

use atoll_core::block::BLOCK_BYTES_MAX;
use atoll_core::transport::ByteStream;
use atoll_core::{Block, BlockError, Cid};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;

use crate::error::CarError;

/// The largest header, in bytes; ours have one root.
const HEADER_BYTES_MAX: usize = 4096;
/// The largest CID in a section, in bytes.
const CID_BYTES_MAX: usize = 128;

/// Blocks out of a stream of bytes.
pub(crate) struct CarReader {
    stream: ByteStream,
    buffer: BytesMut,
    offset: u64,
}

impl CarReader {
    /// Reads the header and leaves it at that: its roots are not trusted.
    pub(crate) async fn open(stream: ByteStream) -> Result<Self, CarError> {
        let mut reader = Self { stream, buffer: BytesMut::new(), offset: 0 };
        match reader.section(HEADER_BYTES_MAX).await? {
            Some(_) => Ok(reader),
            None => Err(CarError::Short(0)),
        }
    }

    /// The next block, verified; `None` at a clean end.
    pub(crate) async fn next(&mut self) -> Result<Option<Block>, CarError> {
        let at = self.offset;
        let Some(mut section) = self.section(BLOCK_BYTES_MAX + CID_BYTES_MAX).await? else { return Ok(None) };
        let mut rest = &section[..];
        let cid = Cid::read_bytes(&mut rest).map_err(|_| CarError::Malformed(at, "a section without a CID"))?;
        let cid_length = section.len() - rest.len();
        section.advance(cid_length);
        match Block::verified(cid, section) {
            Ok(block) => Ok(Some(block)),
            Err(BlockError::Mismatch(cid)) => Err(CarError::Lie(cid)),
            Err(_) => Err(CarError::Malformed(at, "a block too large, or of an unknown hash")),
        }
    }

    /// What stands behind the next length.
    async fn section(&mut self, bytes_max: usize) -> Result<Option<Bytes>, CarError> {
        let at = self.offset;
        let length = loop {
            match unsigned_varint::decode::usize(&self.buffer) {
                Ok((length, rest)) => {
                    let width = self.buffer.len() - rest.len();
                    self.buffer.advance(width);
                    self.offset = self.offset.saturating_add(width as u64);
                    break length;
                }
                Err(unsigned_varint::decode::Error::Insufficient) => {
                    if !self.fill().await? {
                        return if self.buffer.is_empty() { Ok(None) } else { Err(CarError::Short(at)) };
                    }
                }
                Err(_) => return Err(CarError::Malformed(at, "a length that is no varint")),
            }
        };
        if length == 0 || length > bytes_max {
            return Err(CarError::Malformed(at, "a section of no bytes, or of too many"));
        }
        while self.buffer.len() < length {
            if !self.fill().await? {
                return Err(CarError::Short(at));
            }
        }
        self.offset = self.offset.saturating_add(length as u64);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Takes what the stream has next; `false` at its end.
    async fn fill(&mut self) -> Result<bool, CarError> {
        match self.stream.next().await {
            None => Ok(false),
            Some(data) => {
                self.buffer.extend_from_slice(&data?);
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::block::RAW;
    use futures_util::stream;

    use super::*;

    fn car(sections: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for section in sections {
            let mut width = unsigned_varint::encode::usize_buffer();
            out.extend_from_slice(unsigned_varint::encode::usize(section.len(), &mut width));
            out.extend_from_slice(section);
        }
        out
    }

    /// Feeds `bytes` in pieces of `size`.
    async fn read(bytes: &[u8], size: usize) -> Result<Vec<Cid>, CarError> {
        let pieces: Vec<_> = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let mut reader = CarReader::open(Box::pin(stream::iter(pieces))).await?;
        let mut cids = Vec::new();
        while let Some(block) = reader.next().await? {
            cids.push(*block.cid());
        }
        Ok(cids)
    }

    #[tokio::test]
    async fn every_cut_is_noticed_and_none_panics() {
        let block = Block::sha2_256(RAW, Bytes::from_static(b"lagoon")).unwrap();
        let section = [&block.cid().to_bytes()[..], block.bytes()].concat();
        let whole = car(&[b"header", &section]);
        for size in [1, 3, whole.len()] {
            assert_eq!(read(&whole, size).await, Ok(vec![*block.cid()]));
        }
        let header = car(&[b"header"]).len();
        for cut in 0..whole.len() {
            let result = read(&whole[..cut], 7).await;
            if cut == header {
                assert_eq!(result, Ok(vec![]))
            } else {
                assert!(matches!(result, Err(CarError::Short(_))))
            }
        }
    }

    #[tokio::test]
    async fn lies_and_bombs_are_named() {
        let block = Block::sha2_256(RAW, Bytes::from_static(b"lagoon")).unwrap();
        let lie = [&block.cid().to_bytes()[..], b"lagoom"].concat();
        assert_eq!(read(&car(&[b"header", &lie]), 5).await, Err(CarError::Lie(*block.cid())));
        for bomb in [&[0xff; 12][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0x00]] {
            let bytes = [&car(&[b"header"]), bomb].concat();
            assert!(matches!(read(&bytes, 5).await, Err(CarError::Malformed(7, _))), "{bomb:?}");
        }
    }
}
