//! Messages of Bitswap.

use atoll_core::bitswap::{BLOCKS_MAX, ENTRIES_MAX, Message};
use bytes::Bytes;

/// A message without its length. What is read is written and read again as the same.
pub fn bitswap(data: &[u8]) {
    let Ok(message) = Message::decode(Bytes::copy_from_slice(data)) else { return };
    assert!(message.entries.len() <= ENTRIES_MAX && message.presences.len() <= ENTRIES_MAX);
    assert!(message.payload.len() <= BLOCKS_MAX);
    for payload in &message.payload {
        if let Some(cid) = payload.cid() {
            assert_eq!(atoll_core::block::verify(&cid, &payload.bytes), Ok(()));
        }
    }
    let mut encoded = Bytes::from(message.encode());
    let length = unsigned_varint(&mut encoded);
    assert_eq!(length, encoded.len());
    // Left out of it is only what names nothing.
    assert_eq!(Message::decode(encoded).as_ref(), Ok(&message));
}

fn unsigned_varint(bytes: &mut Bytes) -> usize {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap_or_default();
    let head = bytes.split_to(end + 1);
    head.iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f))
}
