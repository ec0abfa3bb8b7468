//! `cargo +nightly fuzz run guard`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(guard);
