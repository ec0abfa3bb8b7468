//! What an operator can set about remote pinning. Plain data; a crash loses nothing.

use std::net::SocketAddr;
use std::time::Duration;

use multiaddr::{Multiaddr, Protocol};
use serde::{Deserialize, Serialize};

use crate::filter::LIMIT_MAX;
use crate::wire::DELEGATES_MAX;

/// The most addresses to listen on, and names in each list.
const LIST_MAX: usize = 64;

/// The `[pinning]` section: the IPFS Pinning Service API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses to listen on, such as `127.0.0.1:8082`; empty: no remote pinning. Needs `swarm.listen`. It speaks plain
    /// HTTP: put a proxy with TLS in front of it when publishers come over the internet.
    pub listen: Vec<SocketAddr>,
    /// Host names beside `localhost` and IP addresses under which it answers.
    pub hosts: Vec<String>,
    /// Origins of web pages that may ask, such as `https://app.example`; `*` for all.
    pub allowed_origins: Vec<String>,
    /// Addresses that publishers' nodes are told to connect to, each ending in `/p2p/PEER`; empty: those of the swarm.
    pub delegates: Vec<Multiaddr>,
    /// Whether addresses of this machine and of private networks are dialled when a publisher names them as origins.
    pub private_origins: bool,
    /// How many pins a list has when the publisher names no limit, 1 to 1000.
    pub page_size: usize,
    /// The most connections.
    pub connections: usize,
    /// The most pin requests of one publisher, whatever became of them.
    pub requests_per_publisher: usize,
    /// The most DAGs that are fetched at one time.
    pub at_once: usize,
    /// The most of these for one publisher.
    pub at_once_per_publisher: usize,
    /// How long somebody who has a DAG is sought before another gets the turn.
    #[serde(with = "humantime_serde")]
    pub seek_timeout: Duration,
    /// How long a request rests after it failed for the first time; twice as long each further time.
    #[serde(with = "humantime_serde")]
    pub retry_min: Duration,
    /// How long it rests at most.
    #[serde(with = "humantime_serde")]
    pub retry_max: Duration,
    /// How long after it was made a request that is not pinned yet fails for good.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            hosts: Vec::new(),
            allowed_origins: Vec::new(),
            delegates: Vec::new(),
            private_origins: false,
            page_size: 10,
            connections: 256,
            requests_per_publisher: 10_000,
            at_once: 8,
            at_once_per_publisher: 4,
            seek_timeout: Duration::from_secs(30),
            retry_min: Duration::from_secs(5),
            retry_max: Duration::from_secs(600),
            timeout: Duration::from_secs(24 * 3600),
        }
    }
}

impl Config {
    /// Every problem of this configuration, each behind the name of its setting; empty when there is none.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let lists = [
            ("listen", self.listen.len(), LIST_MAX),
            ("hosts", self.hosts.len(), LIST_MAX),
            ("allowed_origins", self.allowed_origins.len(), LIST_MAX),
            ("delegates", self.delegates.len(), DELEGATES_MAX),
        ];
        for (name, len, most) in lists {
            if len > most {
                problems.push(format!("{name}: {len} entries are over the limit of {most}"));
            }
        }
        for origin in self.allowed_origins.iter().filter(|origin| !is_origin(origin)) {
            problems
                .push(format!("allowed_origins: `{origin}` is neither `*` nor an origin such as https://app.example"));
        }
        for delegate in self.delegates.iter().filter(|address| !matches!(address.iter().last(), Some(Protocol::P2p(_))))
        {
            problems.push(format!("delegates: {delegate} does not end in /p2p/PEER"));
        }
        let counts = [
            ("page_size", self.page_size, LIMIT_MAX),
            ("connections", self.connections, 65_536),
            ("requests_per_publisher", self.requests_per_publisher, 1_000_000),
            ("at_once", self.at_once, 256),
            ("at_once_per_publisher", self.at_once_per_publisher, 256),
        ];
        for (name, value, most) in counts {
            if !(1..=most).contains(&value) {
                problems.push(format!("{name}: must lie between 1 and {most}"));
            }
        }
        let durations = [("seek_timeout", self.seek_timeout), ("retry_min", self.retry_min), ("timeout", self.timeout)];
        for (name, _) in durations.iter().filter(|(_, value)| *value < Duration::from_millis(10)) {
            problems.push(format!("{name}: must be at least 10 ms"));
        }
        if self.retry_max < self.retry_min {
            problems.push("retry_max: must not be shorter than retry_min".to_owned());
        }
        problems
    }
}

/// `*`, or scheme and authority (RFC 6454, section 6.2).
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_authority = |rest: &str| rest.parse::<http::uri::Authority>().is_ok_and(|parsed| parsed.as_str() == rest);
    text == "*" || rest.is_some_and(|rest| is_authority(rest) && !rest.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_named() {
        assert!(Config::default().problems().is_empty());
        let config = Config {
            allowed_origins: vec!["https://app.example/".to_owned(), "app.example".to_owned(), "*".to_owned()],
            delegates: vec!["/ip4/192.0.2.1/tcp/4001".parse().unwrap()],
            page_size: 1001,
            at_once: 0,
            retry_max: Duration::ZERO,
            ..Config::default()
        };
        let problems = config.problems();
        assert_eq!(problems.len(), 6, "{problems:#?}");
    }
}
