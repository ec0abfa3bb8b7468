//! One function for each parser that reads a stranger's bytes. Each takes any bytes and returns; a panic, a hang or a
//! broken promise (asserted inside) is a bug.
//!
//! `fuzz_targets/` hands them to libFuzzer; `tests/corpus.rs` replays `corpus/` on stable Rust. Keeps nothing.

use atoll_core::{Block, Cid, block};
use bytes::Bytes;

/// A target by name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target; `corpus/` and `fuzz_targets/` have one entry for each.
pub const TARGETS: &[Target] = &[("block", block)];

/// Makes the `main` of a file in `fuzz_targets/`.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::$name(data));

        /// Without cargo-fuzz: runs the target over the files named as arguments.
        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            std::env::args_os().skip(1).try_for_each(|file| Ok($crate::$name(&std::fs::read(file)?)))
        }
    };
}

/// A CID and the bytes that it may or may not name.
pub fn block(data: &[u8]) {
    let mut rest = data;
    let Ok(cid) = Cid::read_bytes(&mut rest) else { return };
    let verified = Block::verified(cid, Bytes::copy_from_slice(rest));
    assert_eq!(verified.is_ok(), block::verify(&cid, rest).is_ok());
    if let Some(inline) = Block::inline(&cid) {
        assert!(block::verify(&cid, inline.bytes()).is_ok(), "an identity CID does not name what it carries");
    }
}
