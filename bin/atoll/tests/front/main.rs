//! `atoll front` before real servers: npm's `http-cache-tests`, and what a visitor meets when the server changes, fails or is slow.
//!
//! The suite needs the npm packages of `ATOLL_NODE_MODULES` (`cargo xtask test` installs them); without them it says that it did not
//! run, and with `CI` set that fails.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

mod sites;
mod suite;
