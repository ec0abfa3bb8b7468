//! The moment at which a record's life ends, as RFC 3339 writes it.

use std::cmp::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Timestamp;
use crate::rfc3339;

/// End of life, to the nanosecond, since records of one sequence are ordered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Eol(SystemTime);

impl Eol {
    /// Reads RFC 3339 with up to nine digits of a second, in any zone.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        std::str::from_utf8(text).ok().and_then(rfc3339::parse).map(Self)
    }

    /// The moment, rounded down to a millisecond.
    pub fn timestamp(self) -> Timestamp {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// As a record of Kubo's has it, in UTC.
    pub(super) fn to_text(self) -> String {
        humantime::format_rfc3339_nanos(self.0).to_string()
    }

    /// Nothing after the year 9999, which RFC 3339 cannot write.
    pub(super) fn from_timestamp(at: Timestamp) -> Option<Self> {
        const YEAR_10000_SECS: u64 = 253_402_300_800;
        let time = UNIX_EPOCH.checked_add(Duration::from_millis(at.as_millis()))?;
        (at.as_secs() < YEAR_10000_SECS).then_some(Self(time))
    }
}

impl PartialOrd for Eol {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Eol {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
