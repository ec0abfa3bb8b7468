//! `cargo +nightly fuzz run hamt`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(hamt);
