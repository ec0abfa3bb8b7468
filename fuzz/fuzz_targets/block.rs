//! `cargo +nightly fuzz run block`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(block);
