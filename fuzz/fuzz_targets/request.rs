//! `cargo +nightly fuzz run request`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(request);
