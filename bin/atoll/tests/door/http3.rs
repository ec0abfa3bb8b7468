//! HTTP/3 with aioquic, a client that others wrote.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use atoll_testkit::origin::Origin;
use atoll_testkit::process::Node;
use atoll_testkit::tls::{Visitor, made};
use atoll_testkit::trial::{installed, noise};
use sha2::{Digest as _, Sha256};

use crate::INLINE;

pub(crate) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/door/http3.py");
/// What [`INLINE`] is.
const TEXT: &str = "hello\n";
const FRONT: &str = "front.example";

/// A client, and a node for it; `None` where there is no Python for it.
struct Pair {
    python: PathBuf,
    node: Node,
}

impl Pair {
    fn start(settings: &[&str]) -> Option<Self> {
        let python = installed("ATOLL_PYTHON")?;
        let listen = ["gateway.tls.listen=127.0.0.1:0", "gateway.http3.listen=127.0.0.1:0"];
        let node = Node::home(env!("CARGO_BIN_EXE_atoll")).set(&listen).set(settings);
        Some(Self { python, node })
    }

    fn started(mut self) -> Self {
        self.node.start();
        self
    }

    fn command(&self, case: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.args([SCRIPT, case, &self.node.http3().port().to_string()]).args(arguments);
        command
    }

    /// Runs a case, which judges itself; what it says.
    fn run(&self, case: &str, arguments: &[&str]) -> String {
        let output = self.command(case, arguments).output().unwrap();
        let [said, failed] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(output.status.success(), "{case}: {said}{failed}\n{}", self.node.log());
        said
    }

    /// A large file; its path and its digest.
    fn large(&self, len: usize) -> (String, String) {
        let bytes = noise(7, len);
        let root = self.node.import_bytes(&bytes, "size-262144");
        (format!("/ipfs/{root}"), data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes)))
    }
}

#[test]
fn pages_and_large_files_come_over_http3_and_tls_tells_of_it() {
    let Some(pair) = Pair::start(&[]) else { return };
    let (certificate, key) = (pair.node.path("cert.pem"), pair.node.path("key.pem"));
    let (shown, its_key) = made("localhost");
    fs::write(&certificate, &shown).unwrap();
    fs::write(&key, its_key).unwrap();
    let certs = format!("[certs]\nfiles = [{{ certificate = {certificate:?}, key = {key:?} }}]\n");
    let pair = Pair { node: pair.node.configured(&certs), ..pair }.started();
    pair.run("get", &[INLINE, TEXT]);
    pair.run("resumed", &[INLINE]);
    let (path, digest) = pair.large(24 << 20);
    pair.run("large", &[&path, &digest]);
    let (reply, _) = Visitor::trusting(&shown).get(pair.node.secure(), "localhost", INLINE).unwrap();
    let expected = format!("h3=\":{}\"; ma=86400", pair.node.http3().port());
    assert_eq!(reply.header("alt-svc"), Some(expected.as_str()));
    assert_eq!(pair.node.get(INLINE).header("alt-svc"), None, "without TLS nobody can come that way");
}

#[test]
fn a_server_behind_sees_one_request_or_none() {
    let ok = "Cache-Control: no-store\r\n";
    let origin = Origin::answering(move |_| (ok.to_owned(), b"ok".to_vec()));
    let Some(pair) = Pair::start(&[]) else { return };
    let sites = format!("[[sites]]\nhosts = [\"{FRONT}\"]\n[[sites.origins]]\nurl = \"{}\"\n", origin.url());
    let pair = Pair { node: pair.node.configured(&sites), ..pair }.started();
    pair.run("upload", &[FRONT]);
    let seen = origin.asked();
    assert_eq!(seen.iter().map(atoll_testkit::origin::Asked::target).collect::<Vec<_>>(), ["/length", "/stream"]);
    assert_eq!(seen[0].field("content-length").as_deref(), Some("100000"));
    assert_eq!(seen[0].body.len(), 100_000);
    assert_eq!(seen[1].field("transfer-encoding").as_deref(), Some("chunked"));
    let said = pair.run("malformed", &[FRONT]);
    for asked in &origin.asked()[2..] {
        // A body that is not as long as it says breaks off on its way: it never ends.
        assert!(["/longer", "/shorter"].contains(&asked.target()), "{}\n{said}", asked.head);
        assert!(!asked.head.contains("smuggled"), "{}", asked.head);
    }
}

#[test]
fn who_floods_is_cut_off_and_others_are_served() {
    let Some(pair) = Pair::start(&["gateway.http3.resets=100"]).map(Pair::started) else { return };
    let mib = (1 << 20).to_string();
    for kind in ["1", "5", "33"] {
        // Heads, promises, and a type that nobody knows.
        pair.run("excessive", &[kind, &mib]);
    }
    pair.run("resets", &[INLINE]);
    pair.run("get", &[INLINE, TEXT]);
}

/// Which cases pass is written down, so that none stops to.
#[test]
fn the_cases_of_h3spec_that_passed_still_do() {
    let Some(pair) = Pair::start(&[]).map(Pair::started) else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/door/h3spec.py");
    let mut command = Command::new(&pair.python);
    let output = command.args([script, &pair.node.http3().port().to_string()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let known: serde_json::Value = serde_json::from_str(include_str!("h3spec.json")).unwrap();
    assert_eq!(seen, known, "write down what has changed for the better in tests/door/h3spec.json:\n{said}");
}

#[test]
fn a_node_that_ends_sends_what_it_began() {
    let Some(mut pair) = Pair::start(&[]).map(Pair::started) else { return };
    let (path, digest) = pair.large(16 << 20);
    let mut command = pair.command("drained", &[&path, &digest]);
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(client.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "begun\n");
    let mut go_on = client.stdin.take().unwrap();
    go_on.write_all(b"go on\n").unwrap();
    assert_eq!(pair.node.stop(), Some(0), "{}", pair.node.log());
    assert!(client.wait().unwrap().success());
}
