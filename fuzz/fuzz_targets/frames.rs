//! `cargo +nightly fuzz run frames`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(frames);
