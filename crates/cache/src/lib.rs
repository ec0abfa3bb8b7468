//! A shared HTTP cache: what may be stored and used again (RFC 9111, with RFCs 5861, 9211 and 9213), and the memory and the disk
//! that it is stored in.
//!
//! The policy is pure: heads of requests and responses and the time go in, decisions come out. Start with [`Rules`], which decides
//! whether a response is stored as a [`Stored`], and whether that answers a later request. [`Store`] keeps them, with bodies that
//! are read while they still arrive. A crash loses what is in memory alone.

mod coding;
pub mod conditional;
mod config;
mod directives;
mod disk;
pub mod field;
mod fill;
mod flight;
mod invalidation;
mod key;
mod purge;
mod range;
mod report;
mod rules;
mod store;
mod stored;
mod vary;

pub use coding::{Coding, describe, vary_by_coding, weaken};
pub use config::Config;
pub use directives::{Directives, Fields};
pub use disk::{DiskError, DiskFigures, fuzz as fuzz_files};
pub use fill::{Broken, Fill, Filled, Pushed, Reading, Writing, cut};
pub use flight::{Flight, Landed, Landing, Leader};
pub use invalidation::invalidated;
pub use key::Key;
pub use purge::{Degree, Purge, invalidated_groups};
pub use range::{Part, part};
pub use report::{Forwarded, Report, Reporter};
pub use rules::{BrokenAge, Profile, Reuse, Rules, Times, Unstored};
pub use store::{Entry, Found, Looked, Store};
pub use stored::Stored;
pub use vary::Variant;
