//! Bytes that rot on disk: exactly the damaged blocks are named and can be stored again, nothing wrong is served, and
//! nothing else is lost.

#![expect(clippy::unwrap_used, reason = "a test panics where its set-up fails")]

use std::fs;
use std::path::{Path, PathBuf};

use atoll_content::LocalBlocks;
use atoll_content::store::{Options, Put, Store, StoreError};
use atoll_core::block::RAW;
use atoll_core::{Block, Blocks, Cid, FetchError};
use bytes::Bytes;
use tempfile::TempDir;

const BLOCKS: usize = 60;

fn options() -> Options {
    Options { pack_bytes: 10_000, ..Options::default() }
}

fn block(n: usize) -> Block {
    Block::sha2_256(RAW, Bytes::from(format!("<{n:03}>").repeat(100))).unwrap()
}

fn no_links(_: &Cid, _: &Bytes) -> Result<Vec<Cid>, String> {
    Ok(Vec::new())
}

/// A closed store of [`BLOCKS`] blocks over several packs, all pinned.
fn filled() -> TempDir {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    for n in 0..BLOCKS {
        store.put(&block(n)).unwrap();
        store.pin(block(n).cid(), "kept").unwrap();
    }
    dir
}

fn lose_index(dir: &Path) {
    fs::remove_file(dir.join("index.redb")).unwrap();
}

/// The pack that holds block `n`, its bytes, and where the data of the block begins in it.
fn find(dir: &Path, n: usize) -> (PathBuf, Vec<u8>, usize) {
    let wanted = block(n);
    let paths = fs::read_dir(dir.join("packs")).unwrap().map(|entry| entry.unwrap().path());
    let mut found = paths.filter_map(|path| {
        let bytes = fs::read(&path).unwrap();
        let at = bytes.windows(wanted.bytes().len()).position(|window| window == &wanted.bytes()[..])?;
        Some((path, bytes, at))
    });
    found.next().unwrap()
}

/// Flips a bit `shift` bytes from where the data of block `n` begins.
fn flip(dir: &Path, n: usize, shift: isize) {
    let (path, mut bytes, at) = find(dir, n);
    bytes[at.checked_add_signed(shift).unwrap()] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// Checks that all blocks but `damaged` are served, that exactly those are named, and that they can be stored again.
fn check(store: &Store, damaged: &[usize]) {
    for n in 0..BLOCKS {
        let block = block(n);
        match store.get(block.cid().hash()) {
            Ok(found) => assert_eq!(found.as_ref(), (!damaged.contains(&n)).then_some(block.bytes()), "block {n}"),
            Err(StoreError::Damaged { .. }) => assert!(damaged.contains(&n), "block {n}"),
            Err(error) => panic!("block {n}: {error}"),
        }
    }
    let mut named: Vec<_> = store.verify(&mut |_, _| ()).unwrap().damaged.into_iter().map(|found| found.hash).collect();
    let mut expected: Vec<_> = damaged.iter().map(|n| *block(*n).cid().hash()).collect();
    named.sort();
    expected.sort();
    assert_eq!(named, expected);
    for n in damaged {
        assert!(!store.has(block(*n).cid().hash()).unwrap());
        assert_eq!(store.put(&block(*n)).unwrap(), Put::Stored);
        assert_eq!(store.get(block(*n).cid().hash()).unwrap().as_ref(), Some(block(*n).bytes()));
    }
    assert_eq!(store.verify(&mut |_, _| ()).unwrap().damaged, []);
    assert_eq!(store.pins().len(), BLOCKS);
}

#[test]
fn damaged_data_is_named_with_and_without_the_index() {
    for index_lost in [false, true] {
        let dir = filled();
        for n in [0, 23, BLOCKS - 1] {
            flip(dir.path(), n, 250);
        }
        if index_lost {
            lose_index(dir.path());
        }
        let store = Store::open(dir.path(), options()).unwrap();
        assert_eq!(store.recovered().damaged.len(), if index_lost { 3 } else { 0 });
        check(&store, &[0, 23, BLOCKS - 1]);
        drop(store);
        lose_index(dir.path());
        let store = Store::open(dir.path(), options()).unwrap();
        assert_eq!(store.recovered().damaged, [], "a good copy is there now");
        check(&store, &[]);
    }
}

#[test]
fn behind_a_damaged_head_the_block_is_served_by_the_index_and_rescued_by_collection() {
    let dir = filled();
    flip(dir.path(), 23, -30);
    let store = Store::open(dir.path(), options()).unwrap();
    check(&store, &[]);
    for n in (0..BLOCKS).filter(|n| *n != 23) {
        store.unpin(block(n).cid(), "kept").unwrap();
    }
    let report = store.gc(&no_links, &mut |_| ()).unwrap();
    assert_eq!((report.removed_blocks, report.damaged.len()), (BLOCKS as u64 - 1, 0));
    assert_eq!(store.get(block(23).cid().hash()).unwrap().as_ref(), Some(block(23).bytes()));
    assert_eq!(store.verify(&mut |_, _| ()).unwrap().gap_bytes, 0);
}

#[test]
fn a_damaged_head_without_an_index_loses_one_block_and_the_rest_is_found() {
    let dir = filled();
    flip(dir.path(), 23, -30);
    lose_index(dir.path());
    let store = Store::open(dir.path(), options()).unwrap();
    assert!(store.recovered().gap_bytes > 500);
    assert_eq!(store.get(block(23).cid().hash()).unwrap(), None);
    assert_eq!(store.put(&block(23)).unwrap(), Put::Stored);
    check(&store, &[]);
}

#[test]
fn a_damaged_pack_header_loses_nothing_while_another_pack_tells_the_salt() {
    let dir = filled();
    let (path, mut bytes, _) = find(dir.path(), 23);
    bytes[17] ^= 1;
    fs::write(path, bytes).unwrap();
    lose_index(dir.path());
    check(&Store::open(dir.path(), options()).unwrap(), &[]);
}

#[test]
fn a_damaged_block_is_left_out_by_collection_and_named() {
    let dir = filled();
    flip(dir.path(), 23, 250);
    let store = Store::open(dir.path(), options()).unwrap();
    for n in (0..BLOCKS).filter(|n| *n != 23) {
        store.unpin(block(n).cid(), "kept").unwrap();
    }
    let report = store.gc(&no_links, &mut |_| ()).unwrap();
    assert_eq!(report.damaged.iter().map(|found| found.hash).collect::<Vec<_>>(), [*block(23).cid().hash()]);
    assert_eq!(store.get(block(23).cid().hash()).unwrap(), None);
    assert!(store.is_pinned(block(23).cid()));
}

#[test]
fn an_index_that_does_not_belong_to_the_packs_is_rebuilt() {
    // A pack is missing: what it held is gone, and nothing claims otherwise.
    let dir = filled();
    let (path, _, _) = find(dir.path(), 0);
    fs::remove_file(path).unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    assert!(store.recovered().rebuilt.is_some());
    assert!(!store.has(block(0).cid().hash()).unwrap());
    assert!(store.has(block(BLOCKS - 1).cid().hash()).unwrap());
    drop(store);

    // The last pack is older than the index, as after restoring a backup.
    let (path, bytes, at) = find(dir.path(), BLOCKS - 1);
    fs::write(path, &bytes[..at]).unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    assert!(store.recovered().rebuilt.is_some() && store.recovered().cut_bytes > 0);
    assert!(!store.has(block(BLOCKS - 1).cid().hash()).unwrap());
    drop(store);

    // The index is another store's.
    let other = filled();
    fs::copy(other.path().join("index.redb"), dir.path().join("index.redb")).unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    assert!(store.recovered().rebuilt.is_some());
    assert!(!store.has(block(0).cid().hash()).unwrap());
}

#[test]
fn a_pack_of_a_newer_format_is_refused_by_name() {
    let dir = filled();
    let path = dir.path().join("packs/00000001.pack");
    let mut bytes = fs::read(&path).unwrap();
    bytes[11] = 2;
    // CRC-32 of the changed header, as the format has it.
    let crc = crc32fast::hash(&bytes[..24]);
    bytes[24..28].copy_from_slice(&crc.to_be_bytes());
    fs::write(&path, bytes).unwrap();
    let error = Store::open(dir.path(), options()).unwrap_err();
    assert!(matches!(error, StoreError::PackVersion { pack: 1, version: 2, known: 1 }), "{error}");
}

#[tokio::test]
async fn to_the_rest_of_the_node_a_damaged_block_is_absent_and_counted() {
    let dir = filled();
    flip(dir.path(), 23, 250);
    let local = LocalBlocks::new(Store::open(dir.path(), options()).unwrap(), 1 << 20);
    let cid = *block(23).cid();
    assert!(matches!(local.block(&cid, &cid).await, Err(FetchError::NotFound(_))));
    assert_eq!(local.damaged(), 1);
    local.keep(block(23)).await.unwrap();
    local.forget(&cid);
    assert_eq!(local.block(&cid, &cid).await.unwrap(), block(23).bytes());
}
