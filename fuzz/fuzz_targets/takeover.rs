//! `cargo +nightly fuzz run takeover`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(takeover);
