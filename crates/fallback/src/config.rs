//! What an operator can set about origins. Plain data; a crash loses nothing.

mod pool;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bucket::BucketConfig;
use crate::origin::Origin;

pub use pool::{Choose, Hedge, PoolConfig, ProbeConfig};

/// The most requests that one origin may have in flight, or waiting.
const REQUESTS_MAX: usize = 1 << 20;

/// A server that a site is before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OriginConfig {
    /// Its scheme, host and port: `https://origin.example`, `http://10.0.0.7:3000`.
    pub url: String,
    /// What it is told the host is: empty for that of its URL, `client` for the one that the visitor asked for, else this name.
    pub host: String,
    /// What it is called in figures, routes and drills; empty for the host and port of its URL.
    pub name: String,
    /// Its share of the requests, beside the others' weights, if `pool.choose` is `weight`.
    pub weight: u32,
    /// Whether it is asked only when none of the others can be.
    pub backup: bool,
    /// Whether it is spoken to in HTTP/2, in plain text too (gRPC needs that). Upgrades and 1xx answers need HTTP/1.1.
    pub http2: bool,
    /// The name that its certificate is for, and that it is told in the TLS handshake; empty for the host of its URL.
    pub sni: String,
    /// File with the certificates (PEM) by which it knows this node (mutual TLS); empty for none.
    pub client_certificate: String,
    /// File with the key (PEM) of the first of them.
    pub client_key: String,
    /// Whether requests carry this node's signature (RFC 9421), so that it can refuse others'.
    pub sign: bool,
    /// The bucket that it is, if it is one of an S3-compatible store at that URL.
    pub bucket: BucketConfig,
    /// The most requests that it has in flight.
    pub requests: usize,
    /// The most requests that wait until it has fewer; any more go elsewhere, or are answered 503.
    pub pending: usize,
}

impl Default for OriginConfig {
    fn default() -> Self {
        let none = String::new;
        Self {
            url: none(),
            host: none(),
            name: none(),
            weight: 1,
            backup: false,
            http2: false,
            sni: none(),
            client_certificate: none(),
            client_key: none(),
            sign: false,
            bucket: BucketConfig::default(),
            requests: 1024,
            pending: 1024,
        }
    }
}

/// How long each step may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Resolving and connecting, with TLS; and waiting while an origin has too many requests in flight.
    #[serde(with = "humantime_serde")]
    pub connect: Duration,
    /// From the last byte of a request to the head of its answer.
    #[serde(with = "humantime_serde")]
    pub first_byte: Duration,
    /// Between two parts of an answer.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// How long an unused connection is kept; shorter than the origin keeps it, or requests meet connections that it has just closed.
    /// Many servers keep them for 5 s.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            keep_alive: Duration::from_secs(4),
        }
    }
}

impl OriginConfig {
    /// Every problem of it, each naming its setting; empty when there is none.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = Origin::parse(self).err().into_iter().collect();
        if self.weight == 0 || self.weight > 1000 {
            problems.push(format!("weight: {} is not between 1 and 1000", self.weight));
        }
        if self.requests == 0 || self.requests.max(self.pending) > REQUESTS_MAX {
            problems.push(format!("requests, pending: are over {REQUESTS_MAX}, or no request may be in flight"));
        }
        if self.client_certificate.is_empty() != self.client_key.is_empty() {
            problems.push("client_certificate, client_key: one is of no use without the other".to_owned());
        }
        problems
    }
}

impl Timeouts {
    /// Every problem of it, each naming its setting; empty when there is none.
    pub fn problems(&self) -> Vec<String> {
        let all = [
            ("connect", self.connect),
            ("first_byte", self.first_byte),
            ("idle", self.idle),
            ("keep_alive", self.keep_alive),
        ];
        all.into_iter().filter_map(|(name, value)| pool::out_of_bounds(name, value)).collect()
    }
}
