//! `cargo +nightly fuzz run signed`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(signed);
