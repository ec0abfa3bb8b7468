//! One function for each parser that reads a stranger's bytes. Each takes any bytes and returns; a panic, a hang or a
//! broken promise (asserted inside) is a bug.
//!
//! `fuzz_targets/` hands them to libFuzzer; `corpus.rs` replays `corpus/` on stable Rust. Keeps nothing.
#![expect(clippy::expect_used, reason = "a broken promise is told by a panic")]

mod archive;
mod bitswap;
mod blocks;
mod cache;
mod car;
mod consent;
#[cfg(test)]
mod corpus;
mod data;
mod delegated;
mod kad;
mod names;
mod node;
mod pinning;
mod records;
mod signed;
mod site;
mod store;
mod unixfs;

pub use archive::tar;
pub use bitswap::bitswap;
pub use blocks::{block, links};
pub use cache::{cache, stored};
pub use car::car;
pub use consent::{consent, published};
pub use data::data;
pub use delegated::delegated;
pub use kad::kad;
pub use names::{ipns, path};
pub use node::{config, datagram, frames, guard, log, message, proxied, request, takeover};
pub use pinning::pinning;
pub use records::{id, record};
pub use signed::{manifest, signed};
pub use site::{deny, headers, redirects};
pub use store::pack;
pub use unixfs::{dagpb, hamt, unixfs};

/// A target by name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target; `corpus/` and `fuzz_targets/` have one entry for each.
pub const TARGETS: &[Target] = &[
    ("bitswap", bitswap),
    ("block", block),
    ("cache", cache),
    ("car", car),
    ("consent", consent),
    ("config", config),
    ("dagpb", dagpb),
    ("data", data),
    ("datagram", datagram),
    ("delegated", delegated),
    ("deny", deny),
    ("frames", frames),
    ("guard", guard),
    ("hamt", hamt),
    ("headers", headers),
    ("id", id),
    ("ipns", ipns),
    ("kad", kad),
    ("links", links),
    ("log", log),
    ("manifest", manifest),
    ("message", message),
    ("pack", pack),
    ("path", path),
    ("pinning", pinning),
    ("proxied", proxied),
    ("record", record),
    ("published", published),
    ("redirects", redirects),
    ("request", request),
    ("signed", signed),
    ("stored", stored),
    ("takeover", takeover),
    ("tar", tar),
    ("unixfs", unixfs),
];

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
