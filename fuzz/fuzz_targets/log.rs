//! `cargo +nightly fuzz run log`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(log);
