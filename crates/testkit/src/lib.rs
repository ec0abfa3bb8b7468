//! Whole networks in one process, in simulated time: real routers, a network of function calls, and faults from a seed.
//!
//! Unpublished, and only for tests. Wants tokio's paused clock (`#[tokio::test(start_paused = true)]`): hours pass in
//! milliseconds, and the same seed gives the same run.
//!
//! And for trials in real time: nodes and other people's peers as processes ([`process`], [`kubo`]), networks for them
//! ([`netns`]), delays between them ([`relay`]), clients with TLS ([`tls`]), frames ([`http2`]), servers that say whatever a test wants ([`origin`]), and what is noticed of
//! attacks ([`ordeal`]).

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test where it stands")]

mod clock;
mod gossip;
pub mod http;
pub mod http2;
pub mod kubo;
mod memory;
mod net;
pub mod netns;
mod network;
pub mod ordeal;
pub mod origin;
pub mod process;
pub mod relay;
mod site;
pub mod tls;
pub mod trial;

pub use clock::SimClock;
pub use gossip::{LocalGossip, Rumours};
pub use memory::{MemoryLog, MemoryStorage};
pub use net::{Fault, LocalTransport, Net, Weather};
pub use network::{Network, Node, Plan};
pub use site::Site;
