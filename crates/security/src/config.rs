//! What an operator can set about deny lists. Plain data; a crash loses nothing.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::deny::lists::LISTS_MAX;
use crate::deny::table::RULES_MAX;

/// Deny lists (IPIP-383): what this node does not show, and does not send to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Lists, and folders whose `*.deny` files are lists, in alphabetical order. Later ones decide before earlier ones;
    /// `local.deny` in the data folder, which `atoll deny` edits, decides before all.
    pub lists: Vec<PathBuf>,
    /// How often they are looked at for changes. A list that cannot be used is refused, and the one before it serves on.
    #[serde(with = "humantime_serde")]
    pub reload: Duration,
    /// The most rules of one list; a list with more is refused. Each takes 20 bytes of memory.
    pub rules_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { lists: Vec::new(), reload: Duration::from_secs(5), rules_max: RULES_MAX }
    }
}

impl Config {
    /// Every problem of this configuration, each naming its setting; empty when there is none.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.lists.len() >= LISTS_MAX {
            problems.push(format!("lists: {} are over the limit of {}", self.lists.len(), LISTS_MAX - 1));
        }
        if self.reload < Duration::from_millis(100) || self.reload > Duration::from_secs(24 * 3600) {
            problems.push("reload: must be between 100 ms and 24 h".to_owned());
        }
        if !(1..=RULES_MAX).contains(&self.rules_max) {
            problems.push(format!("rules_max: {} is not between 1 and {RULES_MAX}", self.rules_max));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_name_their_setting() {
        assert_eq!(Config::default().check(), Vec::<String>::new());
        let config = Config { lists: vec![PathBuf::new(); LISTS_MAX], reload: Duration::ZERO, rules_max: 0 };
        assert_eq!(config.check().len(), 3);
    }
}
