//! Delegated Routing among real peers: Helia's client asks our server, Kubo has us as its only router and provider, and nodes of
//! ours find content by way of each other's servers.
//!
//! Needs the npm packages of `ATOLL_NODE_MODULES` and the Kubo of `ATOLL_KUBO` (`cargo xtask test` installs both); without them
//! the tests say that they did not run, and with `CI` set that fails.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

mod helia;
mod kubo;
mod node;
mod routers;
mod server;

use std::time::{Duration, Instant};

/// How long peers may take to find each other.
const PATIENCE: Duration = Duration::from_secs(30);

/// A setting of the environment that names a peer.
fn place(name: &str) -> Option<std::path::PathBuf> {
    let found = std::env::var_os(name).map(std::path::PathBuf::from);
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not set: run `cargo xtask test`");
        eprintln!("did not run: {name} is not set; `cargo xtask test` sets it");
    }
    found
}

/// Tries until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Bytes of no pattern, the same for the same seed.
fn noise(mut seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        bytes.extend(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
