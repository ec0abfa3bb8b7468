//! What names point at: IPNS records that this node keeps, and DNSLinks.
//!
//! [`Store`] keeps records, valid or not, in memory and on disk, and answers members for them. [`Resolver`] follows names
//! from there to content, shows what is stale while it asks again, and puts again what this node stands for. Members are
//! reached through `atoll-core`'s `NameExchange`, and where DNSLinks come from is [`DnsLinks`]: a map in the settings
//! today.

mod config;
mod dnslink;
mod error;
mod lookup;
mod resolver;
mod store;
mod walk;

pub use config::{Config, DNSLINKS_MAX};
pub use dnslink::{DnsLink, DnsLinks, MapLinks};
pub use error::StoreError;
pub use resolver::{Parts, Resolver};
pub use store::{HeldSites, Imported, Kept, Origin, Store};
