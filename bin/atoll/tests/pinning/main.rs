//! Remote pinning by a real node: judged by the suite of the API's authors, by a real Kubo that nobody can dial, and by kills.
//!
//! Needs the Kubo of `ATOLL_KUBO` and the npm packages of `ATOLL_NODE_MODULES` (`cargo xtask test` installs both); without them
//! the tests say that they did not run, and with `CI` set that fails.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

mod kills;
mod kubo;
mod node;
mod suite;
mod tokens;
