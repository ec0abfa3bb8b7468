//! What servers say of the sites before them, read as a stranger's.

use atoll_fallback::consents;

/// A document at `/.well-known/atoll`.
///
/// # Panics
/// If agreement does not stand in the document word for word.
pub fn consent(bytes: &[u8]) {
    let sites = ["a.example".to_owned(), "*".to_owned()];
    if consents(bytes, &sites) {
        let lower = bytes.to_ascii_lowercase();
        assert!(lower.windows(9).any(|part| part == b"a.example"));
        assert!(!consents(bytes, &["b.invalid".to_owned()]) || lower.windows(9).any(|part| part == b"b.invalid"));
    }
}
