//! `cargo +nightly fuzz run deny`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(deny);
