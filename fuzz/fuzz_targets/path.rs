//! `cargo +nightly fuzz run path`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(path);
