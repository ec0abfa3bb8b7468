//! Tests of export: scopes, order, and streams that break. Bytes are compared with Kubo's in `tests/kubo_car.rs`.

use atoll_core::FetchError;
use atoll_core::block::{DAG_CBOR, RAW};
use futures_util::{StreamExt, TryStreamExt};

use super::*;
use crate::car::{CarImporter, Loaded};
use crate::dag::missing;
use crate::import::Sink;
use crate::memory::Memory;
use crate::reader::tests::{directory, file, put};
use crate::reader::{read, resolve, trail};

/// A folder with a file of two parts that are the same, a folder, and a leaf that occurs in both.
fn site(memory: &mut Memory) -> (Cid, Vec<(&'static str, Cid)>) {
    let leaf = put(memory, RAW, &b"leaf"[..]);
    let part = put(memory, RAW, &b"part"[..]);
    let twice = file(memory, &[(part, 4), (part, 4)]);
    let inline: Cid = "bafkqabdjnzwgk".parse().unwrap();
    let sub = directory(memory, &[("inline", inline), ("leaf", leaf), ("twice", twice)]);
    let root = directory(memory, &[("leaf", leaf), ("sub", sub), ("twice", twice)]);
    (root, vec![("root", root), ("leaf", leaf), ("sub", sub), ("twice", twice), ("part", part)])
}

/// The CIDs of a CAR in order, as `names`.
async fn exported(memory: &Memory, root: &Cid, path: &[&str], selection: impl Into<Selection>) -> (Loaded, Vec<Cid>) {
    let resolved = resolve(memory, root, path).await.unwrap();
    sections(export(Arc::new(memory.clone()), &resolved, selection).unwrap()).await
}

async fn sections(stream: CarStream) -> (Loaded, Vec<Cid>) {
    struct Order(Vec<Cid>);
    impl Sink for Order {
        fn put(&mut self, block: atoll_core::Block) -> std::io::Result<()> {
            self.0.push(*block.cid());
            Ok(())
        }
    }
    let bytes: Vec<Bytes> = stream.try_collect().await.unwrap();
    let (mut importer, mut order) = (CarImporter::default(), Order(Vec::new()));
    importer.push(&bytes.concat(), &mut order).unwrap();
    (importer.finish().unwrap(), order.0)
}

#[tokio::test]
async fn scopes_are_depth_first_and_without_repeats() {
    let mut memory = Memory::default();
    let (root, names) = site(&mut memory);
    for (path, scope, expected) in [
        (&[][..], Scope::All, &["root", "leaf", "sub", "twice", "part"][..]),
        (&[], Scope::Entity, &["root"]),
        (&[], Scope::Block, &["root"]),
        (&["sub"], Scope::All, &["root", "sub", "leaf", "twice", "part"]),
        (&["sub", "twice"], Scope::Entity, &["root", "sub", "twice", "part"]),
        (&["sub", "twice"], Scope::Block, &["root", "sub", "twice"]),
        (&["sub", "inline"], Scope::All, &["root", "sub"]),
    ] {
        let (loaded, order) = exported(&memory, &root, path, scope).await;
        let expected: Vec<Cid> =
            expected.iter().map(|name| names.iter().find(|(known, _)| known == name).unwrap().1).collect();
        assert_eq!(order, expected, "{path:?} {scope:?}");
        assert_eq!(loaded.roots, [root]);
    }
}

#[tokio::test]
async fn repeats_come_each_time_if_they_are_wanted() {
    let mut memory = Memory::default();
    let (root, names) = site(&mut memory);
    for (path, scope, expected) in [
        (&[][..], Scope::All, "root leaf sub leaf twice part part twice part part"),
        (&["sub", "twice"], Scope::Entity, "root sub twice part part"),
        (&["sub", "inline"], Scope::All, "root sub"),
    ] {
        let selection = Selection { scope, repeats: true, ..Selection::default() };
        let order = exported(&memory, &root, path, selection).await.1;
        let name = |cid: &Cid| names.iter().find(|(_, known)| known == cid).unwrap().0;
        assert_eq!(order.iter().map(name).collect::<Vec<_>>().join(" "), expected, "{path:?} {scope:?}");
    }
}

#[tokio::test]
async fn repeats_without_end_break_the_stream() {
    let mut memory = Memory::default();
    let mut root = put(&mut memory, RAW, &b"x"[..]);
    for _ in 0..200 {
        root = directory(&mut memory, &[("a", root), ("b", root), ("c", root)]);
    }
    let resolved = resolve(&memory, &root, &[""; 0]).await.unwrap();
    let selection = Selection { repeats: true, ..Selection::default() };
    let mut car = export(Arc::new(memory), &resolved, selection).unwrap();
    car.sent.count = BLOCKS_MAX - 1;
    let items: Vec<_> = car.collect().await;
    assert!(matches!(&items[..], [Ok(_), Err(ReadError::TooManyBlocks)]), "one block, then the end");
}

#[tokio::test]
async fn what_proves_that_a_path_leads_nowhere_is_its_trail() {
    let mut memory = Memory::default();
    let (root, names) = site(&mut memory);
    for (path, expected) in [
        (&["none"][..], &["root"][..]),
        (&["sub", "none", "x"], &["root", "sub"]),
        (&["sub", "twice", "x"], &["root", "sub", "twice"]),
        (&["leaf", "x"], &["root", "leaf"]),
    ] {
        let trail = trail(&memory, &root, path).await.unwrap();
        let (loaded, order) = sections(export_trail(Arc::new(memory.clone()), root, &trail).unwrap()).await;
        let expected: Vec<Cid> =
            expected.iter().map(|name| names.iter().find(|(known, _)| known == name).unwrap().1).collect();
        assert_eq!((order, loaded.roots), (expected, vec![root]), "{path:?}");
    }
}

/// The blocks that a reader of `range` needs, each once in order: by the rules, not by the walk.
fn needed(memory: &Memory, cid: &Cid, range: std::ops::Range<u64>, found: &mut Vec<Cid>) {
    if !found.contains(cid) {
        found.push(*cid);
    }
    let Some(Node::File(file)) = decode(cid, memory.get(cid).unwrap()).unwrap() else { unreachable!() };
    let mut at = 0;
    for child in file.children {
        if range.start < at + child.len && at < range.end {
            needed(memory, &child.cid, range.start.saturating_sub(at)..range.end - at, found);
        }
        at += child.len;
    }
}

proptest::proptest! {
    /// Files of few blocks that occur again and again, on all levels, so that one is needed in part here and in another
    /// part, or whole, there.
    #[test]
    fn a_range_is_the_blocks_that_hold_it(
        shape in proptest::collection::vec(proptest::collection::vec(0_usize..4, 1..5), 1..12),
        from in 0_u64..4000,
        len in 0_u64..4000,
    ) {
        let mut memory = Memory::default();
        let mut nodes: Vec<(Cid, u64)> =
            ["a", "bb", "ccc"].map(|leaf| (put(&mut memory, RAW, leaf), leaf.len() as u64)).to_vec();
        for children in &shape {
            let last = nodes.len() - 1;
            let children: Vec<_> = children.iter().map(|back| nodes[last.saturating_sub(*back)]).collect();
            let sum = children.iter().map(|(_, len)| len).sum();
            if sum < 5000 {
                nodes.push((file(&mut memory, &children), sum));
            }
        }
        let (root, total) = *nodes.last().unwrap();
        let from = from.min(total - 1);
        let to = (from + len).min(total - 1);
        let bytes = EntityBytes { from: from as i64, to: Some(to as i64) };
        let selection = Selection { scope: Scope::Entity, bytes: Some(bytes), repeats: false };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (_, order) = exported(&memory, &root, &[], selection).await;
            let mut expected = Vec::new();
            needed(&memory, &root, from..to + 1, &mut expected);
            assert_eq!(order, expected);
            let mut part = Memory::default();
            for cid in &order {
                part.put(atoll_core::Block::verified(*cid, memory.get(cid).unwrap().clone()).unwrap()).unwrap();
            }
            let resolved = resolve(&part, &root, &[""; 0]).await.unwrap();
            let read: Vec<Bytes> = read(Arc::new(part), &resolved, from..to + 1).unwrap().try_collect().await.unwrap();
            assert_eq!(read.concat().len() as u64, to + 1 - from);
        });
    }
}

#[tokio::test]
async fn a_range_of_what_is_no_file_is_its_entity() {
    let mut memory = Memory::default();
    let (root, _) = site(&mut memory);
    let bytes = Some(EntityBytes { from: 7, to: Some(9) });
    let selection = Selection { scope: Scope::Entity, bytes, repeats: false };
    assert_eq!(exported(&memory, &root, &[], selection).await.1, [root]);
    let resolved = resolve(&memory, &root, &["leaf"]).await.unwrap();
    assert!(matches!(export(Arc::new(memory), &resolved, selection), Err(ReadError::Outside { len: 4 })));
}

#[tokio::test]
async fn a_missing_block_breaks_the_stream() {
    let mut memory = Memory::default();
    let (root, names) = site(&mut memory);
    memory.remove(&names[4].1);
    let resolved = resolve(&memory, &root, &[""; 0]).await.unwrap();
    let items: Vec<_> = export(Arc::new(memory), &resolved, Scope::All).unwrap().collect().await;
    let (last, before) = items.split_last().unwrap();
    assert!(matches!(last, Err(ReadError::Fetch(FetchError::NotFound(cid))) if *cid == names[4].1));
    assert!(before.iter().all(Result::is_ok));
}

#[tokio::test]
async fn small_blocks_are_sent_together_and_large_ones_as_they_are() {
    let mut memory = Memory::default();
    let large = put(&mut memory, RAW, vec![7; COPIED_BYTES_MAX + 1]);
    let small: Vec<Cid> = (0..100_u8).map(|i| put(&mut memory, RAW, vec![i; 2000])).collect();
    let names: Vec<String> = (0..100).map(|i| format!("{i:03}")).collect();
    let mut entries: Vec<(&str, Cid)> = names.iter().map(String::as_str).zip(small).collect();
    entries.push(("x", large));
    let root = directory(&mut memory, &entries);
    let shared = memory.get(&large).unwrap().clone();
    let resolved = resolve(&memory, &root, &[""; 0]).await.unwrap();
    let parts: Vec<Bytes> = export(Arc::new(memory), &resolved, Scope::All).unwrap().try_collect().await.unwrap();
    assert_eq!(parts.len(), 5, "three times 64 KiB, what is left of the small ones, the large one");
    assert!(parts[..3].iter().all(|part| (GATHERED_BYTES..GATHERED_BYTES + 4000).contains(&part.len())));
    assert_eq!(parts[4].as_ptr(), shared.as_ptr(), "no copy");
}

#[tokio::test]
async fn a_codec_that_is_not_known_breaks_the_stream() {
    let mut memory = Memory::default();
    let unknown = put(&mut memory, 0x0999, &b"{}"[..]);
    let resolved = resolve(&memory, &unknown, &[""; 0]).await.unwrap();
    let items: Vec<_> = export(Arc::new(memory), &resolved, Scope::All).unwrap().collect().await;
    assert!(matches!(items.last(), Some(Err(ReadError::Links { .. }))));
}

#[tokio::test]
async fn a_chain_is_exported_up_to_the_limit() {
    let mut memory = Memory::default();
    let mut root = put(&mut memory, RAW, &b"x"[..]);
    for level in 0..=DEPTH_MAX {
        if level == DEPTH_MAX {
            assert_eq!(exported(&memory, &root, &[], Scope::All).await.0.blocks, 1 + DEPTH_MAX as u64);
        }
        let link = [&[0x81, 0xd8, 0x2a, 0x58, 37, 0x00][..], &root.to_bytes()].concat();
        root = put(&mut memory, DAG_CBOR, link);
    }
    let resolved = resolve(&memory, &root, &[""; 0]).await.unwrap();
    let last = export(Arc::new(memory), &resolved, Scope::All).unwrap().collect::<Vec<_>>().await.pop();
    assert!(matches!(last, Some(Err(ReadError::TooDeep { max: DEPTH_MAX, .. }))));
}

#[tokio::test]
async fn a_dag_of_countless_paths_is_walked_block_by_block() {
    let mut memory = Memory::default();
    let mut root = put(&mut memory, RAW, &b"x"[..]);
    for _ in 0..200 {
        root = directory(&mut memory, &[("a", root), ("b", root), ("c", root)]);
    }
    assert_eq!(exported(&memory, &root, &[], Scope::All).await.0.blocks, 201);
    let found = missing(Arc::new(memory.clone()), |cid| memory.get(cid).is_some(), root).await.unwrap();
    assert_eq!((found.cids.len(), found.present), (0, 201));
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let mut memory = Memory::default();
    let (root, names) = site(&mut memory);
    let of = |memory: &Memory| {
        let memory = memory.clone();
        async move { missing(Arc::new(memory.clone()), |cid| memory.get(cid).is_some(), root).await.unwrap() }
    };
    assert_eq!(of(&memory).await.cids, []);
    assert_eq!(of(&memory).await.present, 6, "five blocks and the one that its CID carries");
    memory.remove(&names[1].1);
    memory.remove(&names[3].1);
    let found = of(&memory).await;
    assert_eq!((found.cids, found.present), (vec![names[1].1, names[3].1], 3));
    memory.remove(&root);
    assert_eq!(of(&memory).await.cids, [root]);
}
