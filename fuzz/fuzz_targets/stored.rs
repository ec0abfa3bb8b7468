//! `cargo +nightly fuzz run stored`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(stored);
