//! `cargo +nightly fuzz run dagpb`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(dagpb);
