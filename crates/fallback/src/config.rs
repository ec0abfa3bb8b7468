//! What an operator can set about origins. Plain data; a crash loses nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::origins::Origin;

/// A server that a site is before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OriginConfig {
    /// Its scheme, host and port: `https://origin.example`, `http://10.0.0.7:3000`.
    pub url: String,
    /// What it is told the host is: empty for that of its URL, `client` for the one that the visitor asked for, else this name.
    pub host: String,
}

/// How long each step may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Connecting, with TLS.
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
        Origin::parse(self).err().into_iter().collect()
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
        let wrong = |(_, value): &(&str, Duration)| value.is_zero() || *value > Duration::from_secs(3600);
        all.into_iter().filter(wrong).map(|(name, _)| format!("{name}: must be over 0 s and at most 1 h")).collect()
    }
}
