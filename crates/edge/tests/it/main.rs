//! The listener as clients meet it: a real server on loopback, real sockets, bytes as they travel.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

mod content;
mod data;
mod deny;
mod front;
mod hostile;
mod idle;
mod limits;
mod messages;
mod resting;
mod sealed;
mod site;
mod support;
mod tar;
mod trustless;
