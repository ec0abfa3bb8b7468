//! Blocks: a name and bytes, and the links in them.

use atoll_core::block::{self, DAG_CBOR, DAG_JSON, DAG_PB};
use atoll_core::dagpb::LINKS_MAX;
use atoll_core::links::links as links_of;
use atoll_core::{Block, Cid};
use bytes::Bytes;

/// A CID and the bytes that it may or may not name.
pub fn block(data: &[u8]) {
    let mut rest = data;
    let Ok(cid) = Cid::read_bytes(&mut rest) else { return };
    let verified = Block::verified(cid, Bytes::copy_from_slice(rest));
    assert_eq!(verified.is_ok(), block::verify(&cid, rest).is_ok());
    if let Some(inline) = Block::inline(&cid) {
        assert!(block::verify(&cid, inline.bytes()).is_ok(), "an identity CID does not name what it carries");
    }
}

/// Bytes whose links are looked for, as dag-pb, as dag-cbor and as dag-json.
pub fn links(data: &[u8]) {
    for codec in [DAG_PB, DAG_CBOR, DAG_JSON] {
        let Ok(block) = Block::sha2_256(codec, Bytes::copy_from_slice(data)) else { return };
        if let Ok(found) = links_of(block.cid(), data) {
            assert!(found.len() <= LINKS_MAX);
        }
    }
}
