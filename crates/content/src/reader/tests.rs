//! Tests of reading: against the bytes that were imported, and against DAGs made to hurt.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use atoll_core::block::{DAG_CBOR, DAG_JSON, DAG_PB, RAW, Version};
use atoll_core::car::Decoder;
use atoll_core::dagpb::{self, Link};
use atoll_core::hamt;
use atoll_core::unixfs::{self, Child, UnixFsError};
use atoll_core::{Block, BoxFuture, FetchError};
use futures_util::{StreamExt, TryStreamExt};

use super::*;
use crate::import::{Options, Sink, import};
use crate::memory::Memory;

/// A block of that codec, put into `memory`.
pub(crate) fn put(memory: &mut Memory, codec: u64, bytes: impl Into<Bytes>) -> Cid {
    let block = Block::sha2_256(codec, bytes.into()).unwrap();
    let cid = *block.cid();
    memory.put(block).unwrap();
    cid
}

/// A directory of these entries.
pub(crate) fn directory(memory: &mut Memory, entries: &[(&str, Cid)]) -> Cid {
    let links = entries.iter().map(|(name, cid)| Link::new(*cid, name, 1)).collect();
    put(memory, DAG_PB, unixfs::encode_directory(links))
}

/// A file of these children.
pub(crate) fn file(memory: &mut Memory, children: &[(Cid, u64)]) -> Cid {
    let children: Vec<_> = children.iter().map(|&(cid, len)| (Child { cid, len }, len)).collect();
    put(memory, DAG_PB, unixfs::encode_file(&children).unwrap())
}

/// Bytes of which no two neighbours of the same length are equal.
pub(crate) fn water(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7919 + i / 251).to_le_bytes()[0]).collect()
}

/// What `bytes` are when cut into chunks of `chunk_bytes`.
pub(crate) fn imported(memory: &mut Memory, bytes: &[u8], chunk_bytes: usize) -> Cid {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    import(&path, Options { chunk_bytes: Some(chunk_bytes), ..Options::default() }, memory, &mut |_| {}).unwrap().root
}

const ROOT: [&str; 0] = [];

async fn read_all(blocks: Arc<dyn Blocks>, root: &Cid, range: Range<u64>) -> Result<Vec<u8>, ReadError> {
    let resolved = resolve(&*blocks, root, &ROOT).await?;
    let parts: Vec<Bytes> = read(blocks, &resolved, range)?.try_collect().await?;
    Ok(parts.concat())
}

#[tokio::test]
async fn every_range_of_a_file_of_three_levels() {
    let bytes = water(1024 * 3 + 2);
    let mut memory = Memory::default();
    let root = imported(&mut memory, &bytes, 3);
    memory.remote = true;
    let remote: Arc<dyn Blocks> = Arc::new(memory.clone());
    memory.remote = false;
    let resolved = resolve(&memory, &root, &ROOT).await.unwrap();
    assert_eq!(resolved.kind, Kind::File { len: bytes.len() as u64 });
    let edges = [0, 1, 2, 3, 4, 1023, 3071, 3072, 3073, bytes.len()];
    for start in edges {
        for end in edges.into_iter().filter(|end| *end >= start) {
            let range = start as u64..end as u64;
            assert_eq!(read_all(Arc::clone(&remote), &root, range.clone()).await.unwrap(), bytes[start..end]);
            let cached = read_cached(&memory, &resolved, range, u64::MAX).unwrap().unwrap();
            assert_eq!(cached.concat(), bytes[start..end], "{start}..{end}");
        }
    }
    assert_eq!(read_all(Arc::clone(&remote), &root, 5..u64::MAX).await.unwrap(), bytes[5..]);
    let behind = read_all(remote, &root, 9_999..10_000).await;
    assert!(matches!(behind, Err(ReadError::Range { start: 9_999, len: 3074 })));
}

#[tokio::test]
async fn the_fast_path_gives_up_rather_than_wait() {
    let mut memory = Memory::default();
    let root = imported(&mut memory, &water(10), 3);
    let resolved = resolve_cached(&memory, &root, &ROOT).unwrap().unwrap();
    assert!(read_cached(&memory, &resolved, 0..10, 9).is_none(), "over the limit");
    memory.remove(&Block::sha2_256(RAW, water(10)[6..9].to_vec().into()).unwrap().into_parts().0);
    assert!(read_cached(&memory, &resolved, 0..10, 10).is_none(), "a leaf is missing");
    assert_eq!(read_cached(&memory, &resolved, 0..6, 10).unwrap().unwrap().concat(), water(10)[..6]);
    memory.remote = true;
    assert!(resolve_cached(&memory, &root, &ROOT).is_none());
}

#[tokio::test]
async fn a_leaf_is_not_copied() {
    let mut memory = Memory::default();
    let root = imported(&mut memory, &water(1000), 1000);
    let resolved = resolve(&memory, &root, &ROOT).await.unwrap();
    let parts = read_cached(&memory, &resolved, 0..1000, 1000).unwrap().unwrap();
    assert_eq!(parts[0].as_ptr(), memory.get(&root).unwrap().as_ptr());
}

#[tokio::test]
async fn paths_lead_through_folders_and_shards() {
    let mut memory = Memory::default();
    let leaf = put(&mut memory, RAW, &b"leaf"[..]);
    let names: Vec<_> = (0..2000).map(|i| format!("name {i}")).collect();
    let entries: Vec<_> =
        names.iter().map(|name| hamt::Entry { name: name.as_str().into(), cid: leaf, tsize: 4 }).collect();
    let (shard, _) = hamt::build(&entries, Version::V1, &mut |block| {
        memory.put(block).unwrap();
        Ok::<_, hamt::HamtError>(())
    })
    .unwrap();
    let root = directory(&mut memory, &[("a", leaf), ("many", shard)]);

    let found = resolve(&memory, &root, &["many", "name 1999"]).await.unwrap();
    assert_eq!((found.cid, found.kind), (leaf, Kind::File { len: 4 }));
    assert_eq!(found.roots, [root, shard, leaf]);
    assert_eq!(found.trail[..2], [root, shard]);
    assert!(found.trail.len() > 2, "the shard below is on the way");

    let missing = resolve(&memory, &root, &["many", "name 2000"]).await.unwrap_err();
    assert!(matches!(missing, ReadError::NoEntry { name, directory } if name == "name 2000" && directory == shard));
    let missing = resolve(&memory, &root, &["b"]).await.unwrap_err();
    assert!(matches!(missing, ReadError::NoEntry { name, directory } if name == "b" && directory == root));
    let through = resolve(&memory, &root, &["a", "x"]).await.unwrap_err();
    assert!(matches!(through, ReadError::NotDirectory { name, cid } if name == "x" && cid == leaf));

    let resolved = resolve(&memory, &root, &["many"]).await.unwrap();
    let listed: Vec<_> = list(Arc::new(memory), &resolved).map(|entry| entry.unwrap().name).collect().await;
    assert_eq!(listed.len(), names.len());
    assert!(names.iter().all(|name| listed.contains(name)));
}

#[tokio::test]
async fn what_is_no_unixfs_is_data() {
    let mut memory = Memory::default();
    let cbor = put(&mut memory, DAG_CBOR, &b"\x80"[..]);
    assert_eq!(resolve(&memory, &cbor, &ROOT).await.unwrap().kind, Kind::Data);
    let missing = resolve(&memory, &cbor, &["a"]).await.unwrap_err();
    assert!(matches!(missing, ReadError::NoValue { name, cid } if name == "a" && cid == cbor));
    assert!(matches!(read_all(Arc::new(memory), &cbor, 0..1).await, Err(ReadError::NotFile(_))));
}

#[tokio::test]
async fn paths_lead_through_data_and_back_to_files() {
    let mut memory = Memory::default();
    let leaf = put(&mut memory, RAW, &b"leaf"[..]);
    let folder = directory(&mut memory, &[("leaf", leaf)]);
    let bare = put(&mut memory, DAG_JSON, format!(r#"{{"/":"{folder}"}}"#));
    let json = put(&mut memory, DAG_JSON, format!(r#"{{"a":[5,{{"/":"{bare}"}}]}}"#));
    let root = directory(&mut memory, &[("data", json)]);

    let found = resolve(&memory, &root, &["data", "a", "1", "leaf"]).await.unwrap();
    assert_eq!((found.cid, found.kind, found.inside), (leaf, Kind::File { len: 4 }, 0));
    assert_eq!(found.roots, [root, json, bare, folder, leaf]);
    assert_eq!(found.trail, [root, json, bare, folder]);
    let bare_itself = resolve(&memory, &root, &["data", "a", "1"]).await.unwrap();
    assert_eq!((bare_itself.cid, bare_itself.kind, bare_itself.inside), (bare, Kind::Data, 0));
    let inside = resolve_cached(&memory, &root, &["data", "a", "0"]).unwrap().unwrap();
    assert_eq!((inside.cid, inside.inside, inside.roots), (json, 2, vec![root, json]));
    let broken = put(&mut memory, DAG_JSON, &b"{"[..]);
    assert!(matches!(resolve(&memory, &broken, &["a"]).await, Err(ReadError::Data { cid, .. }) if cid == broken));
}

#[tokio::test]
async fn a_path_through_much_data_waits_its_turn_and_one_through_bare_links_ends() {
    let mut memory = Memory::default();
    let large = put(&mut memory, DAG_JSON, format!(r#"{{"a":1,"b":"{}"}}"#, "b".repeat(DATA_BYTES_AT_ONCE)));
    assert!(resolve_cached(&memory, &large, &["a"]).is_none());
    assert!(resolve_cached(&memory, &large, &ROOT).is_some());
    assert_eq!(resolve(&memory, &large, &["a"]).await.unwrap().inside, 1);

    let mut next = put(&mut memory, DAG_JSON, &br#"{"a":1}"#[..]);
    for hops in 1..=BARE_LINKS_MAX + 1 {
        next = put(&mut memory, DAG_JSON, format!(r#"{{"/":"{next}"}}"#));
        assert_eq!(resolve(&memory, &next, &["a"]).await.is_ok(), hops <= BARE_LINKS_MAX, "{hops}");
    }
}

#[tokio::test]
async fn a_missing_block_is_an_error_after_what_precedes_it() {
    let mut memory = Memory::default();
    let bytes = water(9);
    let root = imported(&mut memory, &bytes, 3);
    memory.remove(Block::sha2_256(RAW, bytes[3..6].to_vec().into()).unwrap().cid()).unwrap();
    let resolved = resolve(&memory, &root, &ROOT).await.unwrap();
    let items: Vec<_> = read(Arc::new(memory), &resolved, 0..9).unwrap().collect().await;
    assert_eq!(items[0].as_ref().unwrap(), &bytes[..3]);
    assert!(matches!(items[1], Err(ReadError::Fetch(FetchError::NotFound(_)))));
    assert_eq!(items.len(), 2, "after an error nothing follows");
}

#[tokio::test]
async fn a_child_of_another_size_is_refused() {
    let mut memory = Memory::default();
    let leaf = put(&mut memory, RAW, &b"leaf"[..]);
    let root = file(&mut memory, &[(leaf, 5)]);
    let lie = read_all(Arc::new(memory), &root, 0..5).await;
    assert!(matches!(lie, Err(ReadError::SizeLies { claimed: 5, actual: 4, cid }) if cid == leaf));
}

#[tokio::test]
async fn a_file_that_contains_a_folder_is_refused() {
    let mut memory = Memory::default();
    let folder = directory(&mut memory, &[]);
    let root = file(&mut memory, &[(folder, 5)]);
    assert!(matches!(read_all(Arc::new(memory), &root, 0..5).await, Err(ReadError::NotFile(cid)) if cid == folder));
}

#[tokio::test]
async fn a_chain_of_levels_ends_at_the_limit() {
    let mut memory = Memory::default();
    let mut root = put(&mut memory, RAW, &b"x"[..]);
    for _ in 0..DEPTH_MAX {
        root = file(&mut memory, &[(root, 1)]);
    }
    assert_eq!(read_all(Arc::new(memory.clone()), &root, 0..1).await.unwrap(), b"x");
    root = file(&mut memory, &[(root, 1)]);
    assert!(matches!(read_all(Arc::new(memory), &root, 0..1).await, Err(ReadError::TooDeep { max: DEPTH_MAX, .. })));
}

#[tokio::test]
async fn parts_without_bytes_are_never_read() {
    // 1000 ^ 20 leaves of nothing, and one byte.
    let mut memory = Memory::default();
    let mut nothing = put(&mut memory, RAW, &b""[..]);
    for _ in 0..20 {
        nothing = file(&mut memory, &vec![(nothing, 0); 1000]);
    }
    let byte = put(&mut memory, RAW, &b"x"[..]);
    let root = file(&mut memory, &[(nothing, 0), (byte, 1), (nothing, 0)]);
    assert_eq!(read_all(Arc::new(memory), &root, 0..1).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_dag_that_is_too_wide_is_refused() {
    // Each level starts with its own copy of 50,000 links below.
    let mut memory = Memory::default();
    let mut below = put(&mut memory, RAW, &b"x"[..]);
    let mut len = 1_u64;
    for _ in 0..3 {
        below = file(&mut memory, &vec![(below, len); 30_000]);
        len *= 30_000;
    }
    for _ in 0..8 {
        below = file(&mut memory, &[vec![(below, len)], vec![(below, len); 29_999]].concat());
        len = len.saturating_mul(30_000);
        if len > u64::MAX / 30_000 {
            break;
        }
    }
    let resolved = resolve(&memory, &below, &ROOT).await.unwrap();
    let first = read(Arc::new(memory), &resolved, 0..u64::MAX).unwrap().next().await.unwrap();
    assert!(first.is_ok(), "four levels of 30,000 links fit");

    let mut memory = Memory::default();
    let leaf = put(&mut memory, RAW, &b"x"[..]);
    let mut root = directory(&mut memory, &[("leaf", leaf)]);
    for level in 0..10 {
        let names: Vec<_> = (0..30_000).map(|i| format!("{level}-{i}")).collect();
        root = directory(&mut memory, &names.iter().map(|name| (name.as_str(), root)).collect::<Vec<_>>());
    }
    let resolved = resolve(&memory, &root, &ROOT).await.unwrap();
    let mut car = crate::export::export(Arc::new(memory), &resolved, crate::export::Scope::All).unwrap();
    let wide = loop {
        match car.next().await {
            Some(Ok(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(wide, Some(Err(ReadError::TooWide(_)))));
}

#[tokio::test]
async fn a_shard_that_contains_itself_in_effect_is_not_listed_for_ever() {
    // Seven levels of 256 slots, all of which lead to the same shard below.
    let mut memory = Memory::default();
    let leaf = put(&mut memory, RAW, &b"x"[..]);
    let entry = hamt::Entry { name: "one".into(), cid: leaf, tsize: 1 };
    let (mut below, _) = hamt::build(&[entry], Version::V1, &mut |block| {
        memory.put(block).unwrap();
        Ok::<_, hamt::HamtError>(())
    })
    .unwrap();
    for _ in 0..7 {
        let names: Vec<_> = (0..256).map(|slot| format!("{slot:02X}")).collect();
        let links = names.iter().map(|name| Link::new(below, name, 1)).collect();
        // Kind shard, 32 bytes of bitfield, hash 0x22, fan-out 256.
        let data = [&b"\x08\x05\x12\x20"[..], &[0xff; 32], b"\x28\x22\x30\x80\x02"].concat();
        below = put(&mut memory, DAG_PB, dagpb::Node { links, data: Some(&data) }.encode());
    }
    let resolved = resolve(&memory, &below, &ROOT).await.unwrap();
    let items: Vec<_> = list(Arc::new(memory), &resolved).collect().await;
    assert!(matches!(items.last(), Some(Err(ReadError::Misplaced(_)))));
    assert!(items.len() <= 2);
}

#[tokio::test]
async fn an_empty_shard_below_the_root_is_refused() {
    let mut memory = Memory::default();
    let data = b"\x08\x05\x12\x00\x28\x22\x30\x80\x02";
    let empty = put(&mut memory, DAG_PB, dagpb::Node { links: Vec::new(), data: Some(data) }.encode());
    let resolved = resolve(&memory, &empty, &ROOT).await.unwrap();
    assert!(list(Arc::new(memory.clone()), &resolved).next().await.is_none());
    let links = vec![Link::new(empty, "00", 1)];
    let data = b"\x08\x05\x12\x01\x01\x28\x22\x30\x80\x02";
    let root = put(&mut memory, DAG_PB, dagpb::Node { links, data: Some(data) }.encode());
    let resolved = resolve(&memory, &root, &ROOT).await.unwrap();
    let first = list(Arc::new(memory), &resolved).next().await;
    assert!(matches!(first, Some(Err(ReadError::Misplaced(cid))) if cid == empty));
}

#[tokio::test]
async fn of_two_entries_of_one_name_the_first_is_listed() {
    let mut memory = Memory::default();
    let (a, b) = (put(&mut memory, RAW, &b"a"[..]), put(&mut memory, RAW, &b"b"[..]));
    let root = directory(&mut memory, &[("n", a), ("n", b)]);
    let resolved = resolve(&memory, &root, &ROOT).await.unwrap();
    let listed: Vec<Entry> = list(Arc::new(memory), &resolved).try_collect().await.unwrap();
    assert_eq!(listed, [Entry { name: "n".into(), cid: a, tsize: Some(1) }]);
}

#[tokio::test]
async fn a_broken_node_is_named() {
    let mut memory = Memory::default();
    let broken = put(&mut memory, DAG_PB, &b"\xff"[..]);
    let root = directory(&mut memory, &[("broken", broken)]);
    let error = resolve(&memory, &root, &["broken"]).await.unwrap_err();
    assert!(matches!(error, ReadError::Node { cid, cause: UnixFsError::DagPb(_) } if cid == broken));
    let path = vec!["a"; SEGMENTS_MAX + 1];
    assert!(matches!(resolve(&memory, &root, &path).await, Err(ReadError::PathTooLong(257))));
}

/// Counts how many blocks are being fetched at the same time; each takes a few turns of the runtime.
struct Slow {
    inner: Memory,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Blocks for Slow {
    fn cached(&self, _cid: &Cid) -> Option<Bytes> {
        None
    }

    fn block<'a>(&'a self, root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move {
            self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            self.now.fetch_sub(1, Ordering::SeqCst);
            self.inner.block(root, cid).await
        })
    }
}

#[tokio::test]
async fn a_few_blocks_are_fetched_ahead_and_no_more() {
    let bytes = water(3000);
    let mut inner = Memory::default();
    let root = imported(&mut inner, &bytes, 10);
    let (now, most) = (Arc::default(), Arc::default());
    let slow = Slow { inner, now, most: Arc::clone(&most) };
    assert_eq!(read_all(Arc::new(slow), &root, 0..u64::MAX).await.unwrap(), bytes);
    // All of them at a time only if they happen to be asked for together.
    assert!((2..=crate::dag::AHEAD_BLOCKS).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

/// Holds every leaf back for ever, and counts them.
struct Stuck {
    inner: Memory,
    leaves: Arc<AtomicUsize>,
}

impl Blocks for Stuck {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        self.inner.get(cid).filter(|_| cid.codec() != RAW).cloned()
    }

    fn block<'a>(&'a self, _root: &'a Cid, _cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        self.leaves.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_deep_dag_does_not_make_a_reader_hold_more() {
    let mut inner = Memory::default();
    let mut root = put(&mut inner, RAW, &b"the deepest"[..]);
    for level in 0..500 {
        let leaves: Vec<_> = (0..3).map(|i| put(&mut inner, RAW, format!("{level} {i}"))).collect();
        root = directory(&mut inner, &[("a", root), ("b", leaves[0]), ("c", leaves[1]), ("d", leaves[2])]);
    }
    let resolved = resolve(&inner, &root, &ROOT).await.unwrap();
    let leaves = Arc::new(AtomicUsize::new(0));
    let stuck = Stuck { inner, leaves: Arc::clone(&leaves) };
    let mut car = crate::export::export(Arc::new(stuck), &resolved, crate::export::Scope::All).unwrap();
    let mut sent = Decoder::default();
    while let Some(item) = futures_util::FutureExt::now_or_never(car.next()) {
        sent.push(&item.unwrap().unwrap());
    }
    let items = std::iter::from_fn(|| sent.next_item().unwrap()).count();
    assert_eq!(items, 1 + 500, "the header, and everything down to the deepest leaf");
    assert!(leaves.load(Ordering::SeqCst) <= 4 * crate::dag::AHEAD_BLOCKS + 1);
}
