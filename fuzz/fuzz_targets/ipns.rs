//! `cargo +nightly fuzz run ipns`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(ipns);
