//! `cargo +nightly fuzz run delegated`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(delegated);
