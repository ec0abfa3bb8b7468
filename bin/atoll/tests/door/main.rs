//! The door: what a visitor meets of TLS, HTTP/1.1, HTTP/2 and HTTP/3 at a real node, as peers see it that others wrote.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

mod acme;
mod files;
mod floods;
mod h2spec;
mod haproxy;
mod http3;
mod pebble;
mod proxied;
mod redbot;
mod slow;
mod sslyze;
mod takeover;
mod visits;

/// A file of ours within its CID.
const INLINE: &str = "/ipfs/bafkqabtimvwgy3yk";
