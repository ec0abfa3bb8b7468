//! What publishers ask of the pinning service.

use atoll_core::Timestamp;
use atoll_pinning::filter::{Filter, LIMIT_MAX};
use atoll_pinning::wire::{META_BYTES_MAX, NAME_CHARS_MAX, ORIGINS_MAX, Pin, Status};

/// The first line is a query, the rest the body of a request.
pub fn pinning(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (query, rest) = data.split_at(at);
    let filter = std::str::from_utf8(query).ok().and_then(|query| Filter::parse(query, 10).ok());
    assert!(filter.as_ref().is_none_or(|filter| (1..=LIMIT_MAX).contains(&filter.limit)));
    let Ok(pin) = Pin::parse(rest.get(1..).unwrap_or_default()) else { return };
    assert!(pin.name.as_ref().is_none_or(|name| name.chars().count() <= NAME_CHARS_MAX));
    assert!(pin.origins.len() <= ORIGINS_MAX);
    assert!(pin.meta.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() <= META_BYTES_MAX);
    if let Some(filter) = filter {
        let _ = filter.matches(&pin, Timestamp::from_millis(1_595_871_148_500), Status::Pinned);
    }
    // What is kept is read again after a restart.
    if let Ok(kept) = serde_json::to_vec(&pin) {
        assert_eq!(Pin::parse(&kept), Ok(pin));
    }
}
