//! Kubo and npm's `ipns` as judges: each verifies what we sign, and we verify what each signs.
//!
//! Need the Kubo of `ATOLL_KUBO` and the packages of `ATOLL_NODE_MODULES` (`cargo xtask test` sets both up); without them
//! the tests say that they did not run, and with `CI` set that fails.

#![expect(clippy::unwrap_used, reason = "a test panics where its set-up fails")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use atoll_core::SystemClock;
use atoll_core::ipns::{Name, NewRecord, Record};
use atoll_core::keys::SiteKey;
use data_encoding::HEXLOWER;
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const TTL: Duration = Duration::from_secs(60);

/// What a variable says.
fn peer(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{variable} is not set: run `cargo xtask test`");
        println!("did not run: {variable} is not set; `cargo xtask test` sets it");
    }
    found
}

fn record(key: &SiteKey, sequence: u64, target: &str) -> Record {
    let (target, eol) = (target.parse().unwrap(), SystemClock::now().after(DAY));
    NewRecord { target, sequence, eol, ttl: TTL }.sign(key).unwrap()
}

/// A repository of Kubo's.
struct Kubo {
    binary: PathBuf,
    folder: TempDir,
}

impl Kubo {
    fn new(binary: PathBuf) -> Self {
        let kubo = Self { binary, folder: tempfile::tempdir().unwrap() };
        kubo.run(&["init", "--profile=test"]);
        kubo
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).env("IPFS_PATH", self.folder.path().join("repo"));
        command
    }

    fn run(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// Kubo's gateway, without a network; killed when the test ends.
struct Daemon(Child, String);

impl Daemon {
    fn start(kubo: &Kubo) -> Self {
        let mut child =
            kubo.command(&["daemon", "--offline"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut gateway = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("Gateway server listening on /ip4/127.0.0.1/tcp/") {
                gateway = format!("127.0.0.1:{address}");
            }
            if line.contains("Daemon is ready") {
                break;
            }
        }
        Self(child, gateway)
    }

    /// The record of a name, as the gateway gives it to those who verify.
    fn record(&self, name: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.1).unwrap();
        let request = format!("GET /ipns/{name}?format=ipns-record HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        assert!(answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200"), "{:?}", &answer[..end]);
        answer[end + 4..].to_vec()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn kubo_verifies_and_resolves_our_records() {
    let Some(binary) = peer("ATOLL_KUBO") else { return };
    let kubo = Kubo::new(binary);
    let key = SiteKey::from_seed(&[7; 32]);
    let ours = record(&key, 3, "/ipfs/bafkqaaa/from/us");
    let name = ours.name().to_string();
    let file = kubo.file("record", ours.bytes());
    let seen: serde_json::Value =
        serde_json::from_str(&kubo.run(&["name", "inspect", "--enc=json", "--verify", &name, &file])).unwrap();
    assert_eq!(seen["Validation"]["Valid"], true, "{seen}");
    assert_eq!(seen["SignatureType"], "V1+V2");
    assert_eq!((&seen["Entry"]["Sequence"], &seen["Entry"]["TTL"]), (&3.into(), &60_000_000_000_u64.into()));
    kubo.run(&["routing", "put", "--allow-offline", &format!("/ipns/{name}"), &file]);
    assert_eq!(kubo.run(&["name", "resolve", &name]), "/ipfs/bafkqaaa/from/us");
    // The key goes over, too, and Kubo knows it by the same name.
    let file = kubo.file("key", &key.to_libp2p());
    assert_eq!(kubo.run(&["key", "import", "ours", &file]), name);
    let file = kubo.file("pem", key.to_pem().unwrap().as_bytes());
    assert_eq!(kubo.run(&["key", "import", "-f", "pem-pkcs8-cleartext", "again", &file]), name);
}

#[test]
fn we_verify_kubos_records_and_read_its_keys() {
    let Some(binary) = peer("ATOLL_KUBO") else { return };
    let kubo = Kubo::new(binary);
    let file = kubo.file("page", b"hello");
    let root = kubo.run(&["add", "-Q", "--cid-version=1", &file]);
    let ed25519 = kubo.run(&["key", "gen", "one", "--type=ed25519"]);
    let rsa = kubo.run(&["key", "gen", "two", "--type=rsa"]);
    for format in ["pem-pkcs8-cleartext", "libp2p-protobuf-cleartext"] {
        let path = kubo.folder.path().join(format);
        kubo.run(&["key", "export", "-f", format, "-o", path.to_str().unwrap(), "one"]);
        let bytes = fs::read(&path).unwrap();
        let pem = std::str::from_utf8(&bytes).ok().filter(|text| text.contains("BEGIN"));
        let key = pem.map_or_else(|| SiteKey::from_libp2p(&bytes), SiteKey::from_pem).unwrap();
        assert_eq!(Name::of(&key.public()).unwrap().to_string(), ed25519);
    }
    let daemon = Daemon::start(&kubo);
    let target = format!("/ipfs/{root}");
    for (key, name) in [("one", &ed25519), ("two", &rsa)] {
        for v1 in ["--v1compat=true", "--v1compat=false"] {
            kubo.run(&[
                "name",
                "publish",
                "--allow-offline",
                "--ttl=60s",
                "--lifetime=24h",
                v1,
                &format!("--key={key}"),
                &target,
            ]);
            let theirs = Record::verify(&name.parse().unwrap(), daemon.record(name).into()).unwrap();
            assert_eq!((theirs.target().unwrap().to_string(), theirs.ttl()), (target.clone(), TTL), "{key} {v1}");
            assert!(theirs.is_live(SystemClock::now()));
            assert!(!theirs.is_live(SystemClock::now().after(DAY)));
            let other = if *name == rsa { &ed25519 } else { &rsa };
            assert!(Record::verify(&other.parse().unwrap(), theirs.bytes().clone()).is_err());
        }
    }
}

#[derive(serde::Deserialize)]
struct Said {
    read: Vec<Read>,
    selected: usize,
    signed: Vec<Signed>,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Read {
    value: String,
    sequence: u64,
    ttl: u64,
    v1: bool,
}

#[derive(serde::Deserialize)]
struct Signed {
    r#type: String,
    name: String,
    bytes: String,
    v1: bool,
}

#[test]
fn npm_ipns_and_we_verify_each_others_records() {
    let Some(modules) = peer("ATOLL_NODE_MODULES") else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = SiteKey::from_seed(&[8; 32]);
    let records =
        [record(&key, 1, "/ipfs/bafkqaaa"), record(&key, 2, "/ipns/example.org/a"), record(&key, 1, "/ipfs/bafkqaaa")];
    let newest = (0..records.len()).find(|at| records.iter().all(|other| !other.replaces(&records[*at]))).unwrap();
    let files = records.iter().enumerate().map(|(at, record)| {
        let path = folder.path().join(at.to_string());
        fs::write(&path, record.bytes()).unwrap();
        path
    });
    let output = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ipns.mjs"))
        .arg(HEXLOWER.encode(&records[0].name().to_bytes()))
        .args(files)
        .env("ATOLL_NODE_MODULES", modules)
        .output()
        .expect("node.js is missing: `cargo xtask test` says how to get it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Said = serde_json::from_slice(&output.stdout).unwrap();
    let ttl = u64::try_from(TTL.as_nanos()).unwrap();
    let seen = |value: &str, sequence| Read { value: value.to_owned(), sequence, ttl, v1: true };
    assert_eq!(said.read[..2], [seen("/ipfs/bafkqaaa", 1), seen("/ipns/example.org/a", 2)]);
    assert_eq!(said.selected, newest, "both choose the same of three");
    for theirs in said.signed {
        let name = Name::from_bytes(&HEXLOWER.decode(theirs.name.as_bytes()).unwrap()).unwrap();
        let bytes = HEXLOWER.decode(theirs.bytes.as_bytes()).unwrap();
        let read = Record::verify(&name, bytes.into()).unwrap_or_else(|error| panic!("{}: {error}", theirs.r#type));
        assert_eq!(
            (read.target().unwrap().to_string(), read.sequence(), read.ttl()),
            ("/ipfs/bafkqaaa/npm".to_owned(), 7, TTL)
        );
        assert!(read.is_live(SystemClock::now()), "{} {}", theirs.r#type, theirs.v1);
    }
}
