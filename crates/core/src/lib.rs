//! Identifiers, keys, records, pure codecs, and the traits at which Atoll's layers meet.
//!
//! Nothing here does I/O or knows a runtime: every function maps bytes to values or says why it cannot. A crash loses
//! nothing, since nothing is kept. Formats are written byte by byte in `docs/formats.md`.

pub mod bitswap;
pub mod block;
pub mod blocks;
pub mod bundle;
pub mod car;
pub mod clock;
pub mod content_path;
pub mod dagpb;
pub mod data;
pub mod delegated;
pub mod dht;
pub mod earlier;
pub mod envelope;
pub mod exchange;
pub mod hamt;
pub mod id;
pub mod ipns;
pub mod kad;
pub mod keys;
pub mod links;
pub mod manifest;
pub mod merkle;
pub mod names;
pub mod policy;
pub mod providers;
pub mod purges;
pub mod rank;
pub mod reach;
pub mod record;
pub mod rfc3339;
pub mod signed;
pub mod site;
pub mod storage;
pub mod transport;
pub mod unixfs;

pub use block::{Block, BlockError, Cid};
pub use blocks::{Blocks, BoxFuture, FetchError};
pub use bundle::Bundles;
pub use clock::{Clock, SystemClock, Timestamp};
pub use dht::Dht;
pub use envelope::{Record, RecordError, Signed};
pub use exchange::Exchange;
pub use id::{PeerId, PublicKey, SiteId};
pub use multiaddr::Multiaddr;
pub use names::{NameError, Names, Resolution};
pub use policy::{Denied, Deny, Subject};
pub use providers::Providers;
pub use purges::{Obeyed, Purges};
pub use reach::Reach;
pub use storage::{Storage, StorageError};
pub use transport::{Answer, Gossip, Transport, TransportError};
