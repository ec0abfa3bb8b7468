//! `cargo +nightly fuzz run kad`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(kad);
