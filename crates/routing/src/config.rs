//! Settings of routing: every delay and every limit, with defaults for the open internet. Read once at start; nothing here is kept.

use std::str::FromStr;
use std::time::Duration;

use atoll_core::Cid;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The `[routing]` section of `node.toml`. Durations read as `10s`, `1m 30s`, `24h`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How often each known member is asked for records that are news to us.
    #[serde(with = "humantime_serde")]
    pub gossip_interval: Duration,
    /// How many members are asked, and told, at a time.
    pub gossip_fan_out: usize,
    /// How long news is gathered before it is announced.
    #[serde(with = "humantime_serde")]
    pub announce_delay: Duration,
    /// How often a member must show that it lives.
    #[serde(with = "humantime_serde")]
    pub probe_interval: Duration,
    /// How many probes in a row may fail before a member counts as dead.
    pub probes_missed_max: u32,
    /// Up to so many members all are probed each time; beyond, those that matter for the sites held here, and a sample.
    pub probe_all_max: usize,
    /// The most probes at one time.
    pub probes_at_once_max: usize,
    /// How long one question to a member may take.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How often placement is worked out again when nothing has changed.
    #[serde(with = "humantime_serde")]
    pub plan_interval: Duration,
    /// How long the members that decide a rank must be stable before this node pulls a site.
    #[serde(with = "humantime_serde")]
    pub take_over_after: Duration,
    /// How long a site is kept after this node fell out of its rank, or its placement expired.
    #[serde(with = "humantime_serde")]
    pub let_go_after: Duration,
    /// The most sites pulled at one time.
    pub pulls_max: usize,
    /// The most blocks asked for at one time within one pull.
    pub pull_fetches_max: usize,
    /// How long to wait after a first failed pull; doubles with each.
    #[serde(with = "humantime_serde")]
    pub pull_retry_min: Duration,
    /// The longest wait after a failed pull.
    #[serde(with = "humantime_serde")]
    pub pull_retry_max: Duration,
    /// How long a member that sent wrong bytes is left alone at first; doubles with each lie.
    #[serde(with = "humantime_serde")]
    pub lie_backoff_min: Duration,
    /// The longest that a liar is left alone.
    #[serde(with = "humantime_serde")]
    pub lie_backoff_max: Duration,
    /// How long this node's own member record counts; it is signed anew at half of it.
    #[serde(with = "humantime_serde")]
    pub member_lifetime: Duration,
    /// Member records that expire later than this from now are refused.
    #[serde(with = "humantime_serde")]
    pub member_lifetime_max: Duration,
    /// Placement records that expire later than this from now are refused.
    #[serde(with = "humantime_serde")]
    pub placement_lifetime_max: Duration,
    /// The most members that are known at one time.
    pub members_max: usize,
    /// The most placements that are known at one time.
    pub placements_max: usize,
    /// How many IPNS records of names that are news here are taken from members in a minute.
    pub names_new_per_minute: u32,
    /// How many newer IPNS records of names that are known, or of placed sites, are taken from members in a minute.
    pub names_known_per_minute: u32,
    /// How long changed records are gathered before they are written to disk.
    #[serde(with = "humantime_serde")]
    pub persist_delay: Duration,
    /// How blocks are fetched from members.
    pub fetch: FetchConfig,
}

impl Default for Config {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            gossip_interval: Duration::from_secs(30),
            gossip_fan_out: 16,
            announce_delay: Duration::from_millis(50),
            probe_interval: Duration::from_secs(10),
            probes_missed_max: 3,
            probe_all_max: 64,
            probes_at_once_max: 32,
            request_timeout: Duration::from_secs(5),
            plan_interval: Duration::from_secs(1),
            take_over_after: MINUTE,
            let_go_after: DAY,
            pulls_max: 2,
            pull_fetches_max: 16,
            pull_retry_min: Duration::from_secs(5),
            pull_retry_max: 10 * MINUTE,
            lie_backoff_min: 10 * MINUTE,
            lie_backoff_max: DAY,
            member_lifetime: DAY,
            member_lifetime_max: 7 * DAY,
            placement_lifetime_max: 400 * DAY,
            members_max: 1024,
            placements_max: 10_000,
            names_new_per_minute: 600,
            names_known_per_minute: 6000,
            persist_delay: Duration::from_secs(2),
            fetch: FetchConfig::default(),
        }
    }
}

impl Config {
    /// Delays for a demonstration on loopback: a dead node is noticed within two seconds, its sites move after three.
    #[must_use]
    pub fn demo() -> Self {
        Self {
            gossip_interval: Duration::from_secs(2),
            announce_delay: Duration::from_millis(10),
            probe_interval: Duration::from_millis(500),
            probes_missed_max: 3,
            request_timeout: Duration::from_secs(2),
            plan_interval: Duration::from_millis(200),
            take_over_after: Duration::from_secs(3),
            pull_retry_min: Duration::from_millis(500),
            pull_retry_max: Duration::from_secs(10),
            persist_delay: Duration::from_millis(500),
            ..Self::default()
        }
    }

    /// Everything that is wrong with it, each as a sentence that names the key; empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut at_least = |name: &str, value: Duration, least: Duration| {
            if value < least {
                problems.push(format!("{name}: must be at least {} ms", least.as_millis()));
            }
        };
        let (tick, second) = (Duration::from_millis(10), Duration::from_secs(1));
        at_least("gossip_interval", self.gossip_interval, tick);
        at_least("probe_interval", self.probe_interval, tick);
        at_least("plan_interval", self.plan_interval, tick);
        at_least("request_timeout", self.request_timeout, tick);
        at_least("pull_retry_min", self.pull_retry_min, tick);
        at_least("lie_backoff_min", self.lie_backoff_min, second);
        at_least("member_lifetime", self.member_lifetime, Duration::from_secs(60));
        at_least("fetch.hedge_min", self.fetch.hedge_min, Duration::from_millis(1));
        at_least("fetch.block_timeout", self.fetch.block_timeout, tick);
        at_least("fetch.total_timeout", self.fetch.total_timeout, tick);
        let mut within = |name: &str, value: usize, most: usize| {
            if !(1..=most).contains(&value) {
                problems.push(format!("{name}: must lie between 1 and {most}"));
            }
        };
        within("gossip_fan_out", self.gossip_fan_out, 256);
        within("probes_missed_max", usize::try_from(self.probes_missed_max).unwrap_or(usize::MAX), 1000);
        within("probes_at_once_max", self.probes_at_once_max, 1024);
        within("pulls_max", self.pulls_max, 64);
        within("pull_fetches_max", self.pull_fetches_max, 256);
        within("members_max", self.members_max, 100_000);
        within("placements_max", self.placements_max, 1_000_000);
        let count = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        within("names_new_per_minute", count(self.names_new_per_minute), 1_000_000);
        within("names_known_per_minute", count(self.names_known_per_minute), 1_000_000);
        within("fetch.racers_max", self.fetch.racers_max, 64);
        within("fetch.candidates_max", self.fetch.candidates_max, 1024);
        if self.member_lifetime > self.member_lifetime_max {
            problems.push("member_lifetime: must not exceed member_lifetime_max".to_owned());
        }
        problems
    }
}

/// The `[routing.fetch]` section: how blocks come from members, for visitors and for pulls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FetchConfig {
    /// Whether a block that was fetched for a visitor is kept, unpinned.
    pub keep: bool,
    /// The shortest time before a second member is asked for the same block.
    #[serde(with = "humantime_serde")]
    pub hedge_min: Duration,
    /// The longest time before a second member is asked.
    #[serde(with = "humantime_serde")]
    pub hedge_max: Duration,
    /// How long one member may take over one block.
    #[serde(with = "humantime_serde")]
    pub block_timeout: Duration,
    /// How long one block may take altogether.
    #[serde(with = "humantime_serde")]
    pub total_timeout: Duration,
    /// The most members asked at one time for one block.
    pub racers_max: usize,
    /// The most members asked at all for one block.
    pub candidates_max: usize,
    /// How long it is remembered that nobody has a block.
    #[serde(with = "humantime_serde")]
    pub negative_ttl: Duration,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            keep: true,
            hedge_min: Duration::from_millis(20),
            hedge_max: Duration::from_millis(500),
            block_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(10),
            racers_max: 3,
            candidates_max: 16,
            negative_ttl: Duration::from_secs(2),
        }
    }
}

/// What a public gateway may fetch for a visitor, beyond what the node holds: `gateway.fetch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FetchPolicy {
    /// Nothing.
    Held,
    /// Sites with a live placement record that this node accepts.
    #[default]
    Placed,
    /// DAGs under the listed roots.
    AllowList(Vec<Root>),
    /// Everything that any member holds. Makes the node a relay for strangers.
    Any,
}

/// A root CID that reads and writes as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root(pub Cid);

impl Serialize for Root {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Cid::from_str(&text).map(Self).map_err(|e| serde::de::Error::custom(format!("`{text}` is not a CID: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_come_back_from_toml() {
        for config in [Config::default(), Config::demo()] {
            assert_eq!(config.problems(), Vec::<String>::new());
            let text = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
        }
        let error = toml::from_str::<Config>("gosip_interval = '1s'").unwrap_err().to_string();
        assert!(error.contains("gosip_interval"), "{error}");
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let config = Config { probe_interval: Duration::ZERO, pulls_max: 0, ..Config::default() };
        assert_eq!(config.problems().len(), 2);
    }

    #[test]
    fn policies_read_as_documented() {
        #[derive(Deserialize)]
        struct Gateway {
            fetch: FetchPolicy,
        }
        let read = |text: &str| toml::from_str::<Gateway>(text).map(|gateway| gateway.fetch);
        assert_eq!(read("fetch = 'placed'").unwrap(), FetchPolicy::Placed);
        let cid: Cid = "bafkqaaa".parse().unwrap();
        assert_eq!(read("fetch = { allow-list = ['bafkqaaa'] }").unwrap(), FetchPolicy::AllowList(vec![Root(cid)]));
        assert!(read("fetch = 'all'").is_err());
    }
}
