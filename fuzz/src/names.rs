//! IPNS records and names, and content paths.

use std::sync::LazyLock;

use atoll_core::content_path::{ContentPath, PATH_BYTES_MAX};
use atoll_core::ipns::{Name, RECORD_BYTES_MAX, Record};
use atoll_core::keys::SiteKey;
use bytes::Bytes;

/// Whose records the corpus holds.
static NAME: LazyLock<Option<Name>> = LazyLock::new(|| Name::of(&SiteKey::from_seed(&[7; 32]).public()));

/// A record, and a name in bytes.
pub fn ipns(data: &[u8]) {
    if let Ok(name) = Name::from_bytes(data) {
        assert_eq!(name.to_bytes(), data);
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    let Some(name) = *NAME else { return };
    if let Ok(record) = Record::verify(&name, Bytes::copy_from_slice(data)) {
        assert!(data.len() <= RECORD_BYTES_MAX);
        assert_eq!(record.bytes(), data);
        assert!(!record.replaces(&record));
        let _ = record.target();
    }
}

/// A content path, and a name in text.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    if let Ok(path) = text.parse::<ContentPath>() {
        assert!(text.len() <= PATH_BYTES_MAX);
        // A CID in a longer base may make it too long to be read again.
        if path.to_string().len() <= PATH_BYTES_MAX {
            assert_eq!(path.to_string().parse(), Ok(path));
        }
    }
}
