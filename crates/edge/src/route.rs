//! What a path names: content, or one of our own messages. Pure; a crash loses nothing.

use std::fmt::Write as _;

use atoll_core::Cid;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::failure::Failure;

/// The longest path and query, in bytes.
pub(crate) const TARGET_BYTES_MAX: usize = 16 * 1024;

/// What stays as it is in a path segment: RFC 3986, section 3.3, without what HTML or old browsers give a meaning.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Content that is asked for: a root, and the way from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContentPath {
    /// Where the way begins.
    pub(crate) root: Cid,
    /// What links to it begin with: `/ipfs/CID`, or nothing on a host that is the content's own.
    pub(crate) base: String,
    /// The names to follow, decoded.
    pub(crate) segments: Vec<String>,
    /// Whether it ends with a slash, as a directory's must.
    pub(crate) slash: bool,
}

impl ContentPath {
    /// The path on a host of its own.
    pub(crate) fn on_own_host(root: Cid, path: &str) -> Result<Self, Failure> {
        let (segments, slash) = segments(path)?;
        Ok(Self { root, base: String::new(), segments, slash })
    }

    /// The path on a path gateway, `None` if it names no content.
    pub(crate) fn on_gateway(path: &str) -> Option<Result<Self, Failure>> {
        let rest = path.strip_prefix("/ipfs/")?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (root, path) = rest.split_at(end);
        Some(Self::below(root, path))
    }

    fn below(root: &str, path: &str) -> Result<Self, Failure> {
        // Some encodings of CIDs use characters that have a meaning in links.
        if root.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-' && byte != b'_') {
            return Err(Failure::CidMalformed);
        }
        let cid: Cid = root.parse().map_err(|_| Failure::CidMalformed)?;
        let (segments, slash) = segments(path)?;
        Ok(Self { root: cid, base: format!("/ipfs/{root}"), segments, slash })
    }

    /// The path as a link in a page or a `Location`: encoded, beginning with one slash.
    pub(crate) fn link(&self) -> String {
        let mut link = self.base.clone();
        push(&mut link, &self.segments, self.slash);
        link
    }

    /// The path below its root, encoded.
    pub(crate) fn below_root(&self) -> String {
        let mut path = String::new();
        push(&mut path, &self.segments, self.slash);
        path
    }

    /// The content path, `/ipfs/CID/…`, encoded, whatever the host (`X-Ipfs-Path`).
    pub(crate) fn full(&self) -> String {
        let mut path = if self.base.is_empty() { format!("/ipfs/{}", self.root) } else { self.base.clone() };
        push(&mut path, &self.segments, self.slash);
        path
    }

    /// The last name of the path.
    pub(crate) fn name(&self) -> Option<&str> {
        self.segments.last().map(String::as_str)
    }
}

/// Encodes one segment of a path.
pub(crate) fn encode(segment: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(segment, SEGMENT)
}

fn push(path: &mut String, segments: &[String], slash: bool) {
    for segment in segments {
        // Writing to a string does not fail.
        let _ = write!(path, "/{}", encode(segment));
    }
    if slash || path.is_empty() {
        path.push('/');
    }
}

/// Splits a path into decoded segments, as browsers normalise it, and whether it ends with a slash.
fn segments(path: &str) -> Result<(Vec<String>, bool), Failure> {
    let mut segments: Vec<String> = Vec::new();
    let mut slash = false;
    for raw in path.split('/').skip(1) {
        let segment = decode(raw)?;
        slash = matches!(&*segment, "" | "." | "..");
        match &*segment {
            "" | "." => {}
            ".." => {
                segments.pop().ok_or(Failure::PathMalformed("The path leads above its root."))?;
            }
            _ => segments.push(segment),
        }
        if segments.len() > atoll_content::reader::SEGMENTS_MAX {
            return Err(Failure::PathMalformed("The path has too many segments."));
        }
    }
    Ok((segments, slash))
}

fn decode(raw: &str) -> Result<String, Failure> {
    let hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = raw.as_bytes();
    let broken = |(at, byte): (usize, &u8)| *byte == b'%' && !(hex(bytes.get(at + 1)) && hex(bytes.get(at + 2)));
    if bytes.iter().enumerate().any(broken) {
        return Err(Failure::PathMalformed("A percent sign in the path is not followed by two hex digits."));
    }
    let text = percent_decode_str(raw).decode_utf8().map_err(|_| Failure::PathMalformed("The path is not UTF-8."))?;
    if text.contains(['/', '\0']) {
        return Err(Failure::PathMalformed("A name in the path contains a slash or NUL."));
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

    fn link(path: &str) -> String {
        ContentPath::on_own_host(CID.parse().unwrap(), path).unwrap().link()
    }

    #[test]
    fn paths_are_normalised_as_browsers_do() {
        assert_eq!(link("/"), "/");
        assert_eq!(link("/a/./b/../c"), "/a/c");
        assert_eq!(link("/a/b/.."), "/a/");
    }

    #[test]
    fn no_link_names_another_host() {
        assert_eq!(link("//evil.example/"), "/evil.example/");
        assert_eq!(link("/\\evil.example"), "/%5Cevil.example");
        assert_eq!(link("/%09/x"), "/%09/x");
    }

    #[test]
    fn names_are_decoded_and_encoded_again() {
        assert_eq!(link("/%c4%85/a b%22%3Cx"), "/%C4%85/a%20b%22%3Cx");
    }

    #[test]
    fn a_gateway_path_begins_with_ipfs_and_a_cid() {
        let path = ContentPath::on_gateway(&format!("/ipfs/{CID}/a/")).unwrap().unwrap();
        assert_eq!(path.link(), format!("/ipfs/{CID}/a/"));
        assert_eq!((path.segments, path.slash), (vec!["a".to_owned()], true));
        assert!(ContentPath::on_gateway("/atoll/v1/probe").is_none());
        assert!(matches!(ContentPath::on_gateway("/ipfs/nonsense/a"), Some(Err(Failure::CidMalformed))));
        assert!(matches!(ContentPath::on_gateway("/ipfs/"), Some(Err(Failure::CidMalformed))));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let refused = |path: &str| matches!(segments(path), Err(Failure::PathMalformed(_)));
        for path in ["/..", "/a/../..", "/%2e%2e", "/a%2fb", "/%00", "/%zz", "/%4", "/%", "/%ff"] {
            assert!(refused(path), "{path}");
        }
        assert!(refused(&"/a".repeat(257)));
        assert!(!refused(&"/a".repeat(256)));
    }
}
