//! What an operator can set for the cache. Plain data; a crash loses nothing.

use serde::{Deserialize, Serialize};

/// The least and the most on disk, in MiB.
const DISK_MIB: (usize, usize) = (16, 16 * 1024 * 1024);

/// The cache of answers from origins, in memory and on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The most memory that stored answers take, in MiB.
    pub memory_mib: usize,
    /// The most that they take on disk, in MiB; 0: nothing is kept there, and a restart forgets all.
    pub disk_mib: usize,
    /// The largest body that is stored, in MiB.
    pub object_mib: usize,
    /// The most answers of one URL that are stored beside each other, where they vary by request.
    pub variants: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { memory_mib: 256, disk_mib: 1024, object_mib: 32, variants: 16 }
    }
}

impl Config {
    /// Every problem of it, each naming its setting; empty when there is none.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.memory_mib > 1024 * 1024 {
            problems.push(format!("memory_mib: {} is over the limit of 1048576", self.memory_mib));
        }
        if self.disk_mib > 0 && !(DISK_MIB.0..=DISK_MIB.1).contains(&self.disk_mib) {
            problems.push(format!(
                "disk_mib: {} is neither 0 nor between {} and {}",
                self.disk_mib, DISK_MIB.0, DISK_MIB.1
            ));
        }
        if self.object_mib > self.memory_mib {
            problems.push(format!("object_mib: {} is over memory_mib, {}", self.object_mib, self.memory_mib));
        }
        if !(1..=256).contains(&self.variants) {
            problems.push(format!("variants: {} is not between 1 and 256", self.variants));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_name_their_setting() {
        assert_eq!(Config::default().problems(), Vec::<String>::new());
        let wrong = Config { memory_mib: 1, disk_mib: 1, object_mib: 2, variants: 0 };
        assert_eq!(wrong.problems().len(), 3);
    }
}
