//! Origins: the servers that sites are before. Requests are handed on to them over HTTP/1.1 or HTTP/2, plain or with TLS, and bodies
//! both ways as fast as they are taken.
//!
//! [`Origins`] sends, to whichever is well; [`hops`] says what of a message concerns only one connection. Keeps idle connections, and
//! what it has learnt of how origins are.

mod address;
mod body;
mod bucket;
mod client;
mod config;
mod connect;
mod consent;
mod drilled;
mod error;
mod framing;
pub mod hops;
mod http1;
mod http2;
mod link;
mod origin;
mod origins;
mod patience;
mod pool;
mod resolve;
mod server;
mod texts;

pub use address::is_public;
pub use body::{Answer, Download, Upload};
pub use bucket::BucketConfig;
pub use config::{Choose, Hedge, OriginConfig, PoolConfig, ProbeConfig, Timeouts};
pub use consent::{names as consents, txt_names as consents_by_text};
pub use drilled::{Drilled, Fault};
pub use error::{OriginError, Step};
pub use origin::Origin;
pub use origins::{Call, OriginView, Origins, Settings, is_failure};
pub use patience::Patience;
pub use resolve::Reach;
pub use server::{Hears, Hints, Holding};
