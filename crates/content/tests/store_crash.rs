//! Every crash that a recorded run could have met is replayed: nothing acknowledged may be lost, nothing wrong served.
//!
//! The run's writes, syncs, creations and removals are recorded together with what the store acknowledged. For each
//! prefix of the record the disk is put together as a crash could have left it: all of it (the process was killed), only
//! what was synced, and a seeded sample of what power loss can leave between the two, torn writes included.

#![expect(clippy::unwrap_used, reason = "a test panics where its set-up fails")]

#[path = "store_crash/sim.rs"]
mod sim;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use atoll_content::store::{Options, Store, StoreError};
use atoll_core::block::RAW;
use atoll_core::{Block, Cid};
use bytes::Bytes;
use sim::{Event, Loss, Replay, Rng, SimDisk};

/// How many samples of power loss are replayed for each prefix.
const SAMPLES: usize = 4;
/// Changes of a sample; printed when one fails.
const SEED: u64 = 0x5eed_0001;

fn options() -> Options {
    // Small packs, and index commits only where the script says so, so that the record is the same in each run.
    Options { pack_bytes: 3000, index_cache_bytes: 1 << 20, flush_after: Duration::MAX, ..Options::default() }
}

fn block(n: usize) -> Block {
    Block::sha2_256(RAW, Bytes::from(format!("{n:05} ").repeat(10 + n * 7 % 90))).unwrap()
}

fn no_links(_: &Cid, _: &Bytes) -> Result<Vec<Cid>, String> {
    Ok(Vec::new())
}

/// What may be asked of a store after a crash.
#[derive(Clone, Debug, Default)]
struct Promise {
    /// Blocks that survive a kill, and those of them that survive a loss of power.
    written: BTreeSet<usize>,
    durable: BTreeSet<usize>,
    pins: BTreeMap<usize, bool>,
    /// The pin that was being changed.
    unsure: Option<usize>,
}

impl Promise {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Written(n) => {
                self.written.insert(n);
            }
            Event::Synced => self.durable = self.written.clone(),
            Event::PinBegins(n) => self.unsure = Some(n),
            Event::Pinned(n, on) => {
                self.pins.insert(n, on);
                self.unsure = None;
                self.durable = self.written.clone();
            }
            Event::Collecting => {
                let pinned = |n: &usize| self.pins.get(n) == Some(&true);
                self.written.retain(pinned);
                self.durable.retain(pinned);
            }
        }
    }
}

/// Writes, pins, syncs, flushes, collects, reopens; and says so.
fn script(disk: &Arc<SimDisk>) {
    let mut next = 0;
    for round in 0..3 {
        let store = Store::open_on(disk.clone(), options()).unwrap();
        for step in 0..12 {
            let blocks: Vec<_> = (next..next + 1 + step % 3).map(block).collect();
            store.put_many(&blocks).unwrap();
            (next..next + blocks.len()).for_each(|n| disk.note(Event::Written(n)));
            let first = next;
            next += blocks.len();
            match step % 6 {
                1 | 4 => {
                    disk.note(Event::PinBegins(first));
                    store.pin(block(first).cid(), "kept").unwrap();
                    disk.note(Event::Pinned(first, true));
                }
                2 => {
                    store.sync().unwrap();
                    disk.note(Event::Synced);
                }
                3 if step > 6 => {
                    let pin = store.pins().into_iter().nth(round).unwrap();
                    let n = (0..next).find(|n| *block(*n).cid() == pin.cid).unwrap();
                    disk.note(Event::PinBegins(n));
                    store.unpin(&pin.cid, "kept").unwrap();
                    disk.note(Event::Pinned(n, false));
                }
                5 => store.flush().unwrap(),
                _ => {}
            }
        }
        disk.note(Event::Collecting);
        store.gc(&no_links, &mut |_| ()).unwrap();
    }
}

/// Opens what a crash left and checks it against the promise.
fn check(disk: Arc<SimDisk>, promise: &Promise, killed: bool, what: &str) {
    let store = Store::open_on(disk.clone(), options()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let required = if killed { &promise.written } else { &promise.durable };
    for n in 0..100 {
        let block = block(n);
        match store.get(block.cid().hash()) {
            Ok(Some(bytes)) => assert_eq!(&bytes, block.bytes(), "{what}: wrong bytes of block {n}"),
            Ok(None) | Err(StoreError::Damaged { .. }) => {
                assert!(!required.contains(&n), "{what}: block {n} is lost; {:?}", store.recovered());
            }
            Err(error) => panic!("{what}: block {n}: {error}"),
        }
    }
    for (n, on) in &promise.pins {
        let pinned = store.is_pinned(block(*n).cid());
        assert!(pinned == *on || promise.unsure == Some(*n), "{what}: pin {n} is {pinned}");
    }
    let late = block(99_999);
    store.put(&late).unwrap();
    store.pin(late.cid(), "late").unwrap();
    drop(store);
    let store = Store::open_on(disk, options()).unwrap();
    assert!(store.is_pinned(late.cid()), "{what}");
    assert_eq!(store.get(late.cid().hash()).unwrap().as_ref(), Some(late.bytes()), "{what}");
}

#[test]
fn no_crash_loses_what_was_acknowledged() {
    let disk = Arc::new(SimDisk::default());
    script(&disk);
    let record = disk.record();
    let mut rng = Rng(SEED);
    let mut promise = Promise::default();
    let mut replay = Replay::default();
    let mut replayed = 0u32;
    for (at, op) in record.into_iter().enumerate() {
        let event = op.event();
        if let Some(event) = event {
            promise.apply(event);
        }
        let torn = replay.push(op, &mut rng);
        if let Some(torn) = torn {
            check(Arc::new(torn), &promise, true, &format!("seed {SEED:#x}, operation {at} torn by a kill"));
            replayed += 1;
        }
        if event.is_some() {
            check(Arc::new(replay.disk(&mut rng, Loss::Nothing)), &promise, true, &format!("operation {at}, killed"));
            check(Arc::new(replay.disk(&mut rng, Loss::Unsynced)), &promise, false, &format!("operation {at}, synced"));
            replayed += 2;
        }
        for sample in 0..SAMPLES {
            let what = format!("seed {SEED:#x}, operation {at}, sample {sample}");
            check(Arc::new(replay.disk(&mut rng, Loss::Some)), &promise, false, &what);
            replayed += 1;
        }
    }
    println!("{replayed} crashes replayed");
    assert!(replayed > 1000);
}

#[test]
fn after_a_failed_sync_nothing_more_is_acknowledged() {
    let disk = Arc::new(SimDisk::default());
    let store = Store::open_on(disk.clone(), options()).unwrap();
    store.put(&block(1)).unwrap();
    disk.fail_sync();
    assert!(matches!(store.pin(block(1).cid(), "kept"), Err(StoreError::SyncFailed)));
    assert!(matches!(store.sync(), Err(StoreError::SyncFailed)));
    assert!(matches!(store.put(&block(2)), Err(StoreError::SyncFailed)));
    assert_eq!(store.get(block(1).cid().hash()).unwrap().as_ref(), Some(block(1).bytes()));
}

#[test]
fn a_failed_write_leaves_no_half_record() {
    for cut_fails in [false, true] {
        let disk = Arc::new(SimDisk::default());
        let store = Store::open_on(disk.clone(), options()).unwrap();
        store.put(&block(1)).unwrap();
        disk.fail_write(20, cut_fails);
        assert!(matches!(store.put(&block(2)), Err(StoreError::DiskFull { .. })));
        assert!(!store.has(block(2).cid().hash()).unwrap());
        store.put(&block(3)).unwrap();
        store.pin(block(3).cid(), "kept").unwrap();
        drop(store);
        let store = Store::open_on(disk.clone(), options()).unwrap();
        disk.remove_index();
        drop(store);
        let store = Store::open_on(disk, options()).unwrap();
        for n in [1, 3] {
            assert_eq!(store.get(block(n).cid().hash()).unwrap().as_ref(), Some(block(n).bytes()));
        }
        assert!(!store.has(block(2).cid().hash()).unwrap());
        assert!(store.is_pinned(block(3).cid()));
    }
}
