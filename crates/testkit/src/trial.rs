//! What a trial of real processes needs: peers that others wrote, patience, and bytes of no pattern.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long what is waited for may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Where something is that `cargo xtask test` installs, by the variable that names it. Without it a test says that it did not run.
///
/// # Panics
/// With `CI` set, when there is none.
pub fn installed(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{variable} is not set: run `cargo xtask test`");
        eprintln!("did not run: {variable} is not set; `cargo xtask test` sets it");
    }
    found
}

/// Node 22, which some packages need: npm's among `modules`, or else the machine's.
pub fn javascript(modules: &Path) -> PathBuf {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let installed = modules.join(format!("node-linux-{arch}/bin/node"));
    if installed.is_file() { installed } else { "node".into() }
}

/// A folder of the vectors that others made: they lie beside a checkout, or where `ATOLL_VECTORS` says. Without them a test says that it
/// did not run.
///
/// # Panics
/// With `CI` set, when they are not there.
pub fn vectors(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("ATOLL_VECTORS").map_or_else(beside, PathBuf::from).join(name);
    if folder.exists() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "the vectors are not at {}", folder.display());
    println!("did not run: no vectors at {}", folder.display());
    None
}

/// Tries until it is so.
///
/// # Panics
/// When it takes longer than two minutes.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Bytes of no pattern, the same for the same seed, which is not 0.
pub fn noise(mut seed: u64, len: usize) -> Vec<u8> {
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
