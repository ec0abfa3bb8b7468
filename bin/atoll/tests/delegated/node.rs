//! A node of ours as a process.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use atoll_core::SystemClock;
use atoll_core::ipns::NewRecord;
use atoll_core::keys::SiteKey;
use atoll_testkit::http::{Reply, exchange, request};
use serde_json::Value;

/// On loopback; its ports are the system's choice.
pub(crate) struct Node {
    pub(crate) folder: tempfile::TempDir,
    process: Child,
    pub(crate) gateway: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// The URL of its Delegated Routing; empty without.
    pub(crate) router: String,
    pub(crate) swarm: Vec<String>,
    pub(crate) peer: String,
}

impl Node {
    /// Starts one with these settings beside those that every test needs.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let always = ["gateway.listen=127.0.0.1:0", "gateway.threads=1", "admin.listen=127.0.0.1:0"];
        let mut command = atoll(folder.path(), &["node", "--json"]);
        for setting in always.iter().chain(settings) {
            command.args(["--set", setting]);
        }
        let log = fs::File::create(folder.path().join("node.log")).unwrap();
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let log = || fs::read_to_string(folder.path().join("node.log")).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the node said {line:?}:\n{}", log()));
        let address = |url: &Value| url.as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
        let texts =
            |list: &Value| list.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect();
        let routers: Vec<String> = texts(&ready["delegated"]);
        Self {
            process,
            gateway: address(&ready["gateway"]),
            admin: address(&ready["admin"]),
            router: routers.into_iter().next().unwrap_or_default(),
            swarm: texts(&ready["swarm"]),
            peer: ready["peer_id"].as_str().unwrap().to_owned(),
            folder,
        }
    }

    /// Runs a command on it, and returns the last line that it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        let output = atoll(self.folder.path(), arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(printed.lines().last().unwrap()).unwrap()
    }

    /// Imports bytes as a file; its root.
    pub(crate) fn import(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        self.run(&["import", "--json", path.to_str().unwrap()])["root"].as_str().unwrap().to_owned()
    }

    /// Asks its gateway.
    pub(crate) fn get(&self, path: &str) -> Reply {
        request(self.gateway, "GET", "127.0.0.1", path, &[])
    }

    /// Asks its router.
    pub(crate) fn route(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        let address = self.router.strip_prefix("http://").unwrap().parse().unwrap();
        request(address, method, "127.0.0.1", path, headers)
    }

    /// Puts a body to its router; the status.
    pub(crate) fn put(&self, path: &str, kind: &str, body: &[u8]) -> u16 {
        let address = self.router.strip_prefix("http://").unwrap().parse().unwrap();
        let len = body.len();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {len}\r\n\r\n"
        );
        Reply::parse(&exchange(address, &[head.as_bytes(), body].concat()), false).status
    }

    /// Its status.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_slice(&request(self.admin, "GET", "127.0.0.1", "/v1/status", &[]).body).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.folder.path().join("node.log")).unwrap_or_default());
        }
    }
}

/// The program, with everything that it keeps in `folder`.
pub(crate) fn atoll(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
    command.args(arguments).env("ATOLL_KEYRING", folder.join("keyring")).env("ATOLL_DIR", folder);
    command.stdin(Stdio::null());
    command
}

/// The media type of IPNS records.
pub(crate) const RECORD: &str = "application/vnd.ipfs.ipns-record";

/// A name, and its signed record with a lifetime and a TTL in seconds.
pub(crate) fn record(target: &str, sequence: u64, (lifetime, ttl): (u64, u64)) -> (String, Vec<u8>) {
    let record = NewRecord {
        target: target.parse().unwrap(),
        sequence,
        eol: SystemClock::now().after(Duration::from_secs(lifetime)),
        ttl: Duration::from_secs(ttl),
    };
    let record = record.sign(&SiteKey::from_seed(&[7; 32])).unwrap();
    (record.name().to_string(), record.bytes().to_vec())
}
