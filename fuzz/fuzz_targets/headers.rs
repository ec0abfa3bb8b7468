//! `cargo +nightly fuzz run headers`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(headers);
