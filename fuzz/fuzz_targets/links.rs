//! `cargo +nightly fuzz run links`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(links);
