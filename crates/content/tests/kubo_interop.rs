//! Kubo as the judge: the same files get the same CIDs, each reads the other's CARs, byte for byte, and whatever Kubo can
//! write we can read.
//!
//! Needs the Kubo of `ATOLL_KUBO` (`cargo xtask test` builds it); without it the tests say that they did not run, and
//! with `CI=true` that fails.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in what tests call, a panic is the report")]

#[path = "kubo_interop/oracle.rs"]
mod oracle;
#[path = "kubo_interop/profiles.rs"]
mod profiles;
#[path = "kubo_interop/reading.rs"]
mod reading;
#[path = "kubo_interop/repository.rs"]
mod repository;
