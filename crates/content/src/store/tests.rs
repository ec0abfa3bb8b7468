//! What a caller sees of a store, on a real folder.

use atoll_core::block::RAW;
use tempfile::TempDir;

use super::*;

fn block(text: &str) -> Block {
    Block::sha2_256(RAW, Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn open(dir: &TempDir) -> Store {
    Store::open(dir.path(), Options::default()).unwrap()
}

#[test]
fn what_is_put_is_got_also_after_reopening() {
    let dir = TempDir::new().unwrap();
    let blocks: Vec<_> = (0..1000).map(|n| block(&format!("block {n}"))).collect();
    let store = open(&dir);
    assert_eq!(store.put(&blocks[0]).unwrap(), Put::Stored);
    assert_eq!(store.put(&blocks[0]).unwrap(), Put::Present);
    let puts = store.put_many(&blocks).unwrap();
    assert_eq!(puts.iter().filter(|put| **put == Put::Stored).count(), 999);
    for _ in 0..2 {
        let store = store.clone();
        for block in &blocks {
            assert_eq!(store.get(block.cid().hash()).unwrap().as_ref(), Some(block.bytes()));
        }
    }
    drop(store);
    let store = open(&dir);
    assert_eq!(*store.recovered(), Recovered::default());
    for block in &blocks {
        assert_eq!(store.get(block.cid().hash()).unwrap().as_ref(), Some(block.bytes()));
    }
    assert_eq!(store.get(block("other").cid().hash()).unwrap(), None);
}

#[test]
fn a_lost_index_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let kept = block("kept");
    store.put(&kept).unwrap();
    store.pin(kept.cid(), "site a").unwrap();
    store.pin(kept.cid(), "site b").unwrap();
    assert!(store.unpin(kept.cid(), "site a").unwrap());
    drop(store);
    std::fs::remove_file(dir.path().join(index::INDEX)).unwrap();
    let store = open(&dir);
    assert_eq!(store.recovered().records, 4);
    assert_eq!(store.pins(), [Pin { cid: *kept.cid(), name: "site b".to_owned() }]);
    assert!(store.is_pinned(kept.cid()));
    assert!(store.has(kept.cid().hash()).unwrap());
    assert!(store.unpin(kept.cid(), "site b").unwrap());
    assert!(!store.is_pinned(kept.cid()));
}

#[test]
fn an_unreadable_index_is_rebuilt() {
    let dir = TempDir::new().unwrap();
    let kept = block("kept");
    open(&dir).put(&kept).unwrap();
    for garbage in [&b""[..], b"garbage", &[7; 100_000]] {
        std::fs::write(dir.path().join(index::INDEX), garbage).unwrap();
        let store = open(&dir);
        assert!(store.recovered().rebuilt.is_some());
        assert!(store.has(kept.cid().hash()).unwrap());
    }
}

#[test]
fn a_second_writer_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let second = Store::open(dir.path(), Options::default());
    assert!(matches!(second, Err(StoreError::Locked { .. })), "{second:?}");
    drop(store);
    open(&dir);
}

#[test]
fn a_torn_write_is_cut_and_what_was_before_stays() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let (first, second) = (block("first"), block("second"));
    store.put(&first).unwrap();
    store.put(&second).unwrap();
    drop(store);
    let pack = dir.path().join(pack::pack_name(1));
    let bytes = std::fs::read(&pack).unwrap();
    std::fs::remove_file(dir.path().join(index::INDEX)).unwrap();
    std::fs::write(&pack, &bytes[..bytes.len() - 1]).unwrap();
    let store = open(&dir);
    assert!(store.recovered().cut_bytes > 0);
    assert!(store.has(first.cid().hash()).unwrap());
    assert!(!store.has(second.cid().hash()).unwrap());
    store.put(&second).unwrap();
    assert_eq!(store.get(second.cid().hash()).unwrap().as_ref(), Some(second.bytes()));
}

#[test]
fn over_the_budget_only_pins_are_written() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), Options { bytes_max: 1000, ..Options::default() }).unwrap();
    let (small, large) = (block("small"), block(&"large".repeat(300)));
    store.put(&small).unwrap();
    let refused = store.put(&large).unwrap_err();
    assert!(matches!(refused, StoreError::BudgetExceeded { bytes_max: 1000, .. }), "{refused}");
    for n in 0..20 {
        assert!(store.pin(small.cid(), &format!("reason {n}")).unwrap());
    }
    assert!(store.unpin(small.cid(), "reason 3").unwrap());
}
