//! What an operator can set about how a site's origins share its requests, and when one is left out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a site's origins share its requests, and when one is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// Which origin is asked: the first that can be (`order`), or each by its share (`weight`).
    pub choose: Choose,
    /// After so many failures in a row an origin is left out for a while; 0: never for that.
    pub failures: u32,
    /// An origin is left out, too, when it fails more than the others together do, by so many points of a hundred (counted every 10 s,
    /// from 20 requests on); 0: never for that.
    pub gap_percent: u32,
    /// For how long it is left out the first time; twice as long each time after that.
    #[serde(with = "humantime_serde")]
    pub ejected: Duration,
    /// For how long at most.
    #[serde(with = "humantime_serde")]
    pub ejected_max: Duration,
    /// How many of the origins may be left out at a time, of a hundred; one of several may always be, and the last never is.
    pub ejected_percent_max: u32,
    /// How long it takes from a tenth of its share to all of it, once it is back.
    #[serde(with = "humantime_serde")]
    pub slow_start: Duration,
    /// After which time without an answer another origin is asked too, for GET and HEAD: a time, `p95` for the one that 95 of a hundred
    /// answers take at most, or `off`.
    pub hedge: Hedge,
    /// How many requests may be sent a second time, of a hundred: after a failure, or because the answer is late.
    pub retry_percent: u32,
    /// How many may be so at any rate, each second; ten times as many at once.
    pub retries_per_second: u32,
    /// How often names of origins are looked up again.
    #[serde(with = "humantime_serde")]
    pub resolve: Duration,
    /// Asking origins whether they are well.
    pub probe: ProbeConfig,
}

/// Which origin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choose {
    /// The first that can be.
    Order,
    /// Each by its share.
    Weight,
}

/// When another origin is asked too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Hedge {
    /// Never.
    Off,
    /// After the time that 95 of a hundred answers take at most.
    P95,
    /// After this time.
    After(Duration),
}

/// Asking origins whether they are well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// Path that is asked for with GET; a status of 200 to 399 is well. Empty: origins are not probed.
    pub path: String,
    /// How often.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// How long each may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// After so many in a row that go wrong, an origin is left out.
    pub unhealthy: u32,
    /// After so many in a row that go well, it is back.
    pub healthy: u32,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            choose: Choose::Order,
            failures: 3,
            gap_percent: 30,
            ejected: Duration::from_secs(10),
            ejected_max: Duration::from_secs(300),
            ejected_percent_max: 66,
            slow_start: Duration::from_secs(10),
            hedge: Hedge::After(Duration::from_secs(2)),
            retry_percent: 5,
            retries_per_second: 1,
            resolve: Duration::from_secs(30),
            probe: ProbeConfig::default(),
        }
    }
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            unhealthy: 3,
            healthy: 2,
        }
    }
}

impl TryFrom<String> for Hedge {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match &*text {
            "off" => Ok(Self::Off),
            "p95" => Ok(Self::P95),
            time => {
                let time = humantime_serde::re::humantime::parse_duration(time).ok().filter(|time| !time.is_zero());
                time.map(Self::After).ok_or_else(|| format!("`{text}` is neither a time, nor `p95`, nor `off`"))
            }
        }
    }
}

impl From<Hedge> for String {
    fn from(hedge: Hedge) -> Self {
        match hedge {
            Hedge::Off => "off".to_owned(),
            Hedge::P95 => "p95".to_owned(),
            Hedge::After(time) => humantime_serde::re::humantime::format_duration(time).to_string(),
        }
    }
}

impl PoolConfig {
    /// Every problem of it, each naming its setting; empty when there is none.
    pub fn problems(&self) -> Vec<String> {
        let times = [
            ("ejected", self.ejected),
            ("ejected_max", self.ejected_max),
            ("resolve", self.resolve),
            ("probe.interval", self.probe.interval),
            ("probe.timeout", self.probe.timeout),
        ];
        let mut problems: Vec<String> =
            times.into_iter().filter_map(|(name, time)| out_of_bounds(name, time)).collect();
        let percents = [
            ("gap_percent", self.gap_percent),
            ("ejected_percent_max", self.ejected_percent_max),
            ("retry_percent", self.retry_percent),
        ];
        for (name, percent) in percents.into_iter().filter(|(_, percent)| *percent > 100) {
            problems.push(format!("{name}: {percent} is over 100"));
        }
        if self.retries_per_second > 1000 {
            problems.push("retries_per_second: is over 1000".to_owned());
        }
        if self.slow_start > Duration::from_secs(3600) {
            problems.push("slow_start: must be at most 1 h".to_owned());
        }
        let probe = &self.probe;
        if !probe.path.is_empty() && !is_path(&probe.path) {
            problems.push(format!(
                "probe.path: `{}` does not begin with a slash, or has bytes that no path has",
                probe.path
            ));
        }
        if probe.unhealthy == 0 || probe.healthy == 0 {
            problems.push("probe.unhealthy, probe.healthy: must be over 0".to_owned());
        }
        problems
    }
}

/// Whether it can stand in a request.
pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= 1024 && path.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What is wrong with a time that must be neither nothing nor over an hour.
pub(super) fn out_of_bounds(name: &str, time: Duration) -> Option<String> {
    let wrong = time.is_zero() || time > Duration::from_secs(3600);
    wrong.then(|| format!("{name}: must be over 0 s and at most 1 h"))
}
