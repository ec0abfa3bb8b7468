//! A disk that is really full: a small tmpfs, which only root can mount.

#![expect(clippy::unwrap_used, reason = "a test panics where its set-up fails")]

use std::process::Command;
use std::time::Duration;

use atoll_content::store::{Options, Put, Store, StoreError};
use atoll_core::block::RAW;
use atoll_core::{Block, Cid};
use bytes::Bytes;
use tempfile::TempDir;

/// A tmpfs of `bytes` bytes, unmounted when it is dropped.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    fn mount(bytes: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let options = format!("size={bytes}");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).status();
        assert!(
            status.as_ref().is_ok_and(std::process::ExitStatus::success),
            "mounting a small tmpfs failed ({status:?}): this test needs root, run it as root or in a container"
        );
        Self { dir }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
    }
}

fn block(n: u32) -> Block {
    let mut bytes = vec![b'.'; 200_000];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    Block::sha2_256(RAW, bytes.into()).unwrap()
}

fn no_links(_: &Cid, _: &Bytes) -> Result<Vec<Cid>, String> {
    Ok(Vec::new())
}

/// Fills the disk with blocks from `first` on, and says how many were acknowledged.
fn fill(store: &Store, first: u32) -> u32 {
    for n in first.. {
        match store.put(&block(n)) {
            Ok(put) => assert_eq!(put, Put::Stored),
            Err(StoreError::DiskFull { .. }) => return n,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("a disk of a few megabytes takes no four billion blocks")
}

fn assert_all(store: &Store, blocks: std::ops::Range<u32>) {
    for n in blocks {
        let block = block(n);
        assert_eq!(store.get(block.cid().hash()).unwrap().as_ref(), Some(block.bytes()), "block {n}");
    }
}

#[test]
fn a_full_disk_loses_nothing_and_writing_goes_on_when_there_is_space() {
    let disk = SmallDisk::mount(8 * 1024 * 1024);
    let options = Options { pack_bytes: 1024 * 1024, flush_after: Duration::MAX, ..Options::default() };
    let ballast = disk.dir.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1024 * 1024]).unwrap();
    let dir = disk.dir.path().join("store");
    let store = Store::open(&dir, options.clone()).unwrap();
    store.put(&block(0)).unwrap();
    store.pin(block(0).cid(), "kept").unwrap();
    let full = fill(&store, 1);
    assert!(full > 10, "only {full} blocks fitted");
    assert_all(&store, 0..full);
    assert!(!store.has(block(full).cid().hash()).unwrap());

    std::fs::remove_file(&ballast).unwrap();
    let more = fill(&store, full);
    assert!(more > full, "freed space was not used");
    assert_all(&store, 0..more);
    drop(store);
    let store = Store::open(&dir, options).unwrap();
    assert_all(&store, 0..more);

    let report = store.gc(&no_links, &mut |_| ()).unwrap();
    assert!(report.freed_bytes > 4 * 1024 * 1024, "{report:?}");
    assert_all(&store, 0..1);
    assert_eq!(store.put(&block(more)).unwrap(), Put::Stored);
}

#[test]
fn an_index_that_cannot_grow_catches_up_when_there_is_space() {
    let disk = SmallDisk::mount(64 * 1024 * 1024);
    let options = Options {
        flush_after: Duration::MAX,
        flush_blocks: u64::MAX,
        index_cache_bytes: 1 << 20,
        ..Options::default()
    };
    let ballast = disk.dir.path().join("ballast");
    std::fs::write(&ballast, vec![0; 57 * 1024 * 1024]).unwrap();
    let dir = disk.dir.path().join("store");
    let store = Store::open(&dir, options.clone()).unwrap();
    let small = |n: u32| Block::sha2_256(RAW, Bytes::from(format!("block {n}"))).unwrap();
    let group = |n: u32| (n * 100..(n + 1) * 100).map(small).collect::<Vec<_>>();
    let full = (0..).find(|n| store.put_many(&group(*n)).is_err()).unwrap() * 100;
    let all_here = |store: &Store| {
        for block in (0..full).map(small) {
            assert_eq!(store.get(block.cid().hash()).unwrap().as_ref(), Some(block.bytes()));
        }
    };
    let mut store = store;
    for _ in 0..2 {
        assert!(matches!(store.flush(), Err(StoreError::DiskFull { .. })), "{full} blocks left space for the index");
        all_here(&store);
        // A start on the full disk serves what is there, too.
        drop(store);
        store = Store::open(&dir, options.clone()).unwrap();
        all_here(&store);
    }
    std::fs::remove_file(&ballast).unwrap();
    store.flush().unwrap();
    assert_eq!(store.stats().unindexed, 0);
    all_here(&store);
    drop(store);
    let store = Store::open(&dir, options).unwrap();
    assert_eq!((store.recovered().records, store.recovered().rebuilt), (0, None));
    all_here(&store);
}
