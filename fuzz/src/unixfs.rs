//! dag-pb nodes and the UnixFS in them.

use std::collections::{BTreeSet, HashMap};

use atoll_core::block::{DAG_PB, Version};
use atoll_core::hamt::{Entry, HamtError, NameHash, Slot, SlotPath, build};
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

/// The most names that one input makes a directory of.
const NAMES_MAX: usize = 4096;

/// A directory of the lines of a text: each is found where its name leads, and nothing else is.
pub fn hamt(data: &[u8]) {
    let cid = atoll_core::Cid::default();
    let text = String::from_utf8_lossy(data);
    let names: BTreeSet<&str> =
        text.lines().filter(|name| !name.is_empty() && !name.contains('/')).take(NAMES_MAX).collect();
    let entries: Vec<Entry> = names.iter().map(|&name| Entry { name: name.into(), cid, tsize: 1 }).collect();
    let mut blocks = HashMap::new();
    let built = build(&entries, Version::V1, &mut |block: Block| {
        blocks.insert(*block.cid(), block.bytes().clone());
        Ok::<_, HamtError>(())
    });
    // Two names of one hash have no place; nobody has shown such a pair yet.
    let Ok((root, _)) = built else { return };
    for name in names.iter().copied().chain(["not there"]) {
        assert_eq!(is_found(&blocks, root, name), names.contains(name), "{name:?}");
    }
}

fn is_found(blocks: &HashMap<atoll_core::Cid, Bytes>, root: atoll_core::Cid, name: &str) -> bool {
    let (mut at, mut hash) = (root, NameHash::new(name));
    loop {
        let Some(bytes) = blocks.get(&at) else { return false };
        let Ok(Node::Shard(shard)) = Node::decode(&at, bytes) else { return false };
        match shard.find(name, &mut hash) {
            Ok(Some(Slot::Entry(_))) => return true,
            Ok(Some(Slot::Shard(next))) => at = next,
            Ok(None) | Err(_) => return false,
        }
    }
}
