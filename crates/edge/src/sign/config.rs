//! What an operator can set about signing answers. Plain data; a crash loses nothing.

use std::time::Duration;

use atoll_core::signed::SKEW_SECONDS;
use serde::{Deserialize, Serialize};

/// Signing answers of sites whose bundle this node made (`docs/signed-answers.md`). Over a limit answers are sent unsigned, which is
/// no fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Signing {
    /// Whether answers are signed.
    pub enabled: bool,
    /// How long one signature is reused for the same object under the same host; at most 4 min. It counts for 5 min.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// Signatures in memory that are reused.
    pub kept: usize,
    /// Signatures a second for one address (IPv6: one /64), of those that are reused,
    pub per_address: u32,
    /// and of those over a nonce of the client's (`Atoll-Nonce`); over it the client gets one that is reused.
    pub nonces_per_address: u32,
    /// How many seconds' worth of them an address may ask for at once.
    pub burst: u32,
    /// Signatures a second in all; each costs about 0.1 ms of one core.
    pub per_second: u32,
}

impl Default for Signing {
    fn default() -> Self {
        Self {
            enabled: true,
            window: Duration::from_secs(60),
            kept: 65_536,
            per_address: 50,
            nonces_per_address: 5,
            burst: 10,
            per_second: 2_000,
        }
    }
}

impl Signing {
    pub(crate) fn check(&self, problems: &mut Vec<String>) {
        let longest = Duration::from_secs(SKEW_SECONDS.saturating_sub(60));
        if self.window < Duration::from_secs(1) || self.window > longest {
            problems.push("signing.window: must be at least 1 s and at most 4 min".to_owned());
        }
        if self.kept > 10_000_000 {
            problems.push(format!("signing.kept: {} is over the limit of 10000000", self.kept));
        }
        for (setting, value) in [
            ("per_address", self.per_address),
            ("nonces_per_address", self.nonces_per_address),
            ("burst", self.burst),
            ("per_second", self.per_second),
        ] {
            if !(1..=1_000_000).contains(&value) {
                problems.push(format!("signing.{setting}: {value} is not between 1 and 1000000"));
            }
        }
    }
}
