//! What an operator can set about asking routers. Plain data; nothing here is kept.

use std::time::Duration;

use atoll_core::{Multiaddr, Reach};
use http::Uri;
use multiaddr::Protocol;
use serde::{Deserialize, Serialize};

/// The most routers.
const URLS_MAX: usize = 32;

/// The `[delegated.routers]` section: routers of others that are asked who has content (Delegated Routing V1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoutersConfig {
    /// Their URLs, such as `https://delegated-ipfs.dev`; empty: nobody is asked.
    pub urls: Vec<String>,
    /// How long one answer may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The largest answer, in bytes; what comes after is left.
    pub bytes_max: usize,
    /// The most records that are read of one answer.
    pub records_max: usize,
    /// The most peers that are taken of one answer, each tried first.
    pub providers_max: usize,
    /// The most peers of one router that are tried at the same time.
    pub probes_max: usize,
    /// How long a router that failed is left alone at first; doubles with each failure in a row.
    #[serde(with = "humantime_serde")]
    pub backoff_min: Duration,
    /// The longest that a router is left alone.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// Whether addresses of this machine and of private networks are believed of every router. Otherwise only of one whose own
    /// URL names an address as near.
    pub private: bool,
}

impl Default for RoutersConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            timeout: Duration::from_secs(10),
            bytes_max: 1024 * 1024,
            records_max: 200,
            providers_max: 16,
            probes_max: 16,
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            private: false,
        }
    }
}

impl RoutersConfig {
    /// Every problem of this configuration, each naming its setting; empty when there is none.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.urls.len() > URLS_MAX {
            problems.push(format!("urls: {} routers are over the limit of {URLS_MAX}", self.urls.len()));
        }
        for text in self.urls.iter().filter(|text| Base::parse(text).is_none()) {
            problems
                .push(format!("urls: `{text}` is not a URL such as https://router.example or http://192.0.2.1:8190"));
        }
        let mut within = |name: &str, value: usize, least: usize, most: usize| {
            if !(least..=most).contains(&value) {
                problems.push(format!("{name}: must lie between {least} and {most}"));
            }
        };
        within("bytes_max", self.bytes_max, 1024, 64 << 20);
        within("records_max", self.records_max, 1, 10_000);
        within("providers_max", self.providers_max, 1, 64);
        within("probes_max", self.probes_max, 1, 256);
        for (name, value) in [("timeout", self.timeout), ("backoff_min", self.backoff_min)] {
            if value.is_zero() || value > Duration::from_secs(300) {
                problems.push(format!("{name}: must lie between 1 ms and 5 min"));
            }
        }
        if self.backoff_max < self.backoff_min {
            problems.push("backoff_max: must not be below backoff_min".to_owned());
        }
        problems
    }
}

/// Where a router is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// Its URL, without a slash at the end.
    pub(super) url: String,
    /// How near it is.
    pub(super) reach: Reach,
}

impl Base {
    /// Reads `http://` or `https://`, a host, perhaps a port and a path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.trim_end_matches('/').parse().ok()?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.query().is_some() {
            return None;
        }
        let host = authority.host();
        let address = match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => Multiaddr::from(std::net::IpAddr::clone(&ip)),
            Err(_) => Multiaddr::empty().with(Protocol::Dns(host.into())),
        };
        Some(Self { url: text.trim_end_matches('/').to_owned(), reach: Reach::of(&address) })
    }
}
