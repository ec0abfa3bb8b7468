//! Routing, first form: who is there, who lives, who holds what; and blocks from whoever is fastest.
//!
//! [`Router`] is a node's part in the network: it exchanges signed records, probes members, pulls and lets go of sites by
//! rank, with no coordinator. [`RemoteBlocks`] fetches for a gateway's visitors, [`Client`] for people who trust no gateway;
//! both share one engine that races, hedges, verifies and drops liars. [`HttpTransport`] carries it all over HTTP until
//! libp2p does. All time comes from a clock that is given, so that whole networks run in simulated time.

mod anywhere;
mod car;
mod client;
mod config;
mod dag;
mod delegated;
mod error;
pub mod exchange;
mod fetch;
mod found;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod http;
mod log;
mod nearness;
mod plan;
mod provide;
mod remote;
mod router;
mod snapshot;
mod table;
mod time;

pub use client::{Client, ClientConfig, ClientStats};
pub use config::{Config, FetchConfig, FetchPolicy, Root};
pub use delegated::{RouterView, Routers, RoutersConfig, RoutersParts, Several, WithRouters};
pub use error::{CarError, PullError, RouteError};
pub use fetch::PeerStats;
pub use http::{HttpConfig, HttpTransport, gateway_address};
pub use log::{FileLog, NoopLog, RecordLog};
pub use nearness::MeasuredBy;
pub use provide::{KEYS_MAX, Schedule, Sweep, SweepParts, SweepView};
pub use remote::RemoteBlocks;
pub use router::{MemberMaker, Parts, Router};
pub use snapshot::{MemberView, PlacementView, Role, Snapshot};
pub use time::TokioClock;
