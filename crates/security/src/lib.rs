//! What a node refuses. So far: deny lists (IPIP-383), which say what its operator does not show.
//!
//! [`Lists`] reads `.deny` files, follows their changes and decides; [`Guarded`] keeps denied blocks from everything that is
//! built of blocks. What is kept is on disk in the lists themselves; a crash loses nothing.

mod blocks;
pub mod config;
pub mod deny;
mod error;
pub mod local;

pub use blocks::Guarded;
pub use config::Config;
pub use deny::lists::Lists;
pub use error::DenyError;
