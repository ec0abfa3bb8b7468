//! Remote pinning by a real node: judged by the suite of the API's authors, by a real Kubo that nobody can dial, and by kills.
//!
//! Needs the Kubo of `ATOLL_KUBO` and the npm packages of `ATOLL_NODE_MODULES` (`cargo xtask test` installs both); without them
//! the tests say that they did not run, and with `CI` set that fails.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

mod kills;
mod kubo;
mod node;
mod suite;
mod tokens;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long what is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A peer that is named by a variable.
fn peer(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{variable} is not set: run `cargo xtask test`");
        eprintln!("did not run: {variable} is not set; `cargo xtask test` sets it");
    }
    found
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

/// Tries until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
