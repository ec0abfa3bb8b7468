//! Content: bytes named by what they are, stored, checked and read.

pub mod store;

pub use store::{Options, Pin, Put, Store, StoreError};
