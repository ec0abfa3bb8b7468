//! The boundary between whoever shows a site and whoever knows what its name points at: IPNS, DNSLink, and later ENS.

mod exchange;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::block::Cid;
use crate::blocks::BoxFuture;
use crate::clock::Timestamp;

pub use exchange::{Asked, NameExchange, NameRecords, NoopNameExchange, NoopNameRecords, Offered};

/// The most names on the way from a name to a root (DNSLink, "Recursion").
pub const RECURSION_MAX: usize = 32;

/// What a name points at, whichever names lay on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The root under which the content lies.
    pub root: Cid,
    /// The way below it that is part of what the name points at.
    pub path: Vec<String>,
    /// The names on the way behind the one that was asked for: any of them may be denied.
    pub via: Vec<String>,
    /// Until when it need not be asked for again: the shortest TTL on the way.
    pub fresh_until: Timestamp,
    /// When the first record on the way expires (IPNS EOL); `None` where none does.
    pub valid_until: Option<Timestamp>,
}

impl Resolution {
    /// For how long a cache may show it from `now` on: what is left of its TTL, never over its end of life.
    pub fn max_age(&self, now: Timestamp) -> Duration {
        let end = self.valid_until.map_or(self.fresh_until, |end| end.min(self.fresh_until));
        end.since(now)
    }

    /// Whether every record on the way is still valid.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.valid_until.is_none_or(|end| now < end)
    }
}

/// A source of names' targets. What it returns was verified as far as the kind of name allows: IPNS records are signed,
/// DNSLinks are as good as the DNS they came by.
pub trait Names: Send + Sync + 'static {
    /// What is known of `name` without waiting, even if it is stale; asking for a stale one starts its refresh. `name`
    /// is an IPNS key in any encoding or a host name (DNSLink), in lower case.
    fn cached(&self, name: &str) -> Option<Arc<Resolution>>;

    /// Finds out what `name` points at.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Resolution>, NameError>>;

    /// The best valid IPNS record of `name`, as it was signed, for those who check it themselves.
    fn record<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<SignedName, NameError>>;
}

/// An IPNS record as it was signed (IPNS Record, section 2.3), verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedName {
    /// The name it belongs to, as a CID of codec libp2p-key.
    pub name: Cid,
    /// The protobuf bytes, at most 10 KiB.
    pub bytes: Bytes,
    /// How long it may be cached.
    pub ttl: Duration,
    /// Its end of life.
    pub valid_until: Timestamp,
}

/// Knows no name.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopNames;

impl Names for NoopNames {
    fn cached(&self, _name: &str) -> Option<Arc<Resolution>> {
        None
    }

    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Resolution>, NameError>> {
        Box::pin(async { Err(NameError::NotFound(name.to_owned())) })
    }

    fn record<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<SignedName, NameError>> {
        Box::pin(async { Err(NameError::NotFound(name.to_owned())) })
    }
}

/// Why a name led nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Neither a key nor a host name.
    #[error("{0} is neither an IPNS key nor a host name")]
    Malformed(String),
    /// Nobody who was asked knows a record of it.
    #[error("no record of {0} was found")]
    NotFound(String),
    /// There is a record, and it is not what the name's key signed, or is no record at all.
    #[error("the record of {name} is not valid: {cause}")]
    Invalid {
        /// The name.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// There is a record, and its end of life has passed.
    #[error("the last record of {0} has expired")]
    Expired(String),
    /// More than [`RECURSION_MAX`] names point at each other.
    #[error("{0} leads over more than {RECURSION_MAX} names")]
    TooDeep(String),
    /// What it points at is no content that can be shown.
    #[error("{name} points at {target}, which is no content path")]
    Target {
        /// The name.
        name: String,
        /// What it points at.
        target: String,
    },
    /// The deadline passed first.
    #[error("{name} was not resolved within {limit_ms} ms")]
    TimedOut {
        /// The name.
        name: String,
        /// The deadline, in milliseconds.
        limit_ms: u64,
    },
    /// The store of records failed; the text is for the log.
    #[error("the store of names failed: {0}")]
    Store(String),
}
