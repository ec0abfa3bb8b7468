//! `cargo +nightly fuzz run datagram`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(datagram);
