//! dag-pb nodes and the UnixFS in them.

use atoll_core::block::DAG_PB;
use atoll_core::hamt::{NameHash, Slot, SlotPath};
use atoll_core::unixfs::{Node, SYMLINK_BYTES_MAX};
use atoll_core::{Block, dagpb as codec};
use bytes::Bytes;

/// A dag-pb node: what is decoded encodes to what decodes the same.
pub fn dagpb(data: &[u8]) {
    let Ok(node) = codec::Node::decode(data) else { return };
    let encoded = node.encode();
    assert_eq!(codec::Node::decode(&encoded).as_ref(), Ok(&node));
    let links: usize = node.links.iter().map(codec::Link::encoded_len).sum();
    assert!(links <= encoded.len());
}

/// A UnixFS node: its parts agree with each other.
pub fn unixfs(data: &[u8]) {
    let Ok(block) = Block::sha2_256(DAG_PB, Bytes::copy_from_slice(data)) else { return };
    match Node::decode(block.cid(), block.bytes()) {
        Ok(Node::File(file)) => {
            let children: u64 = file.children.iter().map(|child| child.len).sum();
            assert_eq!(file.len, file.inline.len() as u64 + children, "a file lies about its size");
        }
        Ok(Node::Directory(directory)) => {
            for entry in &directory.entries {
                assert_eq!(directory.find(entry.name()).map(codec::Link::name), Some(entry.name()));
            }
        }
        Ok(Node::Shard(shard)) => {
            for (path, slot) in shard.placed(&SlotPath::default()).unwrap_or_default() {
                let Slot::Entry(entry) = slot else { continue };
                // An entry is found by its name where its name belongs.
                if path.leads_to(entry.name()) {
                    let found = shard.find(entry.name(), &mut NameHash::new(entry.name()));
                    assert_eq!(found, Ok(Some(slot)));
                }
            }
        }
        Ok(Node::Symlink(link)) => assert!(link.target.len() <= SYMLINK_BYTES_MAX),
        Ok(_) | Err(_) => {}
    }
}
