//! One process hands its store to another, which collects garbage and removes packs, and goes on reading meanwhile.

#![expect(clippy::unwrap_used, reason = "a test panics where its set-up fails")]

use std::path::Path;
use std::process::{Command, Stdio};

use atoll_content::store::{Options, Store, StoreError};
use atoll_core::block::RAW;
use atoll_core::{Block, Cid};
use bytes::Bytes;
use tempfile::TempDir;

/// Names the folder to the second process.
const CHILD_DIR: &str = "ATOLL_STORE_HANDOVER_DIR";
const NAME: &str = "another_process_takes_the_store_and_this_one_reads_on";

fn options() -> Options {
    Options { pack_bytes: 100_000, ..Options::default() }
}

fn block(n: usize) -> Block {
    Block::sha2_256(RAW, Bytes::from(format!("block {n} ").repeat(200))).unwrap()
}

fn no_links(_: &Cid, _: &Bytes) -> Result<Vec<Cid>, String> {
    Ok(Vec::new())
}

/// The second process: takes the folder, removes all that is not pinned, and writes.
fn successor(dir: &Path) {
    let store = Store::open(dir, options()).unwrap();
    assert_eq!((store.recovered().records, store.recovered().rebuilt), (0, None));
    assert!(store.is_pinned(block(7).cid()));
    let report = store.gc(&no_links, &mut |_| ()).unwrap();
    assert_eq!(report.removed_blocks, 299);
    store.put(&block(1000)).unwrap();
}

/// Runs [`successor`] in a process of its own; says whether it could take the store.
fn run_successor(dir: &Path) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", NAME]).env(CHILD_DIR, dir).stdout(Stdio::null()).stderr(Stdio::null());
    child.status().unwrap().success()
}

#[test]
fn another_process_takes_the_store_and_this_one_reads_on() {
    if let Ok(dir) = std::env::var(CHILD_DIR) {
        return successor(Path::new(&dir));
    }
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.put_many(&(0..300).map(block).collect::<Vec<_>>()).unwrap();
    store.pin(block(7).cid(), "kept").unwrap();
    assert!(!run_successor(dir.path()), "two processes wrote to one store");

    let frozen = store.handover().unwrap();
    assert!(run_successor(dir.path()), "the folder was not free");
    let packs = std::fs::read_dir(dir.path().join("packs")).unwrap().count();
    assert!(packs <= 3, "{packs} packs are left: the successor did not remove any");
    for n in 0..300 {
        let block = block(n);
        assert_eq!(frozen.get(block.cid().hash()).unwrap().as_ref(), Some(block.bytes()));
        assert_eq!(store.get(block.cid().hash()).unwrap().as_ref(), Some(block.bytes()));
    }
    assert_eq!(frozen.get(block(1000).cid().hash()).unwrap(), None);
    assert!(matches!(store.put(&block(1)), Err(StoreError::HandedOver)));
    assert!(matches!(store.pin(block(1).cid(), "late"), Err(StoreError::HandedOver)));
    assert!(matches!(store.gc(&no_links, &mut |_| ()), Err(StoreError::HandedOver)));
    drop((store, frozen));
    let store = Store::open(dir.path(), options()).unwrap();
    assert!(store.has(block(7).cid().hash()).unwrap() && store.has(block(1000).cid().hash()).unwrap());
}
