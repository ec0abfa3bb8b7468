//! Remote pinning: the IPFS Pinning Service API 1.0.0 (ipfs.github.io/pinning-services-api-spec) on a listener of its own.
//!
//! Publishers with a token ask for DAGs to be pinned ([`wire`], [`filter`]). What they asked for is on disk before they are
//! told so ([`Store`]). [`Service`] works on it: whoever has the DAG is sought, the DAG is fetched, counted against the
//! publisher's quota as it arrives, verified and pinned, and tried again until its time is over. A crash loses nothing
//! that was acknowledged; work goes on where it was.

mod config;
mod door;
mod error;
mod fetch;
pub mod filter;
mod network;
mod page;
mod publisher;
mod request;
mod serve;
mod service;
mod store;
pub mod wire;
mod worker;

pub use config::Config;
pub use error::{Failure, StoreError};
pub use network::{Network, NoopNetwork};
pub use publisher::{Allow, Publisher, PublisherView};
pub use request::{REASON_PREFIX, RequestId};
pub use service::{Hold, Parts, Service, Snapshot};
pub use store::Store;
