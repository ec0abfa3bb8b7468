//! `cargo +nightly fuzz run consent`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(consent);
