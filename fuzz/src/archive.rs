//! Tar archives.

use atoll_content::import::{ArchiveFault, ImportError, NoopSink, Options, import_tar};

/// Bytes of a header; what is shorter is no archive, and not worth the threads.
const HEADER_BYTES: usize = 512;

/// An archive: what is taken is a folder, whatever the archive says.
pub fn tar(data: &[u8]) {
    if data.len() < HEADER_BYTES {
        return;
    }
    match import_tar(data, Options::default(), &mut NoopSink, &mut |_| {}) {
        Ok(imported) => assert!(imported.total.bytes <= data.len() as u64, "more came out than went in"),
        Err(ImportError::Archive { fault: ArchiveFault::TooMany, .. }) => panic!("so many entries do not fit"),
        Err(_) => {}
    }
}
