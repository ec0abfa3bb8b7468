//! The public listener of a node: path, subdomain and trustless gateways over HTTP/1.1 and HTTP/2, plain and TLS, and members' messages.
//!
//! Start with `src/pipeline.rs`: it lists the steps of a request in order. [`Server::bind`] takes a
//! [`Config`] and the [`Services`] behind it, [`Server::spawn`] starts one thread per core. Nothing is kept on disk.

mod activity;
mod admission;
mod body;
mod client;
pub mod config;
mod connection;
mod content;
mod draining;
mod failure;
pub mod front;
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
pub mod guard;
mod host;
mod hot;
mod http2;
mod http3;
mod incoming;
mod linger;
mod message;
mod negotiate;
pub mod observe;
mod passed;
mod pipeline;
mod proxied;
mod respond;
mod route;
mod sending;
mod server;
mod sign;
mod site;
mod stream;
mod switched;
mod timing;
mod tls;
mod tunnel;
mod worker;

pub use config::Config;
pub use gateway::Services;
pub use passed::{Passed, Socket as PassedSocket};
pub use server::{Kept, Load, Running, ServeError, Server};
pub use sign::{Signatures, Signer};
pub use tls::Handshakes;
