//! The store's own files, which a disk may have damaged.

use atoll_content::store::pack::scan_bytes;

/// A whole pack.
pub fn pack(data: &[u8]) {
    if let Some(scanned) = scan_bytes(data) {
        assert!(scanned.skipped <= data.len() as u64);
    }
}
