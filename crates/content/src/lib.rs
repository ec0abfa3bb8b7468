//! Content: UnixFS in and out, content archives, and the store of blocks beneath.

pub mod archive;
pub mod bundle;
pub mod car;
pub mod dag;
pub mod entities;
pub mod error;
pub mod export;
pub mod extract;
pub mod import;
pub mod kubo;
pub mod local;
pub mod memory;
pub mod reader;
pub mod store;

pub use error::ReadError;
pub use import::{ImportError, Sink};
pub use local::LocalBlocks;
pub use store::{Options, Pin, Put, Store, StoreError};
