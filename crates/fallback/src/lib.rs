//! Origins: the servers that sites are before. Requests are handed on to them over HTTP/1.1, plain or with TLS, and bodies both ways
//! as fast as they are taken.
//!
//! [`hops`] says what of a message concerns only one connection; [`Origins`] sends. Keeps idle connections and nothing else.

mod body;
mod config;
mod error;
pub mod hops;
mod origins;

pub use body::{Download, Upload};
pub use config::{OriginConfig, Timeouts};
pub use error::{OriginError, Step};
pub use origins::{Origin, Origins};
