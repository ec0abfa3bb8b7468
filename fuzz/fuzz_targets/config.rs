//! `cargo +nightly fuzz run config`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(config);
