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

/// No block has children.
fn no_links(_: &atoll_core::Cid, _: &Bytes) -> Result<Vec<atoll_core::Cid>, String> {
    Ok(Vec::new())
}

#[test]
fn collection_forgets_what_no_pin_reaches_and_gives_the_space_back() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), Options { pack_bytes: 20_000, ..Options::default() }).unwrap();
    let blocks: Vec<_> = (0..100).map(|n| block(&format!("{n} ").repeat(400))).collect();
    store.put_many(&blocks).unwrap();
    for kept in blocks.iter().step_by(5) {
        store.pin(kept.cid(), "kept").unwrap();
    }
    let before = store.stats();
    let report = store.gc(&no_links, &mut |_| ()).unwrap();
    let after = store.stats();
    assert_eq!((report.marked, report.removed_blocks), (20, 80));
    // Each pack that live blocks were copied to has a header of its own.
    let begun = after.packs + report.packs_removed - before.packs;
    let headers = begun * pack::PACK_HEADER_BYTES;
    assert_eq!(report.freed_bytes, before.bytes_on_disk - after.bytes_on_disk + headers);
    assert!(after.bytes_on_disk < before.bytes_on_disk / 3, "{before:?} {after:?}");
    for (n, block) in blocks.iter().enumerate() {
        assert_eq!(store.has(block.cid().hash()).unwrap(), n % 5 == 0);
    }
    drop(store);
    std::fs::remove_file(dir.path().join(index::INDEX)).unwrap();
    let store = open(&dir);
    assert_eq!(store.pins().len(), 20);
    for kept in blocks.iter().step_by(5) {
        assert_eq!(store.get(kept.cid().hash()).unwrap().as_ref(), Some(kept.bytes()));
    }
}

#[test]
fn an_unpin_is_not_undone_by_collection_and_a_lost_index() {
    let dir = TempDir::new().unwrap();
    let options = Options { pack_bytes: 1000, ..Options::default() };
    let store = Store::open(dir.path(), options.clone()).unwrap();
    let (root, filler) = (block("root"), block(&"filler".repeat(150)));
    store.put(&root).unwrap();
    store.pin(filler.cid(), "filler").unwrap();
    store.pin(root.cid(), "short").unwrap();
    store.put(&filler).unwrap();
    store.unpin(root.cid(), "short").unwrap();
    for n in 0..3 {
        store.put(&block(&format!("{n}").repeat(900))).unwrap();
        store.gc(&no_links, &mut |_| ()).unwrap();
        assert_eq!(store.pins().len(), 1);
    }
    drop(store);
    std::fs::remove_file(dir.path().join(index::INDEX)).unwrap();
    let store = Store::open(dir.path(), options).unwrap();
    assert_eq!(store.pins(), [Pin { cid: *filler.cid(), name: "filler".to_owned() }]);
}

#[test]
fn verify_names_exactly_the_damaged_block_and_it_can_be_stored_again() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let blocks: Vec<_> = (0..50).map(|n| block(&format!("block {n:02}"))).collect();
    store.put_many(&blocks).unwrap();
    drop(store);
    let pack = dir.path().join(pack::pack_name(1));
    let mut bytes = std::fs::read(&pack).unwrap();
    let victim = &blocks[17];
    let at = bytes.windows(8).position(|window| window == &victim.bytes()[..]).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&pack, bytes).unwrap();

    let store = open(&dir);
    let report = store.verify(&mut |_, _| ()).unwrap();
    assert_eq!((report.blocks, report.damaged_count), (49, 1));
    assert_eq!(report.damaged[0].hash, *victim.cid().hash());
    assert!(!store.has(victim.cid().hash()).unwrap());
    let error = store.get(victim.cid().hash()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { pack: 1, .. }), "{error}");
    assert_eq!(store.put(victim).unwrap(), Put::Stored);
    assert_eq!(store.get(victim.cid().hash()).unwrap().as_ref(), Some(victim.bytes()));
    assert_eq!(store.verify(&mut |_, _| ()).unwrap().damaged, []);
}

#[test]
fn after_a_handover_another_store_may_remove_packs_and_this_one_still_reads() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let blocks: Vec<_> = (0..50).map(|n| block(&format!("block {n}"))).collect();
    store.put_many(&blocks).unwrap();
    let frozen = store.handover().unwrap();
    assert!(matches!(store.put(&block("late")), Err(StoreError::HandedOver)));
    assert!(matches!(store.handover(), Err(StoreError::HandedOver)));

    let second = open(&dir);
    let report = second.gc(&no_links, &mut |_| ()).unwrap();
    assert_eq!((report.removed_blocks, report.packs_removed), (50, 1));
    for block in &blocks {
        assert_eq!(second.get(block.cid().hash()).unwrap(), None);
        assert_eq!(frozen.get(block.cid().hash()).unwrap().as_ref(), Some(block.bytes()));
        assert_eq!(store.get(block.cid().hash()).unwrap().as_ref(), Some(block.bytes()));
        assert!(store.has(block.cid().hash()).unwrap());
    }
    assert_eq!(frozen.blocks(), 50);
    assert_eq!(frozen.get(block("late").cid().hash()).unwrap(), None);
}

#[test]
fn what_a_hold_covers_is_not_collected() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let (old, found, read, stored) = (block("old"), block("found"), block("read"), block("stored"));
    store.put_many(&[old.clone(), found.clone(), read.clone()]).unwrap();
    let hold = store.hold();
    assert_eq!(store.put(&found).unwrap(), Put::Present);
    assert!(store.get(read.cid().hash()).unwrap().is_some());
    store.put(&stored).unwrap();
    let here = || [&old, &found, &read, &stored].map(|block| store.len_of(block.cid().hash()).unwrap().is_some());
    assert_eq!(store.gc(&no_links, &mut |_| ()).unwrap().removed_blocks, 1);
    assert_eq!(here(), [false, true, true, true]);
    store.pin(stored.cid(), "kept").unwrap();
    drop(hold);
    assert_eq!(store.gc(&no_links, &mut |_| ()).unwrap().removed_blocks, 2);
    assert_eq!(here(), [false, false, false, true]);
}
