//! `cargo +nightly fuzz run redirects`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(redirects);
