//! The moment at which a record's life ends, as RFC 3339 writes it.

use std::cmp::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Timestamp;

/// The longest text that is looked at, in bytes.
const TEXT_BYTES_MAX: usize = 64;

/// End of life, to the nanosecond, since records of one sequence are ordered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Eol(SystemTime);

impl Eol {
    /// Reads RFC 3339 with up to nine digits of a second, in any zone.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= TEXT_BYTES_MAX && text.is_ascii())?;
        if text.ends_with('Z') {
            return humantime::parse_rfc3339(text).ok().map(Self);
        }
        let (local, zone) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
        let time = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
        let (sign, offset) = zone.split_at_checked(1)?;
        let offset = offset_of(offset)?;
        match sign {
            "+" => time.checked_sub(offset).map(Self),
            "-" => time.checked_add(offset).map(Self),
            _ => None,
        }
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

/// Reads `hh:mm`.
fn offset_of(text: &str) -> Option<Duration> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, most: u64| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|value| is_plain && *value <= most)
    };
    Some(Duration::from_secs(number(hours, 23)? * 3600 + number(minutes, 59)? * 60))
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
