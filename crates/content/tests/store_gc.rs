//! Garbage collected over and over while others write, pin, unpin and read: what is pinned can always be read.

#![expect(clippy::unwrap_used, reason = "a test panics where its set-up fails")]

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use atoll_content::store::{Options, Put, Store, StoreError};
use atoll_core::block::{DAG_PB, RAW};
use atoll_core::{Block, Cid};
use bytes::Bytes;
use tempfile::TempDir;

/// Collections that must have run to the end.
const COLLECTIONS: usize = 40;
/// DAGs that must have been written meanwhile.
const DAGS: usize = 300;

fn options() -> Options {
    Options { pack_bytes: 64 * 1024, flush_blocks: 50, flush_bytes: 100_000, ..Options::default() }
}

/// A leaf that several DAGs share, so that many are found present.
fn leaf(n: usize) -> Block {
    Block::sha2_256(RAW, Bytes::from(format!("leaf {n} ").repeat(50))).unwrap()
}

/// A node whose text is the CIDs of its children; the codec only says that it has some.
fn node(children: &[Block]) -> Block {
    let text: Vec<_> = children.iter().map(|child| child.cid().to_string()).collect();
    Block::sha2_256(DAG_PB, Bytes::from(text.join(" "))).unwrap()
}

fn links(_: &Cid, bytes: &Bytes) -> Result<Vec<Cid>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    text.split_whitespace().map(|cid| cid.parse().map_err(|error| format!("{cid}: {error}"))).collect()
}

/// The children of DAG `n`; neighbours share most of them.
fn leaves(n: usize) -> Vec<Block> {
    (0..6).map(|child| leaf(n + child * child)).collect()
}

fn write_dag(store: &Store, n: usize) -> Cid {
    let _hold = store.hold();
    let leaves = leaves(n);
    store.put_many(&leaves[..3]).unwrap();
    for leaf in &leaves[3..] {
        // As a pull does it: what is there is not fetched.
        if !store.has(leaf.cid().hash()).unwrap() {
            store.put(leaf).unwrap();
        }
    }
    let inner = [node(&leaves[..3]), node(&leaves[3..])];
    store.put_many(&inner).unwrap();
    let root = node(&inner);
    store.put(&root).unwrap();
    store.pin(root.cid(), "dag").unwrap();
    *root.cid()
}

/// Reads a whole DAG; the first block that is missing is the error.
fn read_dag(store: &Store, root: Cid) -> Result<usize, Cid> {
    let (mut stack, mut count) = (vec![root], 0);
    while let Some(cid) = stack.pop() {
        let bytes = store.get(cid.hash()).unwrap().ok_or(cid)?;
        count += 1;
        if cid.codec() != RAW {
            stack.extend(links(&cid, &bytes).unwrap());
        }
    }
    Ok(count)
}

#[test]
fn what_is_pinned_can_be_read_while_garbage_is_collected() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let pinned: Mutex<HashMap<usize, Cid>> = Mutex::default();
    let (done, written, collected) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (store, pinned, done, written) = (&store, &pinned, &done, &written);
            scope.spawn(move || {
                let mut n = writer;
                while !done.load(Ordering::Relaxed) {
                    let root = write_dag(store, n);
                    pinned.lock().unwrap().insert(n, root);
                    written.fetch_add(1, Ordering::Relaxed);
                    if n >= 20 {
                        let old = pinned.lock().unwrap().remove(&(n - 20));
                        store.unpin(&old.unwrap(), "dag").unwrap();
                    }
                    n += 2;
                }
            });
        }
        let reader = || {
            while !done.load(Ordering::Relaxed) {
                let some = pinned.lock().unwrap().iter().next().map(|(n, root)| (*n, *root));
                let Some((n, root)) = some else { continue };
                let read = read_dag(&store, root);
                // Unpinned meanwhile, it may be gone.
                let still = pinned.lock().unwrap().contains_key(&n);
                assert!(read.is_ok() || !still, "DAG {n} lacks {read:?}");
            }
        };
        scope.spawn(reader);
        while collected.load(Ordering::Relaxed) < COLLECTIONS || written.load(Ordering::Relaxed) < DAGS {
            match store.gc(&links, &mut |_| ()) {
                Ok(_) => collected.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    done.store(true, Ordering::Relaxed);
                    panic!("{error}");
                }
            };
        }
        done.store(true, Ordering::Relaxed);
    });
    let report = store.gc(&links, &mut |_| ()).unwrap();
    assert_eq!(store.stats().blocks, report.marked);
    drop(store);
    let store = Store::open(dir.path(), options()).unwrap();
    let pinned = pinned.into_inner().unwrap();
    assert_eq!(store.pins().len(), pinned.len());
    for root in pinned.into_values() {
        assert_eq!(read_dag(&store, root), Ok(9));
    }
    assert_eq!(store.verify(&mut |_, _| ()).unwrap().damaged_count, 0);
}

#[test]
fn a_pinned_dag_that_lacks_a_node_stops_collection_before_anything_is_lost() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let leaves = leaves(0);
    let inner = [node(&leaves[..3]), node(&leaves[3..])];
    let root = node(&inner);
    store.put_many(&leaves).unwrap();
    store.put(&root).unwrap();
    store.put(&inner[0]).unwrap();
    store.pin(root.cid(), "dag").unwrap();
    let error = store.gc(&links, &mut |_| ()).unwrap_err();
    assert!(matches!(&error, StoreError::PinIncomplete { cid, .. } if **cid == *inner[1].cid()), "{error}");
    assert_eq!(store.stats().blocks, leaves.len() as u64 + 2);
    assert_eq!(store.put(&inner[1]).unwrap(), Put::Stored);
    assert_eq!(store.gc(&links, &mut |_| ()).unwrap().removed_blocks, 0);
}

#[test]
fn the_same_bytes_raw_in_one_dag_and_a_node_in_another_keep_their_children() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let child = leaf(1);
    let as_node = node(std::slice::from_ref(&child));
    let as_raw = Block::sha2_256(RAW, as_node.bytes().clone()).unwrap();
    store.put_many(&[child.clone(), as_node.clone()]).unwrap();
    assert_eq!(store.put(&as_raw).unwrap(), Put::Present);
    store.pin(as_raw.cid(), "raw").unwrap();
    store.pin(as_node.cid(), "node").unwrap();
    assert_eq!(store.gc(&links, &mut |_| ()).unwrap().removed_blocks, 0);
    store.unpin(as_node.cid(), "node").unwrap();
    assert_eq!(store.gc(&links, &mut |_| ()).unwrap().removed_blocks, 1);
    assert!(!store.has(child.cid().hash()).unwrap());
}
