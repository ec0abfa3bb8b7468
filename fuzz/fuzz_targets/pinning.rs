//! `cargo +nightly fuzz run pinning`.
#![cfg_attr(fuzzing, no_main)]

atoll_fuzz::target!(pinning);
