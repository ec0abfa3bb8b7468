//! The type of a file's bytes: by the extension of its name, else by how they begin. Pure; a crash loses nothing.
//!
//! This is version [`VERSION`] of the table and of the rules. Signed heads name it, so that neither changes with a
//! dependency; a test holds the digest of what it answers.

mod table;

use std::borrow::Cow;

use table::TABLE;

/// The version of the table and the rules.
pub const VERSION: u32 = 1;
/// How many of the first bytes decide; a caller need not give more, and more are not looked at.
pub const SNIFF_BYTES: usize = 512;
/// The longest extension in the table, in bytes.
const EXTENSION_BYTES_MAX: usize = 16;

/// A page of HTML.
pub const HTML: &str = "text/html; charset=utf-8";
/// Text that is nothing else.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// JSON, which is UTF-8 by itself (RFC 8259, section 8.1).
pub const JSON: &str = "application/json";
/// Bytes that are nothing else.
pub const OCTETS: &str = "application/octet-stream";

/// The type that a file name's extension stands for, in any case of letters.
pub fn by_name(name: &str) -> Option<Cow<'static, str>> {
    let (stem, extension) = name.rsplit_once('.')?;
    if stem.is_empty() || extension.len() > EXTENSION_BYTES_MAX {
        return None;
    }
    let extension = extension.to_ascii_lowercase();
    let at = TABLE.binary_search_by(|(known, _)| (*known).cmp(&extension)).ok()?;
    let (_, found) = TABLE.get(at)?;
    Some(if is_text(found) { format!("{found}; charset=utf-8").into() } else { Cow::Borrowed(*found) })
}

/// The type that the first bytes suggest: a known signature, HTML or SVG, other text, or just bytes.
pub fn by_content(start: &[u8]) -> &'static str {
    let start = start.get(..SNIFF_BYTES).unwrap_or(start);
    if let Some(found) = by_signature(start) {
        return found;
    }
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // The cut may go through the last character.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            std::str::from_utf8(start.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => return OCTETS,
    };
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c' | '\x1b');
    let begins = |tag: &&str| text.trim_start().get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    match text {
        _ if text.contains(control) => OCTETS,
        _ if ["<!doctype html", "<html", "<head", "<body"].iter().any(begins) => HTML,
        _ if begins(&"<svg") || (begins(&"<?xml") && text.contains("<svg")) => "image/svg+xml; charset=utf-8",
        _ if crate::data::is_json_start(start) => JSON,
        _ => TEXT,
    }
}

/// Signatures at the start of files that often have no name: what is shown, heard or read in a browser.
fn by_signature(start: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(&[u8], &str); 18] = [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"\x00\x00\x01\x00", "image/x-icon"),
        (b"%PDF-", "application/pdf"),
        (b"\0asm", "application/wasm"),
        (b"wOFF", "font/woff"),
        (b"wOF2", "font/woff2"),
        (b"glTF", "model/gltf-binary"),
        (b"OggS\0", "application/ogg"),
        (b"ID3", "audio/mpeg"),
        (b"\xff\xfb", "audio/mpeg"),
        (b"fLaC", "audio/flac"),
        (b"\x1a\x45\xdf\xa3", "video/webm"),
        (b"PK\x03\x04", "application/zip"),
        (b"\x1f\x8b\x08", "application/gzip"),
        (b"\x28\xb5\x2f\xfd", "application/zstd"),
    ];
    if let Some((_, found)) = SIGNATURES.iter().find(|(signature, _)| start.starts_with(signature)) {
        return Some(found);
    }
    match (start.get(..4)?, start.get(4..8)?, start.get(8..12)?) {
        (b"RIFF", _, b"WEBP") => Some("image/webp"),
        (b"RIFF", _, b"WAVE") => Some("audio/wav"),
        (_, b"ftyp", b"avif" | b"avis") => Some("image/avif"),
        (_, b"ftyp", b"heic" | b"heix") => Some("image/heic"),
        (_, b"ftyp", b"M4A ") => Some("audio/mp4"),
        (_, b"ftyp", b"qt  ") => Some("video/quicktime"),
        (_, b"ftyp", _) => Some("video/mp4"),
        _ => None,
    }
}

/// Whether a type is text, which is UTF-8 here.
fn is_text(found: &str) -> bool {
    found.starts_with("text/")
        || found.ends_with("+xml")
        || matches!(found, "application/json" | "application/xml" | "application/manifest+json" | "application/yaml")
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_name_decides_first() {
        for (name, expected) in [
            ("a.html", HTML),
            ("a.tar.GZ", "application/gzip"),
            ("style.css", "text/css; charset=utf-8"),
            ("a.svg", "image/svg+xml; charset=utf-8"),
            ("a.JS", "text/javascript; charset=utf-8"),
            ("a.wasm", "application/wasm"),
        ] {
            assert_eq!(by_name(name).as_deref(), Some(expected), "{name}");
        }
        for name in ["README", ".html", "a.", "a.nonesuch", "", &format!("a.{}", "x".repeat(100))] {
            assert_eq!(by_name(name), None, "{name}");
        }
    }

    #[test]
    fn then_the_content() {
        assert_eq!(by_content(b" \n<!DOCTYPE html><title>x"), HTML);
        assert_eq!(by_content("głębia".as_bytes()), TEXT);
        assert_eq!(by_content("głębia".as_bytes().split_at(2).0), TEXT);
        assert_eq!(by_content(b""), TEXT);
        assert_eq!(by_content(b"{\"a\": 1}"), JSON);
        assert_eq!(by_content(b"\x89PNG\r\n\x1a\n"), "image/png");
        assert_eq!(by_content(b"RIFF\0\0\0\0WEBPVP8 "), "image/webp");
        assert_eq!(by_content(b"\0\0\0\x20ftypisom"), "video/mp4");
        assert_eq!(by_content(b"<?xml version=\"1.0\"?>\n<svg>"), "image/svg+xml; charset=utf-8");
        assert_eq!(by_content(b"a\0b"), OCTETS);
        assert_eq!(by_content(b"\xff\xfe"), OCTETS);
    }

    #[test]
    fn only_the_first_bytes_count() {
        let mut start = vec![b'a'; 512];
        start.push(0);
        assert_eq!(by_content(&start), TEXT);
    }

    /// Changing what version 1 answers breaks heads that were signed: make a version 2 beside it.
    #[test]
    fn version_1_never_changes() {
        assert!(TABLE.is_sorted());
        assert!(TABLE.iter().all(|(extension, _)| extension.len() <= EXTENSION_BYTES_MAX));
        let answers: String = TABLE
            .iter()
            .map(|(extension, _)| format!("{extension} {}\n", by_name(&format!("x.{extension}")).unwrap()))
            .collect();
        let digest = HEXLOWER.encode(&Sha256::digest(&answers));
        assert_eq!((TABLE.len(), &*digest), (378, "60115855c55b4e87c48a24c14cb8d868090b32abf535e4c7252b54c257482119"));
    }
}
