//! `cargo +nightly fuzz run pack`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(pack);
