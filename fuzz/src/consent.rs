//! What servers say of the sites before them, read as a stranger's.

use atoll_edge::front::Published;
use atoll_fallback::{consents, consents_by_text};

/// A document at `/.well-known/atoll`.
///
/// # Panics
/// If agreement does not stand in the document word for word.
pub fn consent(bytes: &[u8]) {
    let sites = ["a.example".to_owned(), "*".to_owned()];
    if let Ok(text) = std::str::from_utf8(bytes)
        && consents_by_text(text.lines(), &sites)
    {
        assert!(text.to_ascii_lowercase().contains("atoll-site="));
    }
    if consents(bytes, &sites) {
        let lower = bytes.to_ascii_lowercase();
        assert!(lower.windows(9).any(|part| part == b"a.example"));
        assert!(!consents(bytes, &["b.invalid".to_owned()]) || lower.windows(9).any(|part| part == b"b.invalid"));
    }
}

/// What a site says of its servers (`atoll.toml`).
///
/// # Panics
/// If it is good and names no sound servers, or is refused with too many words.
pub fn published(bytes: &[u8]) {
    match Published::parse(bytes) {
        Ok(good) => assert!(good.origins.len() <= 16 && good.routes.len() <= 64 && good.warnings.len() <= 64),
        Err(why) => assert!(why.len() <= 300),
    }
}
