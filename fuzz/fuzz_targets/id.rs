//! `cargo +nightly fuzz run id`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(id);
