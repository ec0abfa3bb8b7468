//! What an operator can set about certificates. Plain data; a crash loses nothing.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::acme::config::Acme;

/// The most pairs of files.
const FILES_MAX: usize = 1_000;
/// The most names of the self-signed certificate.
const NAMES_MAX: usize = 100;

/// Certificates for the listeners that speak TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Certificates from files, each with its chain, as PEM: `[{ certificate = "/…/fullchain.pem", key = "/…/privkey.pem" }]`.
    /// The first is for clients that name no host.
    pub files: Vec<Pair>,
    /// How often the files are looked at. What is wrong with new content is logged, and what was there before serves on.
    #[serde(with = "humantime_serde")]
    pub reload: Duration,
    /// Host names and addresses of a certificate that the node signs itself, for local use; empty: none.
    pub self_signed: Vec<String>,
    /// Certificates by ACME, which every client believes.
    pub acme: Acme,
}

/// The files of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The certificate, and what is above it up to the root's.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        let own = ["localhost", "*.ipfs.localhost", "*.ipns.localhost", "127.0.0.1", "::1"];
        Self {
            files: Vec::new(),
            reload: Duration::from_secs(10),
            self_signed: own.map(str::to_owned).to_vec(),
            acme: Acme::default(),
        }
    }
}

impl Config {
    /// Every problem of this configuration, each naming its setting; empty when there is none.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.files.len() > FILES_MAX {
            problems.push(format!("files: {} pairs are over the limit of {FILES_MAX}", self.files.len()));
        }
        if self.reload < Duration::from_secs(1) || self.reload > Duration::from_secs(86_400) {
            problems.push("reload: must lie between 1 s and 1 day".to_owned());
        }
        if self.self_signed.len() > NAMES_MAX {
            problems.push(format!("self_signed: {} names are over the limit of {NAMES_MAX}", self.self_signed.len()));
        }
        for name in self.self_signed.iter().filter(|name| !is_name(name)) {
            problems.push(format!("self_signed: {name:?} is neither a host name in lower case nor an address"));
        }
        self.acme.check(&mut problems);
        problems
    }
}

/// Whether a certificate can hold for it: an address, or a name in lower case, of which the first label may be `*`.
pub(crate) fn is_name(name: &str) -> bool {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(inner)
    };
    name.parse::<IpAddr>().is_ok() || (host.len() <= 253 && host.split('.').all(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_reported_together() {
        assert_eq!(Config::default().problems(), Vec::<String>::new());
        let config = Config {
            reload: Duration::ZERO,
            self_signed: ["a.example", "*.b", "10.0.0.1", "B.example", "a..b", "*", ""].map(str::to_owned).to_vec(),
            ..Config::default()
        };
        assert_eq!(config.problems().len(), 5);
    }
}
