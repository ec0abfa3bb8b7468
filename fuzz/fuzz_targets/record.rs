//! `cargo +nightly fuzz run record`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(record);
