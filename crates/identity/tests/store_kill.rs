//! A process that keeps records is killed at random moments, over and over: nothing it acknowledged may be lost, and
//! nothing older may come back. The writer is this test's own binary.

#![expect(clippy::unwrap_used, reason = "a test panics where its set-up fails")]

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use atoll_core::Timestamp;
use atoll_core::ipns::{Name, NewRecord, Record};
use atoll_core::keys::SiteKey;
use atoll_identity::{Config, Origin, Store};
use atoll_testkit::SimClock;

/// Names the folder to the writing process.
const CHILD_DIR: &str = "ATOLL_NAMES_KILL_DIR";
/// How often it is killed.
const KILLS: u64 = 40;
const KEYS: u8 = 5;

fn record(seed: u8, sequence: u64) -> Record {
    let target = "/ipfs/bafkqaaa".parse().unwrap();
    let eol = Timestamp::from_secs(4_000_000_000);
    let ttl = std::time::Duration::from_secs(60);
    NewRecord { target, sequence, eol, ttl }.sign(&SiteKey::from_seed(&[seed; 32])).unwrap()
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &Config::default(), Arc::new(SimClock::start()), Box::new(HashSet::new)).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Puts newer and newer records of a few names until it is killed, and says what was acknowledged.
fn write_forever(dir: &Path) {
    let store = open(dir);
    let first =
        store.list().iter().filter_map(|kept| kept.record.as_ref().ok().map(Record::sequence)).max().unwrap_or(0);
    runtime().block_on(async {
        for n in first + 1.. {
            let seed = u8::try_from(n % u64::from(KEYS)).unwrap();
            assert!(store.put(record(seed, n), Origin::Own, None).await.unwrap());
            let mut out = std::io::stdout().lock();
            out.write_all(format!("@{seed} {n}\n").as_bytes()).unwrap();
            out.flush().unwrap();
        }
    });
}

#[test]
fn nothing_that_was_acknowledged_is_lost_by_a_kill() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        return write_forever(Path::new(&dir));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut owed: BTreeMap<Name, u64> = BTreeMap::new();
    for round in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "nothing_that_was_acknowledged_is_lost_by_a_kill", "--nocapture"])
            .env(CHILD_DIR, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 1 + round.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 23;
        // What it said before it died counts, too: so it is read to the end.
        while let Some(Ok(line)) = lines.next() {
            let Some(said) = line.split_once('@').map(|(_, said)| said) else { continue };
            let (seed, n) = said.split_once(' ').unwrap();
            owed.insert(*record(seed.parse().unwrap(), 1).name(), n.parse().unwrap());
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success(), "it was killed");
        let store = open(folder.path());
        for (name, sequence) in &owed {
            let kept = store.get(name).unwrap().record.unwrap();
            assert!(kept.sequence() >= *sequence, "{name}: {} < {sequence} after kill {round}", kept.sequence());
        }
    }
    assert_eq!(owed.len(), usize::from(KEYS));
}
