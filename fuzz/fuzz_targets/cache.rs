//! `cargo +nightly fuzz run cache`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(cache);
