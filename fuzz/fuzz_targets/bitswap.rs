//! `cargo +nightly fuzz run bitswap`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(bitswap);
