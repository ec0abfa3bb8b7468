//! What was pushed to every server at once and took others down, replayed on ours under load, and counted: a generated list that
//! doubles past its limit, good and bad in turn (Cloudflare, 18 November 2025), rules of which nobody knows what to do and a stage that is
//! switched off (5 December 2025), certificates, and settings.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use atoll_testkit::http::request;
use atoll_testkit::process::Node;
use atoll_testkit::tls::{Visitor, made};
use atoll_testkit::trial::until;

/// The most rules that the nodes take.
const RULES_MAX: usize = 200;
/// How often each push is repeated.
const ROUNDS: usize = 2;
/// What every node shows, what none may, and what is denied by every other good list.
const FILES: [(&str, &str); 3] = [("shown.txt", "calm"), ("denied.txt", "storm"), ("changing.txt", "tide")];
/// Every stage that a node can do without, switched off (`docs/stages.md`).
const OFF: [&str; 8] = [
    "gateway.signing.enabled=false",
    "gateway.hot.entries=0",
    "gateway.hot.memory_mib=0",
    "gateway.hot.body_mib=0",
    "gateway.server_timing=false",
    "gateway.fetch=held",
    "node.accept=none",
    "certs.self_signed=",
];
/// More than runs by default.
const ON: [&str; 3] =
    ["swarm.listen=/ip4/127.0.0.1/tcp/0", "delegated.listen=127.0.0.1:0", "pinning.listen=127.0.0.1:0"];

/// The nodes, and what is pushed to all of them.
struct Fleet {
    nodes: Vec<Node>,
    root: String,
    /// The CIDs of the files.
    cids: Vec<String>,
    pushed: tempfile::TempDir,
    /// What is believed by visitors over TLS.
    certificate: (String, String),
}

/// What visitors saw.
#[derive(Default)]
struct Seen {
    requests: AtomicU64,
    failed: AtomicU64,
    /// What the first that failed was answered.
    first: std::sync::Mutex<Option<String>>,
}

impl Seen {
    fn note(&self, good: bool, what: impl FnOnce() -> String) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if !good {
            self.failed.fetch_add(1, Ordering::Relaxed);
            self.first.lock().unwrap().get_or_insert_with(what);
        }
    }
}

impl Fleet {
    fn start() -> Self {
        let pushed = tempfile::tempdir().unwrap();
        fs::write(pushed.path().join("list.deny"), "# nothing yet\n").unwrap();
        let certificate = made("site.example");
        fs::write(pushed.path().join("cert.pem"), &certificate.0).unwrap();
        fs::write(pushed.path().join("key.pem"), &certificate.1).unwrap();
        let at = |name: &str| pushed.path().join(name);
        let settings = format!(
            "[deny]\nlists = [{:?}]\nreload = \"100ms\"\nrules_max = {RULES_MAX}\n\
             [gateway.tls]\nlisten = [\"127.0.0.1:0\"]\n\
             [certs]\nreload = \"1s\"\nfiles = [{{ certificate = {:?}, key = {:?} }}]\n",
            at("list.deny"),
            at("cert.pem"),
            at("key.pem")
        );
        let start = |more: &[&str]| Node::home(env!("CARGO_BIN_EXE_atoll")).set(more).configured(&settings).started();
        let nodes: Vec<Node> = [&[][..], &OFF, &ON].into_iter().map(start).collect();
        let roots: Vec<String> = nodes.iter().map(import).collect();
        let cid = |name: &str| {
            let reply = nodes[0].get(&format!("/ipfs/{}/{name}", roots[0]));
            reply.header("x-ipfs-roots").unwrap().rsplit(',').next().unwrap().to_owned()
        };
        let cids = FILES.iter().map(|(name, _)| cid(name)).collect();
        Self { root: roots[0].clone(), nodes, cids, pushed, certificate }
    }

    /// A list that is good: of so many rules, with or without the one that changes.
    fn list(&self, rules: usize, changing: bool) -> String {
        let mut list = format!("name: generated\n---\n/ipfs/{}\n", self.cids[1]);
        if changing {
            list += &format!("/ipfs/{}\n", self.cids[2]);
        }
        let written = list.lines().count() - 2;
        list + &(written..rules).map(|n| format!("/ipns/{n}.example\n")).collect::<String>()
    }

    /// Replaces a file that all nodes follow, as a whole.
    fn push(&self, name: &str, content: impl AsRef<[u8]>) {
        let beside = self.pushed.path().join("beside");
        fs::write(&beside, content).unwrap();
        fs::rename(beside, self.pushed.path().join(name)).unwrap();
    }

    /// Pushes a good list, and waits until every node goes by it.
    fn push_good(&self, changing: bool, more: &str) {
        self.push("list.deny", self.list(RULES_MAX / 2 + 20, changing) + more);
        let expected = if changing { 410 } else { 200 };
        let goes = |node: &Node| node.get(&format!("/ipfs/{}", self.cids[2])).status == expected;
        until("the good list", || self.nodes.iter().all(goes));
    }

    /// Pushes a bad list, and waits until every node has refused it.
    fn push_bad(&self, content: impl AsRef<[u8]>) {
        let refusals = |node: &Node| node.log().matches("a deny list is refused").count();
        let before: Vec<usize> = self.nodes.iter().map(refusals).collect();
        self.push("list.deny", content);
        until("the refusal", || self.nodes.iter().zip(&before).all(|(node, before)| refusals(node) > *before));
    }

    /// A visitor of one node, until `done`: what is shown is shown, what is denied is denied.
    fn visit(&self, node: &Node, seen: &Seen, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            for ((name, content), cid) in FILES.iter().zip(&self.cids) {
                for target in [format!("/ipfs/{}/{name}", self.root), format!("/ipfs/{cid}")] {
                    let reply = request(node.gateway(), "GET", "127.0.0.1", &target, &[]);
                    let shown = reply.status == 200 && reply.body == content.as_bytes();
                    let good = match *name {
                        "shown.txt" => shown,
                        "denied.txt" => reply.status == 410,
                        _ => shown || reply.status == 410,
                    };
                    seen.note(good, || format!("{target}: {} {}", reply.status, String::from_utf8_lossy(&reply.body)));
                }
            }
        }
    }

    /// One over TLS.
    fn visit_securely(&self, node: &Node, seen: &Seen, done: &AtomicBool) {
        let visitor = Visitor::trusting(&self.certificate.0);
        while !done.load(Ordering::Relaxed) {
            let answer = visitor.get(node.secure(), "site.example", "/ipfs/bafkqabtimvwgy3yk");
            let good = answer.as_ref().is_ok_and(|(reply, _)| reply.status == 200);
            seen.note(good, || format!("TLS: {answer:?}"));
        }
    }

    /// Does something while visitors of every node come, and says what they saw.
    fn under_load(&self, name: &str, what: impl FnOnce()) {
        let (seen, done) = (Seen::default(), AtomicBool::new(false));
        thread::scope(|scope| {
            for node in &self.nodes {
                scope.spawn(|| self.visit(node, &seen, &done));
                scope.spawn(|| self.visit_securely(node, &seen, &done));
            }
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(what));
            done.store(true, Ordering::Relaxed);
            ended.unwrap_or_else(|cause| std::panic::resume_unwind(cause));
        });
        let (requests, failed) = (seen.requests.load(Ordering::Relaxed), seen.failed.load(Ordering::Relaxed));
        println!("{name}: {requests} requests served on {} nodes, {failed} failed", self.nodes.len());
        assert_eq!(failed, 0, "{name}: {:?}", seen.first.lock().unwrap());
        assert!(requests > 100, "{name}: {requests} requests are no load");
    }
}

/// Imports the files; the root.
fn import(node: &Node) -> String {
    let folder = node.path("site");
    fs::create_dir(&folder).unwrap();
    FILES.iter().for_each(|(name, content)| fs::write(folder.join(name), content).unwrap());
    node.import(&folder)
}

fn settings_of(node: &Node) -> PathBuf {
    node.path("node/node.toml")
}

fn is_refused(node: &Node, settings: &Path) -> bool {
    !node.run(&["config", "--config", settings.to_str().unwrap()]).status.success()
}

#[test]
fn what_took_others_down_is_refused_and_nobody_notices() {
    let fleet = Fleet::start();
    fleet.push_good(true, "");
    fleet.under_load("18 November 2025, a list that doubles past its limit", || {
        for round in 0..ROUNDS * 2 {
            let doubled = fleet.list(RULES_MAX / 2 + 20, true).repeat(2).replace("name: generated\n---\n", "");
            assert!(doubled.lines().count() > RULES_MAX);
            fleet.push_bad(doubled);
            fleet.push_good(round % 2 == 0, "");
        }
    });
    fleet.under_load("what else a generator can write", || {
        for round in 0..ROUNDS {
            for bad in [
                "version: 2\n---\n".as_bytes().to_vec(),
                b"[\n---\n".to_vec(),
                vec![b'x'; 3 << 20],
                Vec::new(),
                [b"a: &a [".as_slice(), &b"1,".repeat(40_000), b"]\n---\n"].concat(),
            ] {
                fleet.push_bad(bad);
            }
            fleet.push_good(round % 2 == 1, "");
        }
    });
    fleet.under_load("5 December 2025, rules that nobody can follow", || {
        let odd = "/ipfs/bafkqaaa action=execute\n//nonsense\n/ipfs/*\n!\n+execute: null\n/ipfs/x status_code=999\n\u{feff}\n\\\n";
        for round in 0..ROUNDS {
            fleet.push_good(round % 2 == 0, odd);
            // The list itself is gone for a while.
            fs::rename(fleet.pushed.path().join("list.deny"), fleet.pushed.path().join("gone")).unwrap();
            let missed = |node: &Node| node.log().contains("No such file or directory");
            until("the loss", || fleet.nodes.iter().all(missed));
            fs::rename(fleet.pushed.path().join("gone"), fleet.pushed.path().join("list.deny")).unwrap();
            fleet.push_good(round % 2 == 1, odd);
        }
    });
    fleet.under_load("certificates and settings", || {
        let refused = |node: &Node| node.log().matches("a certificate is refused").count();
        for (number, bad) in
            ["rubbish", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""].into_iter().enumerate()
        {
            fleet.push("cert.pem", bad);
            until("the refusal", || fleet.nodes.iter().all(|node| refused(node) > number));
        }
        fleet.push("cert.pem", &fleet.certificate.0);
        // Settings are read at the start alone, and checked before.
        for node in &fleet.nodes {
            let good = fs::read(settings_of(node)).unwrap();
            for bad in ["[[[", "deny = 7", "[deny]\nrules_max = 0", "[gateway.timeouts]\nidle = \"never\""] {
                fs::write(settings_of(node), bad).unwrap();
                assert!(is_refused(node, &settings_of(node)), "{bad}");
            }
            fs::write(settings_of(node), good).unwrap();
            assert!(!is_refused(node, &settings_of(node)));
        }
    });
}
