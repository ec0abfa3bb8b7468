//! Content: UnixFS and CAR over verified blocks, in and out, and the store that keeps them.
//!
//! Readers take blocks from any [`atoll_core::Blocks`], writers hand theirs to any [`import::Sink`].

pub mod car;
pub mod dag;
pub mod error;
pub mod export;
pub mod extract;
pub mod import;
pub mod reader;

pub use error::ReadError;
pub use import::{ImportError, Sink};
