//! The certificates that a node shows: from files that are followed, self-signed for local use, by ACME.
//!
//! Start with `src/store.rs`: it finds the certificate for a host name. Each certificate was checked before it is in there, and a
//! bad one is refused with its reason while the last good one serves on. Keys are made on the node and never leave its folder; a
//! crash loses nothing that is on disk.

pub mod acme;
mod certificate;
mod config;
mod files;
mod own;
mod store;
mod table;

pub use acme::{Acme, AcmeError, Authority, Challenges, Manager, OnDemand, Reason, UnknownReason};
pub use certificate::{Certificate, Refused};
pub use config::{Config, Pair};
pub use files::{FileError, PairError};
pub use own::OwnError;
pub use store::{Origin, Store, View};
