//! The links of a block, whatever its codec: what a walk over a DAG follows.
//!
//! Nothing is kept, a crash loses nothing.

use crate::block::{BLOCK_BYTES_MAX, CBOR, Cid, DAG_CBOR, DAG_JSON, DAG_PB, JSON, LIBP2P_KEY, RAW};
use crate::dagpb::{DagPbError, LINKS_MAX, Node};
use crate::data::{self, DataError, Event};

/// The links of the block of `cid`, in the order in which they stand, repeats included, at most [`LINKS_MAX`].
///
/// # Errors
/// [`LinksError`] if the codec is not known or the bytes are not of it.
pub fn links(cid: &Cid, bytes: &[u8]) -> Result<Vec<Cid>, LinksError> {
    if bytes.len() > BLOCK_BYTES_MAX {
        return Err(LinksError::TooLarge(bytes.len()));
    }
    match cid.codec() {
        RAW | JSON | CBOR | LIBP2P_KEY => Ok(Vec::new()),
        DAG_PB => Ok(Node::decode(bytes)?.links.iter().map(|link| link.cid).collect()),
        codec @ (DAG_CBOR | DAG_JSON) => {
            let mut found = Vec::new();
            let mut more = false;
            data::walk(codec, bytes, &mut |event| match event {
                Event::Link(_) if found.len() == LINKS_MAX => more = true,
                Event::Link(cid) => found.push(cid),
                _ => {}
            })?;
            if more { Err(LinksError::TooMany) } else { Ok(found) }
        }
        other => Err(LinksError::Codec(other)),
    }
}

/// Why the links of a block are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinksError {
    /// Larger than any block.
    #[error("a block of {0} bytes is over the limit of {BLOCK_BYTES_MAX}")]
    TooLarge(usize),
    /// A codec that is not known here.
    #[error("the links of codec 0x{0:x} are not known")]
    Codec(u64),
    /// Not dag-pb.
    #[error("not a dag-pb node: {0}")]
    DagPb(#[from] DagPbError),
    /// Not dag-cbor or dag-json.
    #[error(transparent)]
    Data(#[from] DataError),
    /// More links than [`LINKS_MAX`].
    #[error("more than {LINKS_MAX} links")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Block;

    fn cbor(bytes: &[u8]) -> Result<Vec<Cid>, LinksError> {
        let block = Block::sha2_256(DAG_CBOR, bytes.to_vec().into()).unwrap();
        links(block.cid(), bytes)
    }

    #[test]
    fn dag_cbor_links_are_found_at_any_depth() {
        let cid: Cid = "bafkqaaa".parse().unwrap();
        // [{"a": 42(h'00' ‖ cid)}, 42(h'00' ‖ cid)]
        let link = [&[0xd8, 0x2a, 0x45, 0x00][..], &cid.to_bytes()].concat();
        let bytes = [&[0x82, 0xa1, 0x61, b'a'][..], &link, &link].concat();
        assert_eq!(cbor(&bytes).unwrap(), [cid, cid]);
    }

    #[test]
    fn nesting_bombs_are_refused_without_exhausting_the_stack() {
        for bomb in [&[0x81_u8][..], &[0xa1, 0x61, 0x61], &[0xd8, 0x2a]] {
            assert!(matches!(cbor(&bomb.repeat(BLOCK_BYTES_MAX / bomb.len())), Err(LinksError::Data(_))));
        }
    }

    #[test]
    fn a_length_that_no_block_holds_is_refused_without_reserving_it() {
        assert!(matches!(
            cbor(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Err(LinksError::Data(DataError::DagCbor(_)))
        ));
        assert!(matches!(
            cbor(&[0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Err(LinksError::Data(DataError::DagCbor(_)))
        ));
    }

    #[test]
    fn a_codec_that_is_not_known_is_an_error() {
        let block = Block::sha2_256(0x012a, bytes::Bytes::from_static(b"{}")).unwrap();
        assert_eq!(links(block.cid(), b"{}"), Err(LinksError::Codec(0x012a)));
    }
}
