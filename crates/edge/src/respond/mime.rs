//! The type of bytes: by the name's extension, else by how they begin. Pure; a crash loses nothing.

use http::HeaderValue;

/// How many of the first bytes decide.
pub(crate) const SNIFF_BYTES: u64 = 512;

/// The type that a name's extension stands for.
pub(crate) fn by_name(name: &str) -> Option<HeaderValue> {
    let (stem, extension) = name.rsplit_once('.')?;
    if stem.is_empty() || extension.is_empty() {
        return None;
    }
    let guess = mime_guess::from_ext(extension).first_raw()?;
    if is_text(guess) {
        HeaderValue::try_from(format!("{guess}; charset=utf-8")).ok()
    } else {
        Some(HeaderValue::from_static(guess))
    }
}

/// The type that the first bytes suggest: HTML, JSON, other text, or just bytes.
pub(crate) fn by_content(start: &[u8]) -> HeaderValue {
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // The cut may go through the last character.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            std::str::from_utf8(start.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => return OCTETS,
    };
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c' | '\x1b');
    let html = |tag: &&str| text.trim_start().get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    match text {
        _ if text.contains(control) => OCTETS,
        _ if ["<!doctype html", "<html", "<head", "<body"].iter().any(html) => HTML,
        _ if atoll_core::data::is_json_start(start) => JSON,
        _ => TEXT,
    }
}

/// A page of HTML.
pub(crate) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// Text that is nothing else.
pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// JSON, which is UTF-8 by itself (RFC 8259, section 8.1).
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Bytes that are nothing else.
pub(crate) const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Whether a type is text, which is UTF-8 here.
fn is_text(guess: &str) -> bool {
    guess.starts_with("text/")
        || guess.ends_with("+xml")
        || matches!(
            guess,
            "application/javascript" | "application/json" | "application/xml" | "application/manifest+json"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_first() {
        assert_eq!(by_name("a.html").unwrap(), HTML);
        assert_eq!(by_name("a.tar.GZ").unwrap(), "application/gzip");
        assert_eq!(by_name("style.css").unwrap(), "text/css; charset=utf-8");
        assert_eq!(by_name("a.svg").unwrap(), "image/svg+xml; charset=utf-8");
        assert_eq!(
            (by_name("README"), by_name(".html"), by_name("a."), by_name("a.nonesuch")),
            (None, None, None, None)
        );
    }

    #[test]
    fn then_the_content() {
        assert_eq!(by_content(b" \n<!DOCTYPE html><title>x"), HTML);
        assert_eq!(by_content("głębia".as_bytes()), TEXT);
        assert_eq!(by_content("głębia".as_bytes().split_at(2).0), TEXT);
        assert_eq!(by_content(b""), TEXT);
        assert_eq!(by_content(b"{\"a\": 1}"), JSON);
        assert_eq!(by_content(b"\x89PNG\r\n\x1a\n"), OCTETS);
        assert_eq!(by_content(b"a\0b"), OCTETS);
    }
}
