//! Sharded directories of whatever names.

use std::collections::BTreeMap;

use atoll_core::block::{RAW, Version};
use atoll_core::hamt::{self, HamtError, NameHash, Slot, SlotPath};
use atoll_core::unixfs::Node;
use atoll_core::{Block, Cid};
use bytes::Bytes;

/// The most names: more take long and show nothing new.
const NAMES_MAX: usize = 1024;

/// Each line is a name: what is built of them holds each where its hash leads, and nothing else.
pub fn hamt(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut names: Vec<&str> = text.lines().filter(|name| !name.is_empty()).take(NAMES_MAX).collect();
    names.sort_unstable();
    names.dedup();
    let Ok(leaf) = Block::sha2_256(RAW, Bytes::from_static(b"leaf")) else { return };
    let entries: Vec<_> =
        names.iter().map(|name| hamt::Entry { name: (*name).into(), cid: *leaf.cid(), tsize: 4 }).collect();
    let mut blocks = BTreeMap::new();
    let built = hamt::build(&entries, Version::V1, &mut |block: Block| {
        blocks.insert(*block.cid(), block.bytes().clone());
        Ok::<(), HamtError>(())
    });
    // Only names that nobody finds by chance have the same hash, or too long a block.
    let Ok((root, _)) = built else { return };
    assert_eq!(count(&blocks, root, &SlotPath::default()), names.len());
    for name in names {
        assert!(find(&blocks, root, name), "{name:?} is not found");
    }
    assert!(!find(&blocks, root, "a name\nthat no line is"));
}

/// The entries below a node, each checked to stand where its hash leads.
fn count(blocks: &BTreeMap<Cid, Bytes>, cid: Cid, path: &SlotPath) -> usize {
    let Ok(Node::Shard(shard)) = Node::decode(&cid, &blocks[&cid]) else { panic!("what was built is no shard") };
    let below = |(path, slot): (SlotPath, Slot<'_>)| match slot {
        Slot::Shard(next) => count(blocks, next, &path),
        Slot::Entry(entry) => usize::from(path.leads_to(entry.name())),
    };
    shard.placed(path).unwrap_or_default().into_iter().map(below).sum()
}

fn find(blocks: &BTreeMap<Cid, Bytes>, root: Cid, name: &str) -> bool {
    let (mut at, mut hash) = (root, NameHash::new(name));
    loop {
        let Ok(Node::Shard(shard)) = Node::decode(&at, &blocks[&at]) else { panic!("what was built is no shard") };
        match shard.find(name, &mut hash) {
            Ok(Some(Slot::Shard(next))) => at = next,
            Ok(Some(Slot::Entry(entry))) => return entry.name() == name,
            Ok(None) | Err(_) => return false,
        }
    }
}
