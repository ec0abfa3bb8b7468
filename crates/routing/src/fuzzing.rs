//! The parser of the file of known records, for its fuzz target.

use atoll_core::envelope::ENVELOPE_BYTES_MAX;

/// Reads the body of a file of records.
pub fn log(data: &[u8]) {
    let (envelopes, left) = crate::log::split(data);
    let read: usize = envelopes.iter().map(|envelope| envelope.len() + 4).sum();
    assert_eq!(read + left, data.len());
    assert!(envelopes.iter().all(|envelope| envelope.len() <= ENVELOPE_BYTES_MAX));
}
