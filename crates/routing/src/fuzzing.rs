//! The parser of the file of known records, and the rule for what routers name, for their fuzz targets.

use atoll_core::Reach;
use atoll_core::delegated::PeerRecord;
use atoll_core::envelope::ENVELOPE_BYTES_MAX;

/// Reads the body of a file of records.
pub fn log(data: &[u8]) {
    let (envelopes, left) = crate::log::split(data);
    let read: usize = envelopes.iter().map(|envelope| envelope.len() + 4).sum();
    assert_eq!(read + left, data.len());
    assert!(envelopes.iter().all(|envelope| envelope.len() <= ENVELOPE_BYTES_MAX));
}

/// What a router on the internet names must not lead into this machine or its network.
pub fn router_record(record: &PeerRecord) {
    let me = atoll_core::keys::IdentityKey::from_seed(&[0; 32]).peer_id();
    for candidate in crate::delegated::candidates(me, Reach::Public, record) {
        assert!(candidate.iter().all(|address| Reach::of(address) == Reach::Public));
    }
}
