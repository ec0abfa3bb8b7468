//! `cargo +nightly fuzz run car`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(car);
