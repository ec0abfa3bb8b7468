//! `cargo +nightly fuzz run published`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(published);
