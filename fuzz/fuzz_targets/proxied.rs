//! `cargo +nightly fuzz run proxied`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(proxied);
