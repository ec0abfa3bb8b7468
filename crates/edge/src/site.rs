//! What is remembered of sites' rules: parsed `_redirects` and `_headers` by the directory that holds them, and that a site
//! has none. In memory only.

use std::sync::Arc;

use atoll_core::Cid;
use atoll_core::site::Rules;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// How many sites' rules are remembered.
const SITES_MAX: usize = 4_096;
/// How much memory they may take, in bytes.
const MEMORY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What one site costs beside its rules, in bytes.
const ENTRY_BYTES: u64 = 512;
/// The rules of the sites that were shown lately.
pub(crate) struct Sites(Cache<Key, Arc<Rules>, Weight>);

/// Where a site begins: a root, and the way from there that its name stands for.
pub(crate) type Key = (Cid, Vec<String>);

#[derive(Clone)]
struct Weight;

impl Sites {
    pub(crate) fn new() -> Self {
        // One shard, in which the largest files fit; it is asked once for an answer that is not ready.
        let options = OptionsBuilder::new()
            .estimated_items_capacity(SITES_MAX)
            .weight_capacity(MEMORY_BYTES_MAX)
            .shards(1)
            .build();
        match options {
            Ok(options) => {
                Self(Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default()))
            }
            // Both capacities are set, so that this is not reached.
            Err(_) => Self(Cache::with_weighter(SITES_MAX, MEMORY_BYTES_MAX, Weight)),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Rules>> {
        self.0.get(key)
    }

    pub(crate) fn insert(&self, key: Key, rules: Arc<Rules>) {
        self.0.insert(key, rules);
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }
}

impl Weighter<Key, Arc<Rules>> for Weight {
    fn weight(&self, key: &Key, rules: &Arc<Rules>) -> u64 {
        let way: usize = key.1.iter().map(|name| name.len().saturating_add(32)).sum();
        ENTRY_BYTES.saturating_add(way as u64).saturating_add(rules.memory_bytes() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_do_not_take_more_than_their_share() {
        let sites = Sites::new();
        let large = Arc::new(Rules::parse(Some("/ /\n".repeat(16 * 1024).as_bytes()), None));
        let key = |at: usize| ("bafkqaaa".parse().unwrap(), vec![at.to_string()]);
        (0..1_000).for_each(|at| sites.insert(key(at), Arc::clone(&large)));
        assert!(sites.0.weight() <= MEMORY_BYTES_MAX && !sites.0.is_empty());
        (0..10_000).for_each(|at| sites.insert(key(at), Arc::default()));
        assert!(sites.0.len() > 1_000 && sites.0.weight() <= MEMORY_BYTES_MAX);
    }
}
