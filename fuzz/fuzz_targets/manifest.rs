//! `cargo +nightly fuzz run manifest`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(manifest);
