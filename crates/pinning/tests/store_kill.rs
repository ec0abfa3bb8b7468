//! A process that keeps pin requests is killed at random moments, over and over: nothing it acknowledged may be lost, and nothing
//! that was removed may come back. The writer is this test's own binary.

#![expect(clippy::unwrap_used, reason = "a test panics where its set-up fails")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use atoll_pinning::wire::Pin;
use atoll_pinning::{Allow, RequestId, Store};
use atoll_testkit::SimClock;

/// Names the folder to the writing process.
const CHILD_DIR: &str = "ATOLL_PINNING_KILL_DIR";
/// How often it is killed.
const KILLS: u64 = 40;

fn open(dir: &Path) -> Store {
    Store::open(dir, Arc::new(SimClock::start())).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn say(text: String) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Makes requests, replaces every third by the next, until it is killed; says what was acknowledged.
fn write_forever(dir: &Path) {
    let store = open(dir);
    runtime().block_on(async {
        if store.publishers().is_empty() {
            store.add_publisher("a", 1 << 20, Allow::Any).await.unwrap();
        }
        let pin = || Pin::parse(br#"{"cid":"bafkqaaa","name":"n"}"#).unwrap();
        let mut last: Option<RequestId> = None;
        for n in 0_u64.. {
            let replaces = last.take_if(|_| n % 3 == 0);
            if let Some(old) = replaces {
                // From here on it may be gone.
                say(format!("@maybe {old}\n"));
            }
            let view = store.create("a", pin(), replaces, usize::MAX).await.unwrap();
            if let Some(old) = replaces {
                say(format!("@gone {old}\n"));
            }
            say(format!("@kept {}\n", view.id));
            last = Some(view.id);
        }
    });
}

#[test]
fn nothing_that_was_acknowledged_is_lost_by_a_kill() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        return write_forever(Path::new(&dir));
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut kept, mut gone) = (BTreeSet::new(), BTreeSet::new());
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
            let Some((what, id)) = line.split_once('@').and_then(|(_, said)| said.split_once(' ')) else { continue };
            let id: RequestId = id.parse().unwrap();
            match what {
                "kept" => assert!(kept.insert(id)),
                "maybe" => assert!(kept.remove(&id)),
                _ => assert!(gone.insert(id)),
            }
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success(), "it was killed");
        let store = open(folder.path());
        assert!(kept.iter().all(|id| store.get("a", id).is_some()), "lost after kill {round}");
        assert!(gone.iter().all(|id| store.get("a", id).is_none()), "back after kill {round}");
    }
    assert!(kept.len() > 40 && gone.len() > 10, "{} {}", kept.len(), gone.len());
}
