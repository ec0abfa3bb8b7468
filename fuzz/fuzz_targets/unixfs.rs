//! `cargo +nightly fuzz run unixfs`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(unixfs);
