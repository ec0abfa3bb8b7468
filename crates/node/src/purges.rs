//! Publishers' signed purges, obeyed: what they name is forgotten of every site of theirs whose servers' answers are stored here. How far
//! that has come is a file, written once a purge is durable; if a crash loses it, purges are obeyed once more.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atoll_core::ipns::Name;
use atoll_core::record::{PurgeLog, SitePurge};
use atoll_core::{Obeyed, Purges, Signed, SiteId};
use atoll_edge::front::Degree;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::bundles::site_of;
use crate::node::Inner;

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// How long what failed is left alone.
const AGAIN: Duration = Duration::from_secs(5);

/// How far the purges of each site are obeyed.
#[derive(Debug)]
pub(crate) struct Obedience {
    file: PathBuf,
    known: Mutex<BTreeMap<SiteId, Obeyed>>,
}

impl Obedience {
    /// As a file says, if there is one that can be read.
    pub(crate) fn open(file: &Path) -> Self {
        let text = atoll_durable::read(file, FILE_BYTES_MAX);
        let read: BTreeMap<String, u64> = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        // Whether it shows them is found out anew.
        let known = read.into_iter().filter_map(|(site, seq)| Some((site.parse().ok()?, Obeyed { seq, shows: false })));
        Self { file: file.to_owned(), known: Mutex::new(known.collect()) }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<SiteId, Obeyed>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far it has come, on disk first.
    fn note(&self, site: SiteId, obeyed: Obeyed, live: &[SiteId]) -> io::Result<()> {
        let mut all = self.known().clone();
        all.insert(site, obeyed);
        all.retain(|site, _| live.contains(site));
        let text: BTreeMap<String, u64> = all.iter().map(|(site, obeyed)| (site.to_string(), obeyed.seq)).collect();
        let text = serde_json::to_vec(&text)?;
        atoll_durable::replace(&self.file, |file| file.write_all(&text))?;
        *self.known() = all;
        Ok(())
    }
}

impl Purges for Obedience {
    fn obeyed(&self, site: &SiteId) -> Obeyed {
        self.known().get(site).copied().unwrap_or_default()
    }
}

/// Obeys whatever is heard of, until `stop` changes.
pub(crate) async fn run(node: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    let mut news = node.router.subscribe();
    loop {
        news.mark_unchanged();
        let failed = obey_all(&node).await;
        tokio::select! {
            changed = news.changed() => if changed.is_err() { return },
            () = sleep(AGAIN), if failed => {}
            _ = stop.changed() => return,
        }
    }
}

/// Obeys all that is known; whether some of it failed.
async fn obey_all(node: &Inner) -> bool {
    let logs = node.router.purges();
    let live: Vec<SiteId> = logs.iter().map(|log| log.site()).collect();
    let mut failed = false;
    for log in logs {
        let (site, before) = (log.site(), node.obedience.obeyed(&log.site()));
        let shows = shows(node, &log);
        let obeyed = Obeyed { seq: log.record().seq, shows };
        if before.seq >= log.record().seq {
            // A site may have come since, or gone.
            if before.shows != shows {
                node.obedience.known().insert(site, Obeyed { seq: before.seq, shows });
            }
            continue;
        }
        let done = match obey(node, &log, before.seq).await {
            Ok(()) => node.obedience.note(site, obeyed, &live),
            failed => failed,
        };
        match done {
            Ok(()) => tracing::info!(%site, seq = obeyed.seq, "a publisher's purges are obeyed"),
            Err(error) => {
                tracing::error!(%site, %error, "a publisher's purges could not be made durable; they are tried again");
                failed = true;
            }
        }
    }
    failed
}

/// Whether this node holds the site, or has what its servers answer.
fn shows(node: &Inner, log: &Signed<PurgeLog>) -> bool {
    let site = log.site().to_string();
    let pinned = node.local.store().pins().iter().any(|pin| site_of(pin) == Some(&site));
    pinned || name_of(log).is_some_and(|name| node.fronts.has_named(&name))
}

fn name_of(log: &Signed<PurgeLog>) -> Option<String> {
    Name::of(log.signer()).map(|name| name.to_string())
}

/// Forgets what was purged after a sequence.
async fn obey(node: &Inner, log: &Signed<PurgeLog>, seq: u64) -> io::Result<()> {
    let Some(name) = name_of(log) else { return Ok(()) };
    let everything = SitePurge::default();
    let (all, since) = log.record().after(seq);
    let is_all = |purge: &SitePurge| purge.url.is_empty() && purge.group.is_none();
    if all || log.record().after(seq).1.any(is_all) {
        node.versions.forget(&name);
    }
    for purge in all.then_some(&everything).into_iter().chain(since) {
        let degree = if purge.soft { Degree::Soft } else { Degree::Hard };
        node.fronts.purge_named(&name, &node.ports(), purge, degree).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_has_come_outlives_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("purged");
        let (one, two) = (SiteId([1; 32]), SiteId([2; 32]));
        let obedience = Obedience::open(&file);
        obedience.note(one, Obeyed { seq: 7, shows: true }, &[one, two]).unwrap();
        obedience.note(two, Obeyed { seq: 8, shows: false }, &[one, two]).unwrap();
        assert_eq!(obedience.obeyed(&one), Obeyed { seq: 7, shows: true });
        let again = Obedience::open(&file);
        assert_eq!((again.obeyed(&one).seq, again.obeyed(&two).seq), (7, 8));
        // Of what is not known any more nothing is kept.
        again.note(two, Obeyed { seq: 9, shows: false }, &[two]).unwrap();
        assert_eq!((again.obeyed(&one).seq, again.obeyed(&two).seq), (0, 9));
        std::fs::write(&file, "{").unwrap();
        assert_eq!(Obedience::open(&file).obeyed(&two), Obeyed::default());
    }
}
