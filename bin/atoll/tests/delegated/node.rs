//! A node of ours with a router.

use std::time::Duration;

use atoll_core::SystemClock;
use atoll_core::ipns::NewRecord;
use atoll_core::keys::SiteKey;
use atoll_testkit::http::{Reply, exchange, request};
use atoll_testkit::process::Node;

/// Starts one with these settings beside those that every test needs.
pub(crate) fn start(settings: &[&str]) -> Node {
    Node::home(env!("CARGO_BIN_EXE_atoll")).set(settings).started()
}

/// Imports bytes as a file; its root.
pub(crate) fn import(node: &Node, bytes: &[u8]) -> String {
    node.import_bytes(bytes, "size-1048576")
}

/// Asks its router.
pub(crate) fn route(node: &Node, method: &str, path: &str, headers: &[&str]) -> Reply {
    let address = node.router().strip_prefix("http://").unwrap().parse().unwrap();
    request(address, method, "127.0.0.1", path, headers)
}

/// Puts a body to its router; the status.
pub(crate) fn put(node: &Node, path: &str, kind: &str, body: &[u8]) -> u16 {
    let address = node.router().strip_prefix("http://").unwrap().parse().unwrap();
    let len = body.len();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {len}\r\n\r\n"
    );
    Reply::parse(&exchange(address, &[head.as_bytes(), body].concat()), false).status
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
