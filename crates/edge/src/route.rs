//! What a path names: content, or one of our own messages. Pure; a crash loses nothing.

use std::fmt::Write as _;
use std::sync::Arc;

use atoll_core::ipns::Name;
use atoll_core::site::SEGMENT;
use atoll_core::{Cid, Resolution};
use percent_encoding::{percent_decode_str, utf8_percent_encode};

use crate::failure::Failure;
use crate::host::LABEL_BYTES_MAX;

/// The longest path and query, in bytes.
pub(crate) const TARGET_BYTES_MAX: usize = 16 * 1024;
/// How much of a path an error repeats.
const SHOWN_CHARS_MAX: usize = 128;
/// The longest name: that of a host (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// What names the content that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// Itself.
    Root(Cid),
    /// An IPNS key in its canonical form, or a host name (DNSLink) in lower case.
    Name(String),
}

/// Where a site is seen, which decides what its links begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mount {
    /// Below this path (`/ipfs/CID`, `/ipns/NAME`) of an origin that it shares with others.
    Path(String),
    /// On an origin of its own below a gateway, which is found at this authority.
    Subdomain(String),
    /// On the site's own domain, at this authority.
    Domain(String),
}

/// What a request's host and path ask for, before it is known what a name points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) site: Site,
    pub(crate) mount: Mount,
    /// The names to follow, decoded.
    pub(crate) segments: Vec<String>,
    /// Whether it ends with a slash, as a directory's must.
    pub(crate) slash: bool,
}

/// Content that is asked for: a root, and the way from there.
#[derive(Clone, Debug)]
pub(crate) struct ContentPath {
    /// Where the way begins.
    pub(crate) root: Cid,
    pub(crate) site: Site,
    pub(crate) mount: Mount,
    /// What the name said, where there is one.
    pub(crate) resolution: Option<Arc<Resolution>>,
    /// The names to follow, decoded, without those that the name itself stands for.
    pub(crate) segments: Vec<String>,
    /// Whether it ends with a slash, as a directory's must.
    pub(crate) slash: bool,
}

impl Target {
    /// The path on a site's own origin.
    pub(crate) fn on_own_host(site: Site, mount: Mount, path: &str) -> Result<Self, Failure> {
        let (segments, slash) = segments(path)?;
        Ok(Self { site, mount, segments, slash })
    }

    /// The path on a path gateway, `None` if it names no content.
    pub(crate) fn on_gateway(path: &str) -> Option<Result<Self, Failure>> {
        let named = path.strip_prefix("/ipns/");
        let rest = named.or_else(|| path.strip_prefix("/ipfs/"))?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (site, below) = rest.split_at(end);
        let found = if named.is_some() { name(site).map(Site::Name) } else { root(site).map(Site::Root) };
        Some(found.ok_or_else(|| Failure::NoContentPath(shown(path))).and_then(|found| {
            let (segments, slash) = segments(below)?;
            let base = path.get(..path.len() - below.len()).unwrap_or_default().to_owned();
            Ok(Self { site: found, mount: Mount::Path(base), segments, slash })
        }))
    }

    /// What an `ipfs://` or `ipns://` URI names, as browsers hand it over (Subdomain Gateway, "URI router").
    pub(crate) fn of_uri(uri: &str) -> Option<Result<Self, Failure>> {
        let rest = uri.strip_prefix("ipfs://").map(|rest| ("/ipfs/", rest));
        let (namespace, rest) = rest.or_else(|| uri.strip_prefix("ipns://").map(|rest| ("/ipns/", rest)))?;
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        Self::on_gateway(&format!("{namespace}{}", rest.get(..end).unwrap_or_default()))
    }

    /// The path, now that it is known what the site is.
    pub(crate) fn at(self, root: Cid, resolution: Option<Arc<Resolution>>) -> ContentPath {
        let Self { site, mount, segments, slash } = self;
        ContentPath { root, site, mount, resolution, segments, slash }
    }

    /// The path as a link in a page or a `Location`: encoded, beginning with one slash.
    pub(crate) fn link(&self) -> String {
        link(&self.mount, &self.segments, self.slash)
    }

    /// The path below its site, encoded.
    pub(crate) fn below_site(&self) -> String {
        let mut path = String::new();
        push(&mut path, &self.segments, self.slash);
        path
    }
}

impl ContentPath {
    /// The path as a link in a page or a `Location`: encoded, beginning with one slash.
    pub(crate) fn link(&self) -> String {
        link(&self.mount, &self.segments, self.slash)
    }

    /// The content path, `/ipfs/CID/…` or `/ipns/NAME/…`, encoded, whatever the host (`X-Ipfs-Path`).
    pub(crate) fn full(&self) -> String {
        let mut path = self.site_path();
        push(&mut path, &self.segments, self.slash);
        path
    }

    /// `/ipfs/CID` or `/ipns/NAME`, as the client wrote it where it did.
    pub(crate) fn site_path(&self) -> String {
        match (&self.mount, &self.site) {
            (Mount::Path(base), _) => base.clone(),
            (_, Site::Root(root)) => format!("/ipfs/{root}"),
            (_, Site::Name(name)) => format!("/ipns/{name}"),
        }
    }

    /// The names to follow from the root to where the site begins: those that its name stands for.
    pub(crate) fn named(&self) -> impl Iterator<Item = &str> {
        self.resolution.iter().flat_map(|resolution| &resolution.path).map(String::as_str)
    }

    /// All names to follow from the root: those that the name stands for, then those of the path.
    pub(crate) fn way(&self) -> impl Iterator<Item = &str> {
        self.named().chain(self.segments.iter().map(String::as_str))
    }

    /// The last name of the path.
    pub(crate) fn name(&self) -> Option<&str> {
        self.segments.last().map(String::as_str)
    }

    /// Whether the site has the origin for itself, so that its own rules may hold there.
    pub(crate) fn is_isolated(&self) -> bool {
        !matches!(self.mount, Mount::Path(_))
    }
}

/// A CID in a path. Some encodings use characters that have a meaning in links.
fn root(text: &str) -> Option<Cid> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.bytes().all(plain).then(|| text.parse().ok()).flatten()
}

/// What an IPNS name is called: a key in base36, or a host name in lower case.
pub(crate) fn name(text: &str) -> Option<String> {
    key(text).or_else(|| is_domain(text).then(|| text.to_ascii_lowercase()))
}

/// The canonical form of an IPNS key (IPNS Record, "String Representation").
pub(crate) fn key(text: &str) -> Option<String> {
    text.parse::<Name>().ok().map(|name| name.to_string())
}

/// Whether a text can be the host name of a DNSLink: at least two labels.
fn is_domain(text: &str) -> bool {
    let byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(byte);
    text.len() <= NAME_BYTES_MAX && text.contains('.') && text.split('.').all(label)
}

/// A path as an error may repeat it: only what has a meaning neither in HTML nor anywhere else.
fn shown(path: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    path.chars().take(SHOWN_CHARS_MAX).take_while(plain).collect()
}

fn link(mount: &Mount, segments: &[String], slash: bool) -> String {
    let mut link = if let Mount::Path(base) = mount { base.clone() } else { String::new() };
    push(&mut link, segments, slash);
    link
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

    fn target(path: &str) -> Result<Target, Failure> {
        Target::on_own_host(Site::Root(CID.parse().unwrap()), Mount::Subdomain(String::new()), path)
    }

    fn link(path: &str) -> String {
        target(path).unwrap().link()
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
        let path = Target::on_gateway(&format!("/ipfs/{CID}/a/")).unwrap().unwrap();
        assert_eq!(path.link(), format!("/ipfs/{CID}/a/"));
        assert_eq!((path.segments, path.slash), (vec!["a".to_owned()], true));
        assert!(Target::on_gateway("/atoll/v1/probe").is_none());
        for path in ["/ipfs/nonsense/a", "/ipfs/", "/ipns/", "/ipns/nonsense", "/ipns/a..b"] {
            assert!(matches!(Target::on_gateway(path), Some(Err(Failure::NoContentPath(_)))), "{path}");
        }
    }

    #[test]
    fn a_key_has_one_canonical_form() {
        const KEY: &str = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8";
        let of = |text: &str| match Target::on_gateway(&format!("/ipns/{text}/x")).unwrap().unwrap() {
            Target { site: Site::Name(name), .. } => name,
            other => panic!("{other:?}"),
        };
        assert_eq!(of(KEY), KEY);
        assert_eq!(of("12D3KooWRBy97UB99e3J6hiPesre1MZeuNQvfan4gBziswrRJsNK"), KEY);
        assert_eq!(
            of("QmcJM7PRfkSbcM5cf1QugM5R37TLRKyJGgBEhXjLTB8uA2"),
            "k2k4r8ol4m8kkcqz509c1rcjwunebj02gcnm5excpx842u736nja8ger"
        );
        assert_eq!(of("En.Wikipedia.example"), "en.wikipedia.example");
    }

    #[test]
    fn a_uri_is_a_content_path() {
        let link = |uri: &str| Target::of_uri(uri).map(|target| target.map(|target| target.link()).ok());
        assert_eq!(link(&format!("ipfs://{CID}/a%20b?x=1")), Some(Some(format!("/ipfs/{CID}/a%20b"))));
        assert_eq!(link("ipns://example.org"), Some(Some("/ipns/example.org".to_owned())));
        assert_eq!(link("ipfs://nonsense"), Some(None));
        assert_eq!(link("https://example.org"), None);
    }

    #[test]
    fn an_error_repeats_nothing_that_has_a_meaning() {
        assert_eq!(shown("/ipfs/<script>"), "/ipfs/");
        assert_eq!(shown(&"/a".repeat(500)).len(), SHOWN_CHARS_MAX);
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
