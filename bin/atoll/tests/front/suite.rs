//! npm `http-cache-tests` 0.4.5: its own origin server, `atoll front` before it, and its own verdicts. What fails is in
//! `ratchet.json`, no more and no less, and `docs/http-cache.md` says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use atoll_testkit::process::Node;
use atoll_testkit::trial::{installed, javascript};
use serde_json::Value;

/// What one profile is to reach.
struct Ratchet {
    /// Tests that pass, by kind.
    passed: BTreeMap<String, u64>,
    /// Those that do not, but for what is only to know.
    failed: BTreeSet<String>,
}

impl Ratchet {
    fn read(profile: &str) -> Self {
        let text = include_str!("ratchet.json");
        let value = serde_json::from_str::<Value>(text).unwrap()[profile].clone();
        let passed = value["passed"].as_object().unwrap();
        Self {
            passed: passed.iter().map(|(kind, count)| (kind.clone(), count.as_u64().unwrap())).collect(),
            failed: value["failed"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect(),
        }
    }
}

/// The suite's origin server.
struct Origin {
    process: Child,
    url: String,
}

impl Origin {
    fn start(node: &Path, package: &Path, home: &Path) -> Self {
        let mut process = Command::new(node)
            .arg("server/server.mjs")
            .current_dir(package)
            .env("npm_config_protocol", "http")
            .env("npm_config_port", "0")
            .env("npm_config_pidfile", home.join("origin.pid"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let listening = lines.find(|line| line.starts_with("Listening on ")).unwrap();
        let port = listening.trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
        // Whoever warns of something must not wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs the suite under a profile, and compares.
fn judge(profile: &str) {
    let Some(modules) = installed("ATOLL_NODE_MODULES") else { return };
    let (package, node) = (modules.join("http-cache-tests"), javascript(&modules));
    let mut front = Node::home(env!("CARGO_BIN_EXE_atoll"));
    let origin = Origin::start(&node, &package, &front.path("node"));
    front.start_as(&["front", &origin.url, "--profile", profile]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/front/suite.mjs");
    let url = format!("http://{}", front.gateway());
    let ran = Command::new(&node).arg("--no-warnings").arg(script).arg(&package).arg(url).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    let found: Vec<Value> = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("no results: {said}"));
    let (mut passed, mut failed) = (BTreeMap::new(), BTreeMap::new());
    for test in &found {
        let text = |name: &str| test[name].as_str().unwrap().to_owned();
        match (&*text("kind"), &*text("verdict")) {
            (kind, "pass") => *passed.entry(kind.to_owned()).or_insert(0_u64) += 1,
            ("check", _) => {}
            (_, verdict) => drop(failed.insert(text("id"), format!("{verdict}: {}", text("said")))),
        }
    }
    println!("{profile}: passed {passed:?}, failed {failed:#?}");
    let ratchet = Ratchet::read(profile);
    let failed_ids: BTreeSet<String> = failed.keys().cloned().collect();
    assert_eq!(failed_ids, ratchet.failed, "ratchet.json is to say just what fails: {failed:#?}");
    assert_eq!(passed, ratchet.passed);
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/http-cache.md")).unwrap();
    for id in &ratchet.failed {
        assert!(page.contains(&format!("`{id}`")), "docs/http-cache.md does not say why {id} fails");
    }
}

#[test]
fn by_the_letter_of_rfc_9111() {
    judge("rfc9111");
}

#[test]
fn as_it_comes() {
    judge("cdn");
}
