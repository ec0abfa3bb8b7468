//! `cargo +nightly fuzz run message`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(message);
