//! Settings of names, checked once, all problems together. Nothing is read after start.

use std::collections::BTreeMap;
use std::time::Duration;

use atoll_core::content_path::{ContentPath, Root};
use serde::{Deserialize, Serialize};

/// The most DNSLinks in the settings.
pub const DNSLINKS_MAX: usize = 1024;

/// The `[names]` section of `node.toml`. Durations read as `10s`, `5m`, `24h`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// DNSLinks: host names, and the content paths that they stand for, such as `"example.org" = "/ipns/k51…"`.
    pub dnslink: BTreeMap<String, String>,
    /// How long visitors may cache what those stand for.
    #[serde(with = "humantime_serde")]
    pub dnslink_ttl: Duration,
    /// The most IPNS records that are kept.
    pub records_max: usize,
    /// The most bytes of records that are kept, in memory and on disk.
    pub bytes_max: usize,
    /// How long a visitor waits for a name to be resolved.
    #[serde(with = "humantime_serde")]
    pub resolve_timeout: Duration,
    /// How long what is known is shown after its TTL while it is asked for again; older than that, a visitor waits.
    #[serde(with = "humantime_serde")]
    pub stale_max: Duration,
    /// How long a name that nobody knew, or nobody answered for, is not asked for again.
    #[serde(with = "humantime_serde")]
    pub retry_after: Duration,
    /// The most names that are asked for at one time.
    pub lookups_max: usize,
    /// How often the records that this node stands for are put to members again, until they expire.
    #[serde(with = "humantime_serde")]
    pub put_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            dnslink: BTreeMap::new(),
            dnslink_ttl: 5 * MINUTE,
            records_max: 10_000,
            bytes_max: 32 << 20,
            resolve_timeout: Duration::from_secs(10),
            stale_max: 24 * 60 * MINUTE,
            retry_after: Duration::from_secs(10),
            lookups_max: 32,
            put_interval: 4 * 60 * MINUTE,
        }
    }
}

impl Config {
    /// What the types cannot say, all of it, each behind the name of its setting.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.dnslink.len() > DNSLINKS_MAX {
            problems.push(format!("dnslink: has more than {DNSLINKS_MAX} entries"));
        }
        for (domain, target) in self.dnslink.iter().take(DNSLINKS_MAX) {
            if !matches!(domain.parse(), Ok(Root::Domain(_))) {
                problems.push(format!("dnslink: `{domain}` is not a host name with a dot in it"));
            }
            if let Err(why) = target.parse::<ContentPath>() {
                problems.push(format!("dnslink: {domain} = `{target}`: {why}"));
            }
        }
        let mut within = |name: &str, value: usize, most: usize| {
            if !(1..=most).contains(&value) {
                problems.push(format!("{name}: must lie between 1 and {most}"));
            }
        };
        within("records_max", self.records_max, 1_000_000);
        within("bytes_max", self.bytes_max, 1 << 30);
        within("lookups_max", self.lookups_max, 1024);
        let mut at_least = |name: &str, value: Duration, least: Duration| {
            if value < least {
                problems.push(format!("{name}: must be at least {} ms", least.as_millis()));
            }
        };
        at_least("resolve_timeout", self.resolve_timeout, Duration::from_millis(10));
        at_least("retry_after", self.retry_after, Duration::from_millis(100));
        at_least("put_interval", self.put_interval, Duration::from_secs(1));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_at_once() {
        let text = r#"
            records_max = 0
            put_interval = "0s"
            dnslink = { "example.org" = "/ipfs/bafkqaaa", "localhost" = "/ipns/example.org", "a.b" = "bafkqaaa" }
        "#;
        let config: Config = toml::from_str(text).unwrap();
        let problems = config.problems();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(Config::default().problems().is_empty());
        assert!(toml::from_str::<Config>("dns = 1").is_err());
    }

    #[test]
    fn of_dnslinks_there_are_at_most_so_many() {
        let link = |n: usize| (format!("{n}.example.org"), "/ipfs/bafkqaaa".to_owned());
        let mut config = Config { dnslink: (0..DNSLINKS_MAX).map(link).collect(), ..Config::default() };
        assert!(config.problems().is_empty());
        config.dnslink.extend([link(DNSLINKS_MAX)]);
        assert_eq!(config.problems().len(), 1);
    }
}
