//! Holding what the rank says: pull when this node is among the first N, let go long after it is not.
//!
//! Pins are the only state that counts, and they are the store's; after a crash the plan is worked out from them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use atoll_core::{Cid, PeerId, SiteId, Timestamp};
use tokio::task::{AbortHandle, JoinSet};

use super::pull::{Progress, Pull, pin_reason};
use super::{Shared, State};
use crate::error::PullError;
use crate::plan::Standing;
use crate::table::Placed;
use crate::time::backoff;

/// How many scores are computed before other tasks get the table.
const SCORES_AT_ONCE: usize = 20_000;
/// The planner rests this many times as long as it worked.
const REST: u32 = 10;

/// What this node does about one site.
#[derive(Debug, Default)]
pub(crate) struct SiteState {
    /// Since when the site is held although it need not be.
    pub(crate) out_since: Option<Timestamp>,
    /// The pull.
    pub(crate) pull: PullState,
    /// Failed pulls in a row.
    attempts: u32,
}

/// Where a pull stands.
#[derive(Debug, Default)]
pub(crate) enum PullState {
    /// None is wanted.
    #[default]
    Idle,
    /// Under way.
    Running { root: Cid, progress: Arc<Progress>, task: AbortHandle },
    /// Failed, and is tried again.
    Failed { root: Cid, cause: String, retry_at: Timestamp },
}

impl SiteState {
    /// The node's clock was set, and says `now`: nothing lies in the future that was only planned.
    pub(crate) fn clock_was_set(&mut self, now: Timestamp) {
        self.out_since = self.out_since.map(|since| since.min(now));
        if let PullState::Failed { retry_at, .. } = &mut self.pull {
            *retry_at = now.min(*retry_at);
        }
    }
}

/// What is to be done about a site now.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decision {
    pull: Option<(Cid, u64)>,
    release: Vec<Cid>,
    /// Who decides about it, if this node is one of them.
    near: Vec<PeerId>,
    /// When to look again, if nothing changes before.
    again: Option<Timestamp>,
}

/// Keeps what this node holds in step with the plan, for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut pulls = JoinSet::new();
    let mut planned = (u64::MAX, Timestamp::default());
    loop {
        let version = *shared.version.borrow();
        let begun = tokio::time::Instant::now();
        if planned.0 != version || shared.clock.now() >= planned.1 {
            planned = (version, shared.plan(&mut pulls).await);
        }
        let rest = (begun.elapsed() * REST).max(shared.config.plan_interval);
        shared.clock.sleep(rest).await;
        while pulls.try_join_next().is_some() {}
        if let Err(error) = shared.refresh_pins().await {
            tracing::error!(%error, "pins cannot be read");
        }
    }
}

impl Shared {
    /// Works out what is to be done about every site, and does it; when to look again at the latest.
    async fn plan(self: &Arc<Self>, pulls: &mut JoinSet<()>) -> Timestamp {
        let now = self.clock.now();
        let pinned = {
            let mut state = self.lock();
            if state.table.expire(now) {
                drop(state);
                self.changed();
                state = self.lock();
            }
            pinned_sites(&state.pins)
        };
        let sites: BTreeSet<SiteId> = self.lock().table.placements.keys().chain(pinned.keys()).copied().collect();
        let mut again = now.after(Duration::from_secs(60));
        let mut scores = 0usize;
        let mut matter = BTreeSet::new();
        for site in sites {
            let held = pinned.get(&site).map_or(&[][..], Vec::as_slice);
            let decision = {
                let state = &mut *self.lock();
                scores = scores.saturating_add(state.table.members.len());
                state.decide(self, site, held, now)
            };
            matter.extend(decision.near);
            again = decision.again.map_or(again, |at| at.min(again));
            if let Some((root, quota)) = decision.pull {
                if pulls.len() < self.config.pulls_max {
                    self.start_pull(pulls, site, root, quota, held.is_empty());
                } else {
                    again = now;
                }
            }
            for root in decision.release {
                match self.storage.unpin(&root, &pin_reason(&site)).await {
                    Ok(()) => tracing::info!(%site, %root, "let go"),
                    Err(error) => tracing::error!(%site, %root, %error, "not let go"),
                }
            }
            if scores >= SCORES_AT_ONCE {
                scores = 0;
                tokio::task::yield_now().await;
            }
        }
        self.lock().matter = matter;
        again
    }

    /// Begins to pull `root`.
    fn start_pull(self: &Arc<Self>, pulls: &mut JoinSet<()>, site: SiteId, root: Cid, quota: u64, by_car: bool) {
        let shared = Arc::clone(self);
        let progress = Arc::new(Progress::default());
        let seen = Arc::clone(&progress);
        let task = pulls.spawn(async move {
            let pull = Pull { shared: &shared, site, root, progress: &seen };
            let result = Box::pin(pull.run(quota, by_car)).await;
            shared.finish_pull(site, root, result).await;
        });
        let mut state = self.lock();
        state.sites.entry(site).or_default().pull = PullState::Running { root, progress, task };
        drop(state);
        self.changed();
    }

    /// Notes what came of a pull.
    async fn finish_pull(&self, site: SiteId, root: Cid, result: Result<(), PullError>) {
        let result = match result {
            Ok(()) => self.refresh_pins().await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let now = self.clock.now();
        let mut state = self.lock();
        let pulled = result.is_ok();
        let entry = state.sites.entry(site).or_default();
        match result {
            Ok(()) => {
                tracing::info!(%site, %root, "pulled and pinned");
                *entry = SiteState::default();
            }
            Err(cause) => {
                tracing::warn!(%site, %root, cause, "not pulled");
                entry.attempts = entry.attempts.saturating_add(1);
                let pause = backoff(self.config.pull_retry_min, self.config.pull_retry_max, entry.attempts);
                entry.pull = PullState::Failed { root, cause, retry_at: now.after(pause) };
            }
        }
        state.pulled = state.pulled.saturating_add(u64::from(pulled));
        drop(state);
        self.changed();
    }
}

impl State {
    /// What to do about `site`, of which the roots `held` are pinned for it.
    fn decide(&mut self, shared: &Shared, site: SiteId, held: &[Cid], now: Timestamp) -> Decision {
        let Some(placed) = self.table.placements.get(&site) else {
            return self.let_go(shared, site, held, true, now);
        };
        let standing = Standing::of(&self.table, &site, placed);
        let near = if standing.near().contains(&shared.me) { standing.near().to_vec() } else { Vec::new() };
        let decision = if standing.is_holder(&shared.me) {
            let since = match held {
                [] => standing.stable_since(&self.table, &site, placed, &shared.me),
                // A holder follows a new root at once; only who newly holds waits until the rank is stable.
                _ => Timestamp::default(),
            };
            let (root, quota) = (placed.signed.record().root, placed.signed.record().quota);
            let from = since.after(shared.config.take_over_after);
            self.sites.entry(site).or_default().hold((root, quota), held, from, now)
        } else {
            let is_safe = self.is_safe_without(placed, &standing);
            self.let_go(shared, site, held, is_safe, now)
        };
        Decision { near, ..decision }
    }

    /// This node need not hold the site: it lets go in time, if that is safe by then.
    fn let_go(&mut self, shared: &Shared, site: SiteId, held: &[Cid], is_safe: bool, now: Timestamp) -> Decision {
        let entry = self.sites.entry(site).or_default();
        entry.stop();
        if held.is_empty() {
            self.sites.remove(&site);
            return Decision::default();
        }
        let until = entry.out_since.get_or_insert(now).after(shared.config.let_go_after);
        if now < until {
            Decision { again: Some(until), ..Decision::default() }
        } else if !is_safe {
            Decision { again: Some(now.after(shared.config.probe_interval)), ..Decision::default() }
        } else {
            Decision { release: held.to_vec(), ..Decision::default() }
        }
    }

    /// Whether every member that is to hold the site was seen to hold its present root. Copies elsewhere do not count: those
    /// who keep them may let go at the same moment.
    fn is_safe_without(&self, placed: &Placed, standing: &Standing) -> bool {
        let holds = |peer| {
            let entry = self.table.members.get(peer);
            entry.is_some_and(|entry| entry.health.holds.contains_key(&placed.signed.record().root))
        };
        !standing.holders().is_empty() && standing.holders().iter().all(holds)
    }
}

impl SiteState {
    /// This node is to hold `root`, and has `held`; it pulls after `from`, unless that failed lately.
    fn hold(&mut self, (root, quota): (Cid, u64), held: &[Cid], from: Timestamp, now: Timestamp) -> Decision {
        self.out_since = None;
        if held.contains(&root) {
            self.stop();
            let release = held.iter().filter(|other| **other != root).copied().collect();
            return Decision { release, ..Decision::default() };
        }
        self.stop_other(&root);
        let from = match &self.pull {
            PullState::Running { .. } => return Decision::default(),
            PullState::Failed { retry_at, .. } => from.max(*retry_at),
            PullState::Idle => from,
        };
        if now < from {
            return Decision { again: Some(from), ..Decision::default() };
        }
        Decision { pull: Some((root, quota)), ..Decision::default() }
    }

    /// Ends a pull that nobody needs any more.
    fn stop(&mut self) {
        if let PullState::Running { task, .. } = &self.pull {
            task.abort();
        }
        self.pull = PullState::Idle;
        self.attempts = 0;
    }

    /// Ends a pull of another root than `wanted`.
    fn stop_other(&mut self, wanted: &Cid) {
        match &self.pull {
            PullState::Running { root, .. } | PullState::Failed { root, .. } if root != wanted => self.stop(),
            _ => {}
        }
    }
}

/// The pinned roots of each site, by the reasons of the pins.
fn pinned_sites(pins: &BTreeMap<Cid, Vec<String>>) -> BTreeMap<SiteId, Vec<Cid>> {
    let mut sites: BTreeMap<SiteId, Vec<Cid>> = BTreeMap::new();
    for (root, reasons) in pins {
        for site in reasons.iter().filter_map(|reason| reason.strip_prefix("site:")?.parse().ok()) {
            sites.entry(site).or_default().push(*root);
        }
    }
    sites
}
