//! Delegated Routing among real peers: Helia's client asks our server, Kubo has us as its only router and provider, and nodes of
//! ours find content by way of each other's servers.
//!
//! Needs the npm packages of `ATOLL_NODE_MODULES` and the Kubo of `ATOLL_KUBO` (`cargo xtask test` installs both); without them
//! the tests say that they did not run, and with `CI` set that fails.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

mod helia;
mod kubo;
mod node;
mod routers;
mod server;
