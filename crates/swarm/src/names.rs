//! IPNS names as keys of the DHT (IPNS Record, "Routing Records": `/ipns/` and the name's multihash).

use atoll_core::SystemClock;
use atoll_core::ipns::{Name, Record};
use libp2p::kad::RecordKey;

/// What stands before the multihash.
const PREFIX: &[u8] = b"/ipns/";

/// The key of a name.
pub(crate) fn key_of(name: &Name) -> RecordKey {
    RecordKey::from([PREFIX, &name.to_bytes()].concat())
}

/// The name of a key, if it is one.
pub(crate) fn of_key(key: &RecordKey) -> Option<Name> {
    Name::from_bytes(key.as_ref().strip_prefix(PREFIX)?).ok()
}

/// Whether a record's time has not passed.
pub(crate) fn is_live(record: &Record) -> bool {
    record.is_live(SystemClock::now())
}
