//! A process that writes is killed at random moments, over and over: nothing it acknowledged may be lost.
//!
//! The writer is this test's own binary. It says on its output what is acknowledged, the parent kills it after a seeded
//! number of such lines, opens the store itself and looks. `ATOLL_TEST_LONG=1` kills 1,000 times instead of 200.

#![expect(clippy::unwrap_used, reason = "a test panics where its set-up fails")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use atoll_content::store::{Options, Store};
use atoll_core::block::RAW;
use atoll_core::{Block, Cid};
use bytes::Bytes;
use tempfile::TempDir;

/// Names the folder to the writing process, and the number of its first block.
const CHILD_DIR: &str = "ATOLL_STORE_KILL_DIR";
const CHILD_FIRST: &str = "ATOLL_STORE_KILL_FIRST";
const SEED: u64 = 0x5eed_0002;
/// Threads that write at once.
const WRITERS: u64 = 2;

/// Limits so small that packs end, the index is committed and garbage is collected all the time.
fn options() -> Options {
    Options {
        pack_bytes: 1024 * 1024,
        flush_bytes: 256 * 1024,
        flush_blocks: 40,
        index_cache_bytes: 1024 * 1024,
        ..Options::default()
    }
}

/// Block `n`: between 30 bytes and 60 KiB, and unlike all others.
fn block(n: u64) -> Block {
    let len = 30 + (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 2000 * if n.is_multiple_of(5) { 30 } else { 1 };
    let text = format!("block {n} of a store that is killed. ");
    let bytes = text.bytes().cycle().take(usize::try_from(len).unwrap() + text.len()).collect::<Vec<_>>();
    Block::sha2_256(RAW, bytes.into()).unwrap()
}

fn no_links(_: &Cid, _: &Bytes) -> Result<Vec<Cid>, String> {
    Ok(Vec::new())
}

/// Says a line at once, so that the parent has it even if this process dies right after.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("@{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Writes until it is killed.
fn write_forever(dir: &Path, first: u64) {
    let store = Store::open(dir, options()).unwrap();
    let next = AtomicU64::new(first);
    // Collections begin between two writes, so that it is clear which blocks they may take.
    let quiet = RwLock::new(());
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                loop {
                    let _quiet = quiet.read().unwrap();
                    let n = next.fetch_add(3, Ordering::Relaxed);
                    store.put_many(&[block(n), block(n + 1)]).unwrap();
                    say(&format!("put {n}\n@put {}", n + 1));
                    store.put(&block(n + 2)).unwrap();
                    say(&format!("put {}", n + 2));
                    if n.is_multiple_of(4) {
                        say(&format!("pinning {n}"));
                        store.pin(block(n).cid(), "kept").unwrap();
                        say(&format!("pin {n}"));
                    }
                    // Most pins are taken away again, so that the store stays small.
                    if n.is_multiple_of(8) && n > first + 100 {
                        let old = (n - 100) / 4 * 4;
                        say(&format!("pinning {old}"));
                        store.unpin(block(old).cid(), "kept").unwrap();
                        say(&format!("unpin {old}"));
                    }
                }
            });
        }
        loop {
            let mut alone = Some(quiet.write().unwrap());
            say("collect");
            // It has begun by the time it tells of progress; from then on what is written stays.
            store.gc(&no_links, &mut |_| drop(alone.take())).unwrap();
        }
    });
}

/// What the store owes, by what the killed processes said.
#[derive(Default)]
struct Owed {
    blocks: BTreeMap<u64, bool>,
    pins: BTreeMap<u64, bool>,
    /// Pins that were being changed when the process died.
    unsure: Vec<u64>,
}

impl Owed {
    fn take(&mut self, line: &str) {
        let (verb, n) = line.split_once(' ').unwrap_or((line, "0"));
        let n = n.parse().unwrap();
        match verb {
            "put" => {
                self.blocks.insert(n, true);
            }
            "pinning" => self.unsure.push(n),
            "pin" | "unpin" => {
                self.unsure.retain(|other| *other != n);
                self.pins.insert(n, verb == "pin");
            }
            "collect" => {
                let (pins, unsure) = (&self.pins, &self.unsure);
                self.blocks.retain(|n, _| pins.get(n) == Some(&true) && !unsure.contains(n));
            }
            other => panic!("unknown line {other:?}"),
        }
    }

    /// Opens the store and looks whether everything is there.
    fn check(&mut self, dir: &Path, round: u32) {
        let store = Store::open(dir, options()).unwrap();
        for n in self.blocks.keys() {
            let block = block(*n);
            let found = store.get(block.cid().hash()).unwrap();
            let right = found.as_ref() == Some(block.bytes());
            assert!(right, "round {round}: block {n} is lost; {:?}", store.recovered());
        }
        for (n, on) in &mut self.pins {
            let pinned = store.is_pinned(block(*n).cid());
            assert!(pinned == *on || self.unsure.contains(n), "round {round}: pin {n} is {pinned}");
            *on = pinned;
        }
        for n in self.unsure.drain(..) {
            self.pins.insert(n, store.is_pinned(block(n).cid()));
        }
        assert_eq!(store.recovered().damaged, [], "round {round}");
        assert_eq!(store.recovered().rebuilt, None, "round {round}");
    }
}

/// What the writer said in a line of its output; the test harness writes there too, even before the first line.
fn said_in(line: &str) -> Option<&str> {
    line.split_once('@').map(|(_, said)| said)
}

fn spawn(dir: &Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "two_hundred_kills_lose_nothing", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .env(CHILD_FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn two_hundred_kills_lose_nothing() {
    if let (Ok(dir), Ok(first)) = (std::env::var(CHILD_DIR), std::env::var(CHILD_FIRST)) {
        return write_forever(Path::new(&dir), first.parse().unwrap());
    }
    let rounds = if std::env::var("ATOLL_TEST_LONG").is_ok_and(|long| long == "1") { 1000 } else { 200 };
    let dir = TempDir::new().unwrap();
    let mut owed = Owed::default();
    let mut chance = SEED;
    println!("seed {SEED:#x}");
    for round in 0..rounds {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lines = 1 + (chance >> 33) % 250;
        let mut child = spawn(dir.path(), u64::from(round) * 100_000);
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let mut said = 0;
        while said < lines {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "round {round}: the writer ended by itself");
            if let Some(what) = said_in(line.trim_end()) {
                owed.take(what);
                said += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        // The last line may be unfinished: then what it says was not acknowledged.
        let whole = rest.rfind('\n').map_or("", |end| &rest[..end]);
        whole.lines().filter_map(said_in).for_each(|line| owed.take(line));
        owed.check(dir.path(), round);
    }
    assert!(owed.pins.len() > 500, "only {} pins: the writers hardly wrote", owed.pins.len());
}
