//! `cargo +nightly fuzz run data`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(data);
