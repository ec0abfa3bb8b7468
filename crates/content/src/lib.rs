//! Content: bytes named by what they are, stored, checked and read.

pub mod local;
pub mod store;

pub use local::LocalBlocks;
pub use store::{Options, Pin, Put, Store, StoreError};
