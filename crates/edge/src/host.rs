//! Which kind of site a request's host names. Pure; a crash loses nothing.

use std::net::{IpAddr, Ipv6Addr};

use atoll_core::Cid;
use http::uri::Authority;
use http::{Request, header};
use multibase::Base;

use crate::config::Config;
use crate::failure::Failure;

/// The longest label of a host name (RFC 1035, section 2.3.4).
pub(crate) const LABEL_BYTES_MAX: usize = 63;

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
}

/// What a label names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// The content of that root.
    Root(Cid),
    /// The same, in another form than the canonical label.
    Alias(Cid),
}

impl Names {
    pub(crate) fn new(config: &Config) -> Self {
        Self { path: config.path_names.clone(), subdomain: config.subdomain_names.clone() }
    }

    /// Finds out what the host of `request` stands for.
    ///
    /// # Errors
    /// [`Failure`] if it is missing, doubled, malformed or unknown.
    pub(crate) fn classify<'a, B>(&self, request: &'a Request<B>) -> Result<Host<'a>, Failure> {
        let authority = raw_host(request)?;
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
        let below = |known: &String| {
            let at = name.len().checked_sub(known.len())?;
            let label = strip_suffix_ignore_case(name.get(..at)?, ".ipfs.")?;
            let same = name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(known));
            same.then_some(Host::Content { label, authority: authority.get(at..)? })
        };
        self.subdomain.iter().find_map(below).ok_or(Failure::HostUnknown)
    }
}

impl Label {
    /// Reads a label. Browsers send it in lower case: in any other, a CID would name something else, or nothing.
    ///
    /// # Errors
    /// [`Failure::LabelTooLong`] or [`Failure::CidMalformed`].
    pub(crate) fn parse(label: &str) -> Result<Self, Failure> {
        if label.len() > LABEL_BYTES_MAX {
            return Err(Failure::LabelTooLong(label.len()));
        }
        if label.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(Failure::CidMalformed);
        }
        let cid: Cid = label.parse().map_err(|_| Failure::CidMalformed)?;
        Ok(if label_of(&cid).as_deref() == Some(label) { Self::Root(cid) } else { Self::Alias(cid) })
    }
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
pub(crate) fn raw_host<B>(request: &Request<B>) -> Result<&str, Failure> {
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
fn name_of(host: &str) -> Result<&str, Failure> {
    let bracket = host.find(']').map_or(0, |at| at + 1);
    let colon = host.get(bracket..).and_then(|rest| rest.find(':')).map_or(host.len(), |at| bracket + at);
    let (name, port) = host.split_at(colon);
    let port_ok = port.is_empty() || port.get(1..).is_some_and(is_port);
    let name_ok = match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
        None => is_name(name),
    };
    if name_ok && port_ok { Ok(name.strip_suffix('.').unwrap_or(name)) } else { Err(Failure::HostMalformed) }
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

    fn request(host: &str) -> Request<()> {
        Request::builder().header("host", host).body(()).unwrap()
    }

    fn failure(host: &str) -> Failure {
        names().classify(&request(host)).unwrap_err()
    }

    #[test]
    fn addresses_and_configured_names_are_path_gateways() {
        for host in ["127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:80", "edge.example", "EDGE.example.:80"] {
            assert_eq!(names().classify(&request(host)).unwrap(), Host::Path, "{host}");
        }
    }

    #[test]
    fn subdomains_are_content() {
        let (lower, mixed) = (format!("{CID}.ipfs.localhost:8080"), format!("{CID}.IPFS.LocalHost"));
        let content = |authority| Host::Content { label: CID, authority };
        assert_eq!(names().classify(&request(&lower)).unwrap(), content("localhost:8080"));
        assert_eq!(names().classify(&request(&mixed)).unwrap(), content("LocalHost"));
        let plain = request("localhost:1");
        assert_eq!(names().classify(&plain).unwrap(), Host::Subdomains { authority: "localhost:1" });
    }

    #[test]
    fn a_label_is_a_cid_in_lower_case() {
        let cid: Cid = CID.parse().unwrap();
        let base36 = cid.to_string_of_base(Base::Base36Lower).unwrap();
        assert_eq!(Label::parse(CID).unwrap(), Label::Root(cid));
        assert_eq!(Label::parse(&base36).unwrap(), Label::Alias(cid));
        for label in ["", "x.y", &CID.to_ascii_uppercase(), "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR"] {
            assert!(matches!(Label::parse(label), Err(Failure::CidMalformed)), "{label}");
        }
        assert!(matches!(Label::parse(&"b".repeat(64)), Err(Failure::LabelTooLong(64))));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in ["", ":80", "a b", "localhost:99999", "localhost:", "[::1", "[x]", "a/b", "localhost:80:80"] {
            assert!(matches!(failure(host), Failure::HostMalformed), "{host}");
        }
        for host in ["elsewhere.example", "xlocalhost", ".localhost", "a.localhost", "ipfs.localhost"] {
            assert!(matches!(failure(host), Failure::HostUnknown), "{host}");
        }
    }

    #[test]
    fn a_host_is_named_once() {
        let twice = Request::builder().header("host", "localhost").header("host", "localhost").body(()).unwrap();
        assert!(matches!(names().classify(&twice), Err(Failure::HostMalformed)));
        assert!(matches!(names().classify(&Request::new(())), Err(Failure::HostMissing)));
        let other = Request::builder().uri("http://other/").header("host", "localhost").body(()).unwrap();
        assert!(matches!(names().classify(&other), Err(Failure::HostMalformed)));
    }
}
