//! Earlier versions of the sites that are held here, kept for `node.earlier` after another was published: pinned, and written down
//! which and until when. A crash loses at most the version that was replaced within the last second.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use atoll_core::earlier::Earlier;
use atoll_core::{Cid, SiteId, SystemClock};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::bundles::site_of;
use crate::node::Inner;
use crate::ticks::Ticks;
use crate::work::blocking;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);
/// The most earlier versions of a site, and the most sites that have some.
const VERSIONS_MAX: usize = 3;
const SITES_MAX: usize = 1024;
/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What is kept, by the names of sites, newest first.
type Kept = BTreeMap<String, Vec<Version>>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Versions {
    file: PathBuf,
    kept: RwLock<Kept>,
    lasts: Duration,
}

/// An earlier version of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Version {
    site: String,
    root: String,
    /// Seconds since the Unix epoch.
    until: u64,
}

impl Versions {
    /// As a file says, if there is one that can be read. Each is kept for so long.
    pub(crate) fn open(file: &Path, lasts: Duration) -> Self {
        let text = atoll_durable::read(file, FILE_BYTES_MAX);
        let kept = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { file: file.to_owned(), kept: RwLock::new(kept), lasts }
    }

    /// Keeps no earlier version of a site any more.
    pub(crate) fn forget(&self, name: &str) {
        let mut kept = self.all();
        if kept.remove(name).is_some() {
            self.write(kept);
        }
    }

    fn all(&self) -> Kept {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, kept: Kept) {
        let text = serde_json::to_vec(&kept).unwrap_or_default();
        if let Err(error) = atoll_durable::replace(&self.file, |file| file.write_all(&text)) {
            tracing::warn!(%error, "which earlier versions are kept cannot be written down");
        }
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = kept;
    }
}

impl Earlier for Versions {
    fn roots(&self, name: &str) -> Vec<Cid> {
        let now = SystemClock::now().as_secs();
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let versions = kept.get(name).into_iter().flatten().filter(|version| version.until > now);
        versions.filter_map(|version| version.root.parse().ok()).collect()
    }
}

/// Keeps what is replaced and lets go of what has been kept for long enough, until `stop` changes.
pub(crate) async fn run(node: Arc<Inner>, stop: watch::Receiver<bool>) {
    let mut ticks = Ticks::new(LOOK, stop);
    let mut seen = HashMap::new();
    while ticks.next().await {
        look(&node, &mut seen).await;
    }
}

async fn look(node: &Inner, seen: &mut HashMap<String, HashSet<String>>) {
    let pins = node.local.store().pins();
    for pin in &pins {
        if let Some(site) = site_of(pin).filter(|site| site.parse::<SiteId>().is_ok()) {
            seen.entry(site.to_owned()).or_default().insert(pin.cid.to_string());
        }
    }
    let (before, now) = (node.versions.all(), SystemClock::now());
    let mut kept = before.clone();
    let placements = node.router.snapshot().placements;
    for placement in placements.iter().filter(|placement| !placement.name.is_empty()) {
        let old: Vec<String> = seen
            .get_mut(&placement.site)
            .map(|roots| roots.extract_if(|root| *root != placement.root).collect())
            .unwrap_or_default();
        if node.versions.lasts.is_zero() || (kept.len() >= SITES_MAX && !kept.contains_key(&placement.name)) {
            continue;
        }
        let versions = kept.entry(placement.name.clone()).or_default();
        for root in old {
            versions.retain(|version| version.root != root);
            let until = now.after(node.versions.lasts).as_secs();
            versions.insert(0, Version { site: placement.site.clone(), root, until });
        }
        versions.retain(|version| version.root != placement.root);
        versions.truncate(VERSIONS_MAX);
    }
    let placed: HashSet<&str> = placements.iter().map(|placement| placement.name.as_str()).collect();
    kept.values_mut().for_each(|versions| versions.retain(|version| version.until > now.as_secs()));
    kept.retain(|name, versions| !versions.is_empty() && placed.contains(name.as_str()));
    if kept != before {
        node.versions.write(kept.clone());
    }
    // The pins follow what was written down.
    let wanted: HashSet<(String, String)> =
        kept.values().flatten().map(|version| (version.root.clone(), format!("earlier:{}", version.site))).collect();
    let has: HashSet<(String, String)> = pins
        .into_iter()
        .filter(|pin| pin.name.starts_with("earlier:"))
        .map(|pin| (pin.cid.to_string(), pin.name))
        .collect();
    let store = node.local.store().clone();
    let changes: Vec<(Cid, String, bool)> = wanted
        .difference(&has)
        .map(|pin| (pin, true))
        .chain(has.difference(&wanted).map(|pin| (pin, false)))
        .filter_map(|((root, name), on)| Some((root.parse().ok()?, name.clone(), on)))
        .collect();
    if changes.is_empty() {
        return;
    }
    let done = blocking(move || {
        for (root, name, on) in changes {
            if on {
                store.pin(&root, &name)?
            } else {
                store.unpin(&root, &name)?
            };
        }
        Ok(())
    });
    if let Err(error) = done.await {
        tracing::warn!(error, "an earlier version of a site could not be kept, or let go");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_shown_until_its_time_is_over_and_outlives_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("earlier");
        let versions = Versions::open(&file, Duration::from_secs(60));
        let now = SystemClock::now().as_secs();
        let version = |root: &str, until| Version { site: "s".to_owned(), root: root.to_owned(), until };
        versions.write(Kept::from([(
            "k51a".to_owned(),
            vec![version("bafkqaaa", now + 60), version("bafkqabtimvwgy3yk", now)],
        )]));
        let again = Versions::open(&file, Duration::from_secs(60));
        assert_eq!(again.roots("k51a"), ["bafkqaaa".parse().unwrap()]);
        assert_eq!(again.roots("k51b"), []);
        again.forget("k51a");
        assert_eq!(Versions::open(&file, Duration::ZERO).roots("k51a"), []);
        std::fs::write(&file, "[").unwrap();
        assert_eq!(Versions::open(&file, Duration::ZERO).roots("k51a"), []);
    }
}
