//! `cargo +nightly fuzz run tar`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(tar);
