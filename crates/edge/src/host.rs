//! Which kind of site a request's host names. Pure; a crash loses nothing.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use atoll_core::Cid;
use http::uri::Authority;
use http::{HeaderName, Request, header};
use multibase::Base;

use crate::config::Config;
use crate::failure::Failure;
use crate::route::{self, Site};

/// The longest label of a host name (RFC 1035, section 2.3.4).
pub(crate) const LABEL_BYTES_MAX: usize = 63;
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The gateway names of this node.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    path: Vec<String>,
    subdomain: Vec<String>,
}

/// What a host stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host<'a> {
    /// A path gateway: an IP address, or a name that was configured as one.
    Path,
    /// A name whose subdomains are gateways; path requests go there.
    Subdomains {
        /// The host with its port, as the client wrote it.
        authority: &'a str,
    },
    /// `LABEL.ipfs.NAME`: all of it is content, nothing of ours is answered.
    Content {
        /// What should be a CID, as the client wrote it.
        label: &'a str,
        /// The gateway name with its port, as the client wrote it.
        authority: &'a str,
    },
    /// `LABEL.ipns.NAME`: content too, by a name.
    Named {
        /// What should be a key, or a host name with or without its dots, as the client wrote it.
        label: &'a str,
        /// The label with `.ipns` behind, under which ready answers are kept.
        key: &'a str,
        /// The gateway name with its port, as the client wrote it.
        authority: &'a str,
    },
    /// Any other name: a site's own domain if its DNSLink says so.
    Other {
        /// The name without its port.
        name: &'a str,
        /// The name with its port, as the client wrote it.
        authority: &'a str,
    },
}

impl<'a> Host<'a> {
    /// What pages on it may name it, or its gateway, by.
    pub(crate) fn authority(self) -> Option<&'a str> {
        match self {
            Self::Path => None,
            Self::Subdomains { authority }
            | Self::Content { authority, .. }
            | Self::Named { authority, .. }
            | Self::Other { authority, .. } => Some(authority),
        }
    }
}

/// What a label names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// That site.
    Site(Site),
    /// The same, in another form than its canonical label.
    Alias(Site),
}

/// Under which address a client sees the gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// Host and port.
    pub(crate) authority: &'a str,
    /// Whether the client speaks TLS, with us or with a proxy before us.
    pub(crate) https: bool,
}

impl<'a> Seen<'a> {
    /// What the client asked for, over TLS if it is `secure`. Proxies that are `trusted` tell what it asked them for, and how.
    ///
    /// # Errors
    /// [`Failure`] if the host is missing, doubled or malformed.
    pub(crate) fn of<B>(request: &'a Request<B>, trusted: bool, secure: bool) -> Result<Self, Failure> {
        let authority = raw_host(request)?;
        if !trusted {
            return Ok(Self { authority, https: secure });
        }
        let forwarded = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        let https = forwarded(X_FORWARDED_PROTO).map_or(secure, |proto| proto.eq_ignore_ascii_case("https"));
        let asked = forwarded(X_FORWARDED_HOST).and_then(|hosts| hosts.split(',').next()).map(str::trim);
        Ok(Self { authority: asked.unwrap_or(authority), https })
    }

    /// The scheme of links that begin with a host.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

impl Names {
    pub(crate) fn new(config: &Config) -> Self {
        Self { path: config.path_names.clone(), subdomain: config.subdomain_names.clone() }
    }

    /// Finds out what a host and port stand for.
    ///
    /// # Errors
    /// [`Failure::HostMalformed`].
    pub(crate) fn classify<'a>(&self, authority: &'a str) -> Result<Host<'a>, Failure> {
        let name = name_of(authority)?;
        if name.starts_with('[') || name.parse::<IpAddr>().is_ok() {
            return Ok(Host::Path);
        }
        let is = |known: &&String| known.eq_ignore_ascii_case(name);
        if self.path.iter().any(|known| is(&known)) {
            return Ok(Host::Path);
        }
        if self.subdomain.iter().any(|known| is(&known)) {
            return Ok(Host::Subdomains { authority });
        }
        let below = |known: &String| below(name, known, authority);
        Ok(self.subdomain.iter().find_map(below).unwrap_or(Host::Other { name, authority }))
    }
}

/// The gateway below `known` that `name` is.
fn below<'a>(name: &'a str, known: &str, authority: &'a str) -> Option<Host<'a>> {
    let at = name.len().checked_sub(known.len())?;
    if !name.get(at..)?.eq_ignore_ascii_case(known) {
        return None;
    }
    let (key, gateway) = (name.get(..at)?.strip_suffix('.')?, authority.get(at..)?);
    if let Some(label) = strip_suffix_ignore_case(key, ".ipfs") {
        return Some(Host::Content { label, authority: gateway });
    }
    let label = strip_suffix_ignore_case(key, ".ipns")?;
    Some(Host::Named { label, key, authority: gateway })
}

impl Label {
    /// Reads a label before `.ipfs`. Browsers send it in lower case: in any other, a CID would name something else, or
    /// nothing.
    ///
    /// # Errors
    /// [`Failure::LabelTooLong`] or [`Failure::CidMalformed`].
    pub(crate) fn content(label: &str) -> Result<Self, Failure> {
        check_length(label)?;
        if label.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(Failure::CidMalformed);
        }
        let cid: Cid = label.parse().map_err(|_| Failure::CidMalformed)?;
        match label_of(&cid) {
            Some(canonical) if canonical != label => Ok(Self::Alias(Site::Root(cid))),
            _ => Ok(Self::Site(Site::Root(cid))),
        }
    }

    /// Reads what stands before `.ipns`: a key, or a host name with its dots or inlined.
    ///
    /// # Errors
    /// [`Failure::LabelTooLong`] or [`Failure::NameMalformed`].
    pub(crate) fn named(label: &str) -> Result<Self, Failure> {
        if label.contains('.') {
            return route::name(label).map(|name| Self::Site(Site::Name(name))).ok_or(Failure::NameMalformed);
        }
        check_length(label)?;
        match route::key(label) {
            Some(key) if key == label => Ok(Self::Site(Site::Name(key))),
            Some(key) => Ok(Self::Alias(Site::Name(key))),
            None => {
                route::name(&outlined(label)).map(|name| Self::Site(Site::Name(name))).ok_or(Failure::NameMalformed)
            }
        }
    }
}

fn check_length(label: &str) -> Result<(), Failure> {
    if label.len() > LABEL_BYTES_MAX { Err(Failure::LabelTooLong(label.len())) } else { Ok(()) }
}

/// A host name as one label, so that a wildcard certificate holds for it (Subdomain Gateway, "DNSLink names").
pub(crate) fn inlined(name: &str) -> String {
    name.replace('-', "--").replace('.', "-")
}

/// What [`inlined`] made a label of.
fn outlined(label: &str) -> String {
    label.split("--").map(|part| part.replace('-', ".")).collect::<Vec<_>>().join("-")
}

/// The label under which a site has its own origin: a CIDv1 in base32, or in base36 if that alone is short enough; a key;
/// an inlined host name. `None` if it is too long for any.
pub(crate) fn label_of_site(site: &Site) -> Option<String> {
    match site {
        Site::Root(root) => label_of(root),
        Site::Name(name) if name.contains('.') => Some(inlined(name)),
        Site::Name(key) => Some(key.clone()),
    }
    .filter(|label| label.len() <= LABEL_BYTES_MAX)
}

/// The label under which `cid` has its own origin: CIDv1 in base32, or in base36 if that alone is short enough.
pub(crate) fn label_of(cid: &Cid) -> Option<String> {
    let v1 = cid.into_v1().ok()?;
    [Base::Base32Lower, Base::Base36Lower]
        .into_iter()
        .filter_map(|base| v1.to_string_of_base(base).ok())
        .find(|label| label.len() <= LABEL_BYTES_MAX)
}

/// The host as the client sent it, once and only once.
fn raw_host<B>(request: &Request<B>) -> Result<&str, Failure> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().ok_or(Failure::HostMissing)?.to_str().map_err(|_| Failure::HostMalformed)?;
    // A target in absolute form must say the same.
    let target = request.uri().authority().map_or(host, Authority::as_str);
    if hosts.next().is_some() || !target.eq_ignore_ascii_case(host) {
        return Err(Failure::HostMalformed);
    }
    Ok(host)
}

/// A host's name, without its port and final dot.
pub(crate) fn name_of(host: &str) -> Result<&str, Failure> {
    let end = |mark| host.bytes().position(|byte| byte == mark);
    let bracket = if host.starts_with('[') { end(b']').map_or(0, |at| at + 1) } else { 0 };
    let colon = host.get(bracket..).and_then(|rest| rest.bytes().position(|byte| byte == b':'));
    let colon = colon.map_or(host.len(), |at| bracket + at);
    let (name, port) = host.split_at(colon);
    let port_ok = port.is_empty() || port.get(1..).is_some_and(is_port);
    let name_ok = match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
        None => is_name(name),
    };
    if name_ok && port_ok { Ok(name.strip_suffix('.').unwrap_or(name)) } else { Err(Failure::HostMalformed) }
}

/// A name in lower case: as it is, mostly.
pub(crate) fn lowercase(name: &str) -> Cow<'_, str> {
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

fn strip_suffix_ignore_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (rest, end) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}

fn is_port(port: &str) -> bool {
    (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

fn is_name(name: &str) -> bool {
    let byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !name.is_empty() && name.len() <= 255 && name.bytes().all(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

    fn names() -> Names {
        Names::new(&Config { path_names: vec!["edge.example".to_owned()], ..Config::default() })
    }

    fn classify(host: &str) -> Result<Host<'_>, Failure> {
        names().classify(host)
    }

    #[test]
    fn addresses_and_configured_names_are_path_gateways() {
        for host in ["127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:80", "edge.example", "EDGE.example.:80"] {
            assert_eq!(classify(host).unwrap(), Host::Path, "{host}");
        }
    }

    #[test]
    fn subdomains_are_content() {
        let (lower, mixed) = (format!("{CID}.ipfs.localhost:8080"), format!("{CID}.IPFS.LocalHost"));
        let content = |authority| Host::Content { label: CID, authority };
        assert_eq!(classify(&lower).unwrap(), content("localhost:8080"));
        assert_eq!(classify(&mixed).unwrap(), content("LocalHost"));
        assert_eq!(classify("localhost:1").unwrap(), Host::Subdomains { authority: "localhost:1" });
        let named = Host::Named { label: "a.b", key: "a.b.ipns", authority: "localhost:1" };
        assert_eq!(classify("a.b.ipns.localhost:1").unwrap(), named);
        for host in ["elsewhere.example", "xlocalhost", ".localhost", "a.localhost", "ipfs.localhost"] {
            assert_eq!(classify(host).unwrap(), Host::Other { name: host, authority: host });
        }
    }

    #[test]
    fn a_label_is_a_cid_in_lower_case() {
        let cid: Cid = CID.parse().unwrap();
        let base36 = cid.to_string_of_base(Base::Base36Lower).unwrap();
        assert_eq!(Label::content(CID).unwrap(), Label::Site(Site::Root(cid)));
        assert_eq!(Label::content(&base36).unwrap(), Label::Alias(Site::Root(cid)));
        for label in ["", "x.y", &CID.to_ascii_uppercase(), "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR"] {
            assert!(matches!(Label::content(label), Err(Failure::CidMalformed)), "{label}");
        }
        assert!(matches!(Label::content(&"b".repeat(64)), Err(Failure::LabelTooLong(64))));
    }

    #[test]
    fn a_name_may_be_inlined() {
        let site = |name: &str| Label::Site(Site::Name(name.to_owned()));
        assert_eq!(inlined("en.wikipedia-on-ipfs.example.org"), "en-wikipedia--on--ipfs-example-org");
        for label in ["en.wikipedia-on-ipfs.example.org", "en-wikipedia--on--ipfs-example-org"] {
            assert_eq!(Label::named(label).unwrap(), site("en.wikipedia-on-ipfs.example.org"));
        }
        let key = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8";
        assert_eq!(Label::named(key).unwrap(), site(key));
        let other =
            Cid::new_v1(0x70, *key.parse::<Cid>().unwrap().hash()).to_string_of_base(Base::Base36Lower).unwrap();
        assert_eq!(Label::named(&other).unwrap(), Label::Alias(Site::Name(key.to_owned())));
        for label in ["", "x", "-", "a..b", "a_b"] {
            assert!(Label::named(label).is_err(), "{label}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in ["", ":80", "a b", "localhost:99999", "localhost:", "[::1", "[x]", "a/b", "localhost:80:80"] {
            assert!(matches!(classify(host), Err(Failure::HostMalformed)), "{host}");
        }
    }

    #[test]
    fn a_host_is_named_once() {
        let twice = Request::builder().header("host", "localhost").header("host", "localhost").body(()).unwrap();
        assert!(matches!(Seen::of(&twice, false, false), Err(Failure::HostMalformed)));
        assert!(matches!(Seen::of(&Request::new(()), false, false), Err(Failure::HostMissing)));
        let other = Request::builder().uri("http://other/").header("host", "localhost").body(()).unwrap();
        assert!(matches!(Seen::of(&other, false, false), Err(Failure::HostMalformed)));
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let request = Request::builder()
            .header("host", "inner")
            .header("x-forwarded-host", "outer, inner")
            .header("x-forwarded-proto", "https")
            .body(())
            .unwrap();
        let seen = |trusted| Seen::of(&request, trusted, false).map(|seen| (seen.authority, seen.scheme())).unwrap();
        assert_eq!((seen(false), seen(true)), (("inner", "http"), ("outer", "https")));
    }
}
