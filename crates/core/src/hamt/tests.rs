//! Tests of the trie: what is built is found, what contradicts itself is refused.

use std::collections::HashMap;

use super::*;
use crate::block::DAG_PB;
use crate::unixfs::{Node, UnixFsError};

fn entries(count: usize) -> Vec<Entry> {
    let cid = "bafkqaaa".parse().unwrap();
    (0..count).map(|i| Entry { name: format!("file-{i}.txt").into(), cid, tsize: i as u64 }).collect()
}

fn built(entries: &[Entry]) -> (Cid, HashMap<Cid, Bytes>) {
    let mut blocks = HashMap::new();
    let mut sink = |block: Block| {
        let (cid, bytes) = block.into_parts();
        blocks.insert(cid, bytes);
        Ok::<_, HamtError>(())
    };
    let (root, _) = build(entries, Version::V1, &mut sink).unwrap();
    (root, blocks)
}

fn shard<'a>(cid: &Cid, blocks: &'a HashMap<Cid, Bytes>) -> Shard<'a> {
    match Node::decode(cid, &blocks[cid]).unwrap() {
        Node::Shard(shard) => shard,
        other => panic!("{other:?}"),
    }
}

fn find(root: Cid, blocks: &HashMap<Cid, Bytes>, name: &str) -> Option<u64> {
    let (mut hash, mut at) = (NameHash::new(name), root);
    loop {
        match shard(&at, blocks).find(name, &mut hash).unwrap()? {
            Slot::Shard(next) => at = next,
            Slot::Entry(link) => return link.tsize,
        }
    }
}

#[test]
fn every_entry_is_found_and_nothing_else() {
    let entries = entries(3_000);
    let (root, blocks) = built(&entries);
    for entry in &entries {
        assert_eq!(find(root, &blocks, &entry.name), Some(entry.tsize), "{}", entry.name);
    }
    for i in 3_000..6_000 {
        assert_eq!(find(root, &blocks, &format!("file-{i}.txt")), None);
    }
    assert_eq!(find(root, &blocks, ""), None);
}

#[test]
fn every_entry_stands_where_its_hash_leads() {
    let entries = entries(3_000);
    let (root, blocks) = built(&entries);
    let (mut pending, mut found) = (vec![(root, SlotPath::default())], 0);
    while let Some((cid, path)) = pending.pop() {
        for (place, slot) in shard(&cid, &blocks).placed(&path).unwrap() {
            match slot {
                Slot::Shard(next) => pending.push((next, place)),
                Slot::Entry(link) => {
                    assert!(place.leads_to(link.name()));
                    found += 1;
                }
            }
        }
    }
    assert_eq!(found, entries.len());
}

#[test]
fn bits_are_taken_from_the_highest_down() {
    let mut hash = NameHash { hash: 0xABCD_0000_0000_0012, taken: 0 };
    assert_eq!(hash.take(8), Ok(0xAB));
    assert_eq!(hash.take(3), Ok(0b110));
    assert_eq!(hash.take(5), Ok(0b01101));
    hash.taken = 56;
    assert_eq!(hash.take(8), Ok(0x12));
    assert_eq!(hash.take(1), Err(HamtError::TooDeep));
}

fn assemble(fanout: u64, bitfield: &[u8], names: &[&'static str]) -> Result<(), HamtError> {
    let cid: Cid = "bafkqaaa".parse().unwrap();
    let links = names.iter().map(|name| Link::new(cid, name, 0)).collect();
    Shard::assemble(fanout, Some(MURMUR3_X64_64), bitfield, links, Meta::default()).map(|_| ())
}

#[test]
fn parts_that_contradict_each_other_are_refused() {
    assert_eq!(assemble(256, &[0b101], &["00a", "02b"]), Ok(()));
    assert_eq!(assemble(256, &[0, 0, 0b101], &["00a", "02b"]), Ok(()));
    assert_eq!(assemble(256, &[1, 0], &["08"]), Ok(()));
    assert_eq!(assemble(16, &[4, 0], &["Aa"]), Ok(()));
    assert_eq!(assemble(1024, &[0b1000, 0], &["00Bname"]), Ok(()));
    for (bitfield, names) in [
        (&[0b101][..], &["00a"][..]),
        (&[0b001], &["00a", "02b"]),
        (&[0b101], &["02b", "00a"]),
        (&[0b101], &["00a", "01b"]),
        (&[0b1], &["00a", "00b"]),
        (&[], &["00a"]),
        (&[1; 33], &["00a"]),
    ] {
        assert_eq!(assemble(256, bitfield, names), Err(HamtError::Bitfield), "{bitfield:?} {names:?}");
    }
}

#[test]
fn prefixes_are_upper_case_hexadecimal() {
    assert_eq!(assemble(256, &[4, 0], &["0Aa"]), Ok(()));
    for name in ["0aa", "0", "", "+Aa", "é", "0é"] {
        assert_eq!(assemble(256, &[4, 0], &[name]), Err(HamtError::Prefix), "{name}");
    }
}

#[test]
fn widths_are_powers_of_two_up_to_1024() {
    for fanout in [8, 16, 32, 64, 128, 256, 512, 1024] {
        assert_eq!(assemble(fanout, &[], &[]), Ok(()));
    }
    for fanout in [0, 1, 2, 4, 7, 100, 255, 257, 2048, u64::MAX, 1 << 63] {
        assert_eq!(assemble(fanout, &[], &[]), Err(HamtError::Fanout(fanout)));
    }
}

#[test]
fn another_hash_function_is_refused() {
    for hash_type in [None, Some(0x12), Some(0x23)] {
        let refused = Shard::assemble(256, hash_type, &[], Vec::new(), Meta::default());
        assert_eq!(refused, Err(HamtError::HashType(hash_type.unwrap_or(0))));
    }
}

#[test]
fn names_with_the_same_hash_cannot_be_built() {
    let twice = [entries(1), entries(1)].concat();
    assert_eq!(build(&twice, Version::V1, &mut |_| Ok::<_, HamtError>(())), Err(HamtError::TooDeep));
}

#[test]
fn a_place_deeper_than_the_hash_is_refused() {
    let (root, blocks) = built(&entries(2));
    let root = shard(&root, &blocks);
    let mut path = SlotPath::default();
    for _ in 0..8 {
        path = root.placed(&path).unwrap()[0].0;
    }
    assert_eq!(root.placed(&path), Err(HamtError::TooDeep));
}

#[test]
fn an_empty_shard_decodes() {
    let bytes = Bytes::from(unixfs::encode_shard(Vec::new(), Vec::new(), 256));
    let block = Block::sha2_256(DAG_PB, bytes).unwrap();
    assert!(matches!(Node::decode(block.cid(), block.bytes()), Ok(Node::Shard(_))));
    let bytes = Bytes::from(unixfs::encode_shard(Vec::new(), Vec::new(), 100));
    let refused = Node::decode(block.cid(), &bytes);
    assert_eq!(refused, Err(UnixFsError::Hamt(HamtError::Fanout(100))));
}
