//! What an operator can set about answering Delegated Routing. Plain data; nothing here is kept.

use std::net::SocketAddr;
use std::time::Duration;

use atoll_routing::RoutersConfig;
use serde::{Deserialize, Serialize};

/// The most addresses to listen on.
const LISTEN_MAX: usize = 8;

/// Delegated Routing V1 over HTTP: answering others, and asking others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DelegatedConfig {
    /// Addresses to answer on, such as `127.0.0.1:8190`; empty: nobody is answered.
    pub listen: Vec<SocketAddr>,
    /// The most connections.
    pub connections: usize,
    /// The most connections from one address.
    pub connections_per_address: usize,
    /// The most questions that are worked on at the same time; further ones are told to come again.
    pub searches: usize,
    /// How long one question is worked on. What was found by then is the answer.
    #[serde(with = "humantime_serde")]
    pub search_timeout: Duration,
    /// The most records in an answer that is one list.
    pub records_max: usize,
    /// The most records in an answer that is a stream.
    pub stream_records_max: usize,
    /// Whether IPNS records of others are taken, kept and passed on, as far as `routing.names_new_per_minute` and
    /// `routing.names_known_per_minute` allow.
    pub publish: bool,
    /// Whether addresses of this machine and of private networks are told. Otherwise only on a listener that is as near itself.
    pub private: bool,
    /// Routers of others that this node asks.
    pub routers: RoutersConfig,
}

impl Default for DelegatedConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            connections: 1024,
            connections_per_address: 64,
            searches: 128,
            search_timeout: Duration::from_secs(10),
            records_max: 100,
            stream_records_max: 1000,
            publish: true,
            private: false,
            routers: RoutersConfig::default(),
        }
    }
}

impl DelegatedConfig {
    /// Every problem of this configuration, each naming its setting; empty when there is none.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.listen.len() > LISTEN_MAX {
            problems.push(format!("listen: {} addresses are over the limit of {LISTEN_MAX}", self.listen.len()));
        }
        let mut within = |name: &str, value: usize, most: usize| {
            if !(1..=most).contains(&value) {
                problems.push(format!("{name}: must lie between 1 and {most}"));
            }
        };
        within("connections", self.connections, 65_536);
        within("connections_per_address", self.connections_per_address, 65_536);
        within("searches", self.searches, 65_536);
        within("records_max", self.records_max, 1000);
        within("stream_records_max", self.stream_records_max, 100_000);
        if self.search_timeout.is_zero() || self.search_timeout > Duration::from_secs(300) {
            problems.push("search_timeout: must lie between 1 ms and 5 min".to_owned());
        }
        problems.extend(self.routers.problems().into_iter().map(|problem| format!("routers.{problem}")));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_problems_name_their_setting() {
        let config = DelegatedConfig::default();
        assert_eq!(config.problems(), Vec::<String>::new());
        assert_eq!(toml::from_str::<DelegatedConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        let routers = RoutersConfig { urls: vec!["nowhere".to_owned()], ..RoutersConfig::default() };
        let wrong = DelegatedConfig { searches: 0, search_timeout: Duration::ZERO, routers, ..config };
        let problems = wrong.problems();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[2].starts_with("routers.urls: "), "{problems:?}");
    }
}
