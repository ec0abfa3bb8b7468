//! Content paths: `/ipfs/CID/a/b` and `/ipns/NAME/a`, as names' targets and people's arguments write them.
//!
//! Segments are taken as they stand: Kubo decodes no percent signs here, and `..` goes up but never above the root. Nothing
//! is kept, a crash loses nothing.

use std::fmt;
use std::str::FromStr;

use crate::block::Cid;
use crate::ipns::{Name, RECORD_BYTES_MAX};

/// The longest path, in bytes: no record has room for more.
pub const PATH_BYTES_MAX: usize = RECORD_BYTES_MAX;
/// The longest host name, in bytes (RFC 1035, section 2.3.4).
const DOMAIN_BYTES_MAX: usize = 253;
/// The longest label of a host name, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// Where a path begins, and the way from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentPath {
    /// Where it begins.
    pub root: Root,
    /// The way from there; no segment is empty, `.` or `..`.
    pub segments: Vec<String>,
}

/// Where a path begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// Content that never changes.
    Ipfs(Cid),
    /// A key.
    Ipns(Name),
    /// A host name (DNSLink), in lower case and without a dot at its end.
    Domain(String),
}

impl ContentPath {
    /// The path `/ipfs/CID` of a CID in binary.
    ///
    /// # Errors
    /// [`ContentPathError::Cid`] when it is none.
    pub fn from_cid_bytes(bytes: &[u8]) -> Result<Self, ContentPathError> {
        Cid::try_from(bytes).map(Self::from).map_err(|_| ContentPathError::Cid)
    }
}

impl From<Cid> for ContentPath {
    fn from(cid: Cid) -> Self {
        Self { root: Root::Ipfs(cid), segments: Vec::new() }
    }
}

impl From<Name> for ContentPath {
    fn from(name: Name) -> Self {
        Self { root: Root::Ipns(name), segments: Vec::new() }
    }
}

impl FromStr for Root {
    type Err = ContentPathError;

    /// Reads what may follow `/ipns/`: a key in any of its forms, or a host name.
    fn from_str(text: &str) -> Result<Self, ContentPathError> {
        match text.parse() {
            Ok(name) => Ok(Self::Ipns(name)),
            Err(_) => domain(text).map(Self::Domain).ok_or(ContentPathError::Name),
        }
    }
}

impl FromStr for ContentPath {
    type Err = ContentPathError;

    fn from_str(text: &str) -> Result<Self, ContentPathError> {
        if text.len() > PATH_BYTES_MAX {
            return Err(ContentPathError::TooLong);
        }
        let mut segments = clean(text.strip_prefix('/').ok_or(ContentPathError::Namespace)?).into_iter();
        let (namespace, root) = (segments.next(), segments.next().ok_or(ContentPathError::Namespace)?);
        let root = match namespace {
            Some("ipfs") => Root::Ipfs(root.parse().map_err(|_| ContentPathError::Cid)?),
            Some("ipns") => root.parse()?,
            _ => return Err(ContentPathError::Namespace),
        };
        Ok(Self { root, segments: segments.map(str::to_owned).collect() })
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipfs(cid) => write!(f, "/ipfs/{cid}"),
            Self::Ipns(name) => write!(f, "/ipns/{name}"),
            Self::Domain(domain) => write!(f, "/ipns/{domain}"),
        }
    }
}

impl fmt::Display for ContentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)?;
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

/// The segments that are left when empty ones, `.` and `..` have had their meaning.
fn clean(text: &str) -> Vec<&str> {
    let mut kept = Vec::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    kept
}

/// A host name in its one form; `None` when it is none.
fn domain(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(is_plain)
    };
    let is_domain = text.len() <= DOMAIN_BYTES_MAX && text.contains('.') && text.split('.').all(is_label);
    is_domain.then(|| text.to_ascii_lowercase())
}

/// Why a text is no content path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentPathError {
    /// Over [`PATH_BYTES_MAX`].
    #[error("a content path is at most {PATH_BYTES_MAX} bytes long")]
    TooLong,
    /// Neither namespace, or nothing after it.
    #[error("a content path begins with /ipfs/CID or /ipns/NAME")]
    Namespace,
    /// What follows `/ipfs/` is no CID.
    #[error("there is no CID after /ipfs/")]
    Cid,
    /// What follows `/ipns/` is no name.
    #[error("there is neither an IPNS key nor a host name after /ipns/")]
    Name,
    /// Bytes that are no text.
    #[error("the path is not UTF-8")]
    NotUtf8,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafybeifx7yeb55armcsxwwitkymga5xf53dxiarykms3ygqic223w5sk3m";

    fn read(text: &str) -> Result<String, ContentPathError> {
        text.parse::<ContentPath>().map(|path| path.to_string())
    }

    #[test]
    fn paths_come_back_clean() {
        let kept = |rest: &str| read(&format!("/ipfs/{CID}{rest}")).unwrap().replacen(&format!("/ipfs/{CID}"), "", 1);
        assert_eq!(kept(""), "");
        assert_eq!(kept("/"), "");
        assert_eq!(kept("/a//b/./c/"), "/a/b/c");
        assert_eq!(kept("/a/../b"), "/b");
        assert_eq!(kept("/a%20b/%2e%2e"), "/a%20b/%2e%2e");
        assert_eq!(read("/ipns/Example.ORG./x").unwrap(), "/ipns/example.org/x");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let cause = |text: &str| read(text).unwrap_err();
        assert_eq!(cause(CID), ContentPathError::Namespace);
        assert_eq!(cause("/ipfs/"), ContentPathError::Namespace);
        assert_eq!(cause(&format!("/ipld/{CID}")), ContentPathError::Namespace);
        assert_eq!(cause(&format!("/ipfs/{CID}/../x")), ContentPathError::Cid);
        assert_eq!(cause("/ipns/no name"), ContentPathError::Name);
        assert_eq!(cause("/ipns/localhost"), ContentPathError::Name);
        assert_eq!(cause(&format!("/ipns/{}.org", "a".repeat(64))), ContentPathError::Name);
        let long = format!("/ipfs/{CID}/{}", "a".repeat(PATH_BYTES_MAX));
        assert_eq!(cause(&long), ContentPathError::TooLong);
    }
}
