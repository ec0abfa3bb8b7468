//! One node's part in the network: it exchanges records, watches who lives, and holds what its rank tells it to.
//!
//! Tasks share one table behind a lock that no await crosses. What a crash loses is measured or learned again; the records
//! themselves are kept by a [`RecordLog`].

mod answer;
mod copies;
mod gossip;
mod located;
mod names;
mod probe;
mod pull;
mod purges;
mod replicate;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use atoll_core::keys::IdentityKey;
use atoll_core::names::{NameExchange, NameRecords};
use atoll_core::record::Member;
use atoll_core::{
    Answer, Blocks, Cid, Clock, Exchange, Gossip, Multiaddr, PeerId, Providers, Purges, SiteId, Storage, Timestamp,
    Transport,
};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::config::{Config, FetchPolicy};
use crate::error::{PullError, RouteError};
use crate::fetch::{Fetcher, Means, PeerStats};
use crate::found::Found;
use crate::log::RecordLog;
use crate::remote::RemoteBlocks;
use crate::snapshot::Snapshot;
use crate::table::{Opened, Peer, Table};
use crate::time::backoff;
use atoll_core::Reach;

pub(crate) use replicate::{PullState, SiteState};

/// Makes this node's member record, for the given addresses; sequence, expiry and signature are the router's.
pub type MemberMaker = Box<dyn Fn(&[Multiaddr]) -> Member + Send + Sync>;

/// What a router is made of.
pub struct Parts {
    /// The node's identity: signs member records and probe answers.
    pub identity: Arc<IdentityKey>,
    /// Says what the node offers at this moment.
    pub member: MemberMaker,
    /// How members are reached.
    pub transport: Arc<dyn Transport>,
    /// What time it is, and how to wait.
    pub clock: Arc<dyn Clock>,
    /// Where blocks and pins are kept.
    pub storage: Arc<dyn Storage>,
    /// Where records are kept between runs.
    pub log: Arc<dyn RecordLog>,
    /// The IPNS records that this node keeps.
    pub names: Arc<dyn NameRecords>,
    /// Who finds peers beyond the members.
    pub providers: Arc<dyn Providers>,
    /// Who obeys the purges of sites.
    pub purges: Arc<dyn Purges>,
    /// How all members are told at once.
    pub gossip: Arc<dyn Gossip>,
    /// How blocks come from those of them that are not reached over HTTP.
    pub exchange: Arc<dyn Exchange>,
    /// Gateways of members that are asked first; who else is there is learned from them.
    pub seeds: Vec<Multiaddr>,
    /// Fresh randomness for nonces and samples; a simulation fixes it.
    pub seed: [u8; 32],
}

/// A running router. Dropping it ends its tasks.
pub struct Router {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

impl Router {
    /// Loads the known records and starts. The node is no member yet: that needs [`Router::set_addresses`].
    ///
    /// # Errors
    /// [`RouteError::Config`] with everything that is wrong, [`RouteError::Log`], or [`RouteError::Storage`].
    pub async fn spawn(parts: Parts, config: Config) -> Result<Self, RouteError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(RouteError::Config(problems));
        }
        let envelopes = parts.log.load().await?;
        let shared = Shared::new(parts, config);
        shared.lock().table.set_reach(Reach::nearest(&shared.seeds));
        for envelope in envelopes {
            if let Err(error) = shared.accept(envelope) {
                tracing::debug!(%error, "a kept record is left out");
            }
            tokio::task::yield_now().await;
        }
        shared.refresh_pins().await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(gossip::run(Arc::clone(&shared)));
        tasks.spawn(gossip::announce(Arc::clone(&shared)));
        tasks.spawn(gossip::persist(Arc::clone(&shared)));
        tasks.spawn(names::pass_on(Arc::clone(&shared)));
        tasks.spawn(probe::run(Arc::clone(&shared)));
        tasks.spawn(replicate::run(Arc::clone(&shared)));
        Ok(Self { shared, tasks: Mutex::new(tasks) })
    }

    /// Makes the node a member, reachable at `addresses`, or changes them; the record is announced at once.
    ///
    /// Other members' loopback or private addresses are dialled only when one of `addresses`, or a seed, is as near.
    ///
    /// # Errors
    /// [`RouteError::Record`] when the member record breaks a rule, such as an expired operator certificate.
    pub fn set_addresses(&self, addresses: Vec<Multiaddr>) -> Result<(), RouteError> {
        {
            let mut state = self.shared.lock();
            state.table.set_reach(Reach::nearest(addresses.iter().chain(&self.shared.seeds)));
            state.addresses = addresses;
        }
        self.shared.refresh_member(true)
    }

    /// Takes a publisher's signed placement, keeps it and announces it; it survives power loss once this returns.
    ///
    /// # Errors
    /// [`RouteError`] says why it is refused or could not be kept. One that is known already is no error.
    pub async fn announce_placement(&self, envelope: Bytes) -> Result<SiteId, RouteError> {
        let Opened::Placement(signed) = Opened::open(envelope)? else {
            return Err(RouteError::Record(atoll_core::RecordError::OtherKind));
        };
        let site = signed.site();
        self.shared.insert(Opened::Placement(signed))?;
        self.shared.save().await?;
        Ok(site)
    }

    /// All that is known now, for people.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.shared)
    }

    /// A number that grows with every change of a snapshot.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Answers what members ask.
    pub fn answer(&self) -> Arc<dyn Answer> {
        Arc::new(answer::Answerer(Arc::clone(&self.shared)))
    }

    /// Asks members for IPNS records, and tells them of news.
    pub fn names(&self) -> Arc<dyn NameExchange> {
        Arc::new(names::Exchange(Arc::clone(&self.shared)))
    }

    /// Blocks from `local`, and from members as far as `policy` lets this node fetch for visitors.
    pub fn remote(&self, local: Arc<dyn Blocks>, policy: FetchPolicy) -> RemoteBlocks {
        RemoteBlocks::new(Arc::clone(&self.shared), local, policy)
    }

    /// Fetches every block under `root` from `member` alone, and verifies each; how many blocks and bytes they are.
    ///
    /// # Errors
    /// [`PullError`] names the first block that did not come, or came wrong.
    pub async fn read_back(&self, member: &PeerId, root: Cid) -> Result<(u64, u64), PullError> {
        self.shared.read_back(member, root).await
    }

    /// Remembers for a while that peers at `addresses` have the DAG under `root`: [`Router::remote`] asks them, too.
    pub fn suggest(&self, root: &Cid, addresses: Vec<Multiaddr>) {
        self.shared.found.suggest(root, addresses);
    }

    /// How fast each member served blocks.
    pub fn peer_stats(&self) -> Vec<PeerStats> {
        self.shared.fetcher.stats()
    }

    /// Ends all tasks and saves the records.
    ///
    /// # Errors
    /// [`RouteError::Log`] when they cannot be saved.
    pub async fn shutdown(&self) -> Result<(), RouteError> {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        self.shared.save().await.map(drop)
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("me", &self.shared.me).finish_non_exhaustive()
    }
}

/// What all tasks share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) me: PeerId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) fetcher: Arc<Fetcher>,
    pub(crate) found: Found,
    identity: Arc<IdentityKey>,
    member: MemberMaker,
    transport: Arc<dyn Transport>,
    gossip: Arc<dyn Gossip>,
    purges: Arc<dyn Purges>,
    log: Arc<dyn RecordLog>,
    names: names::Passing,
    seeds: Vec<Multiaddr>,
    state: Mutex<State>,
    /// Held while this node's own record is made, so that two never have the same sequence.
    renewing: Mutex<()>,
    /// Held while the log is written, so that two writers do not meet.
    saving: tokio::sync::Mutex<()>,
    version: watch::Sender<u64>,
    /// Wakes the announcer.
    news: Notify,
    /// Wakes the prober.
    suspects: Notify,
}

/// What changes.
pub(crate) struct State {
    pub(crate) table: Table,
    pub(crate) sites: BTreeMap<SiteId, SiteState>,
    pub(crate) pins: BTreeMap<Cid, Vec<String>>,
    /// Records that were refused, and pulls that were finished, since the start.
    pub(crate) refused: u64,
    pub(crate) pulled: u64,
    /// The members that decide about sites which this node holds, or would hold next.
    matter: BTreeSet<PeerId>,
    pins_at: Timestamp,
    addresses: Vec<Multiaddr>,
    cursors: HashMap<Multiaddr, (u64, u64)>,
    rng: StdRng,
}

impl Shared {
    fn new(parts: Parts, config: Config) -> Arc<Self> {
        let mut rng = StdRng::from_seed(parts.seed);
        let (epoch, mut fetch_seed) = (rng.next_u64() | 1, [0; 32]);
        rng.fill_bytes(&mut fetch_seed);
        let state = State {
            table: Table::new(epoch),
            sites: BTreeMap::new(),
            pins: BTreeMap::new(),
            refused: 0,
            pulled: 0,
            matter: BTreeSet::new(),
            pins_at: Timestamp::default(),
            addresses: Vec::new(),
            cursors: HashMap::new(),
            rng,
        };
        let lie_backoff = (config.lie_backoff_min, config.lie_backoff_max);
        Arc::new_cyclic(|weak: &Weak<Self>| {
            let weak = Weak::clone(weak);
            let on_lie = Box::new(move |address: &Multiaddr, reason: &str| {
                if let Some(shared) = weak.upgrade() {
                    shared.drop_members_at(address, reason);
                }
            });
            let means = Means {
                transport: Arc::clone(&parts.transport),
                exchange: parts.exchange,
                clock: Arc::clone(&parts.clock),
            };
            let fetcher = Fetcher::new(means, config.fetch.clone(), lie_backoff, on_lie, fetch_seed);
            Self {
                me: parts.identity.peer_id(),
                found: Found::new(parts.providers, Arc::clone(&parts.clock)),
                clock: parts.clock,
                storage: parts.storage,
                fetcher: Arc::new(fetcher),
                identity: parts.identity,
                member: parts.member,
                transport: parts.transport,
                gossip: parts.gossip,
                purges: parts.purges,
                log: parts.log,
                names: names::Passing::new(parts.names, &config),
                seeds: parts.seeds,
                state: Mutex::new(state),
                renewing: Mutex::default(),
                saving: tokio::sync::Mutex::default(),
                version: watch::Sender::new(0),
                news: Notify::new(),
                suspects: Notify::new(),
                config,
            }
        })
    }

    /// The state. Never held across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the planner, and whoever watches, that something changed.
    pub(crate) fn changed(&self) {
        self.version.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Writes all records to the log; up to which change.
    async fn save(&self) -> Result<u64, RouteError> {
        let _turn = self.saving.lock().await;
        let (change, envelopes) = {
            let state = self.lock();
            (state.table.last_change(), state.table.envelopes())
        };
        self.log.save(envelopes).await?;
        Ok(change)
    }

    /// Checks an envelope from anywhere and takes it if it is news; counts it when it is refused.
    fn accept(&self, envelope: Bytes) -> Result<bool, RouteError> {
        if self.lock().table.is_known(&envelope) {
            return Ok(false);
        }
        let result = Opened::open(envelope).and_then(|opened| self.insert(opened));
        if let Err(error) = &result
            && !matches!(error, RouteError::Older(_))
        {
            let mut state = self.lock();
            state.refused = state.refused.saturating_add(1);
        }
        result
    }

    /// Takes a checked record; whether it was news.
    fn insert(&self, opened: Opened) -> Result<bool, RouteError> {
        let now = self.clock.now();
        // Nobody but this node itself says what this node is; after a restart its own older record may come back.
        let own = matches!(&opened, Opened::Member(_, peer) if *peer == self.me);
        let news = self.lock().table.insert(opened, now, &self.config)?;
        if news {
            if own {
                self.refresh_member(false)?;
            }
            self.news.notify_one();
            self.suspects.notify_one();
            self.changed();
        }
        Ok(news)
    }

    /// Drops the members that are reached at `address`, since wrong bytes came from there.
    fn drop_members_at(&self, address: &Multiaddr, reason: &str) {
        let mut state = self.lock();
        let peers: Vec<PeerId> =
            state.table.members.iter().filter(|(_, peer)| peer.is_at(address)).map(|(p, _)| *p).collect();
        for peer in peers {
            state.drop_member(&peer, reason, self.clock.now(), &self.config);
        }
        drop(state);
        tracing::warn!(%address, reason, "a member lied");
        self.changed();
    }

    /// Reads the pins again, and notes what this node holds.
    pub(crate) async fn refresh_pins(&self) -> Result<(), RouteError> {
        let pins = self.storage.pins().await?;
        let now = self.clock.now();
        let mut by_root: BTreeMap<Cid, Vec<String>> = BTreeMap::new();
        for (root, reason) in pins {
            by_root.entry(root).or_default().push(reason);
        }
        let mut state = self.lock();
        state.pins_at = now;
        let changed = state.pins != by_root;
        state.pins = by_root;
        state.note_own_pins(&self.me, now);
        drop(state);
        if changed {
            self.changed();
        }
        Ok(())
    }

    /// Addresses of live members that are known to hold one of `roots`; of all live members when none is known to.
    pub(crate) fn holders(&self, roots: &[Cid]) -> Vec<Multiaddr> {
        let known = self.known_holders(roots);
        if known.is_empty() { self.live_members(|_| true) } else { known }
    }

    /// Where members are reached that said they hold one of `roots`.
    pub(crate) fn known_holders(&self, roots: &[Cid]) -> Vec<Multiaddr> {
        self.live_members(|entry| entry.health.holds_any(roots))
    }

    fn live_members(&self, which: impl Fn(&Peer) -> bool) -> Vec<Multiaddr> {
        let state = self.lock();
        let others = state.table.members.iter().filter(|(peer, entry)| **peer != self.me && entry.health.live);
        others.filter(|(_, entry)| which(entry)).filter_map(|(_, entry)| entry.address().cloned()).collect()
    }
}

impl State {
    /// The node's clock was set, and says `now`. Members are asked for all records again: some were refused by the old time.
    fn clock_was_set(&mut self, now: Timestamp) {
        self.cursors.clear();
        self.pins_at = Timestamp::default();
        self.table.members.values_mut().for_each(|entry| entry.health.clock_was_set(now));
        self.sites.values_mut().for_each(|site| site.clock_was_set(now));
    }

    /// Leaves a liar alone for longer each time.
    fn drop_member(&mut self, peer: &PeerId, reason: &str, now: Timestamp, config: &Config) {
        if let Some(entry) = self.table.members.get_mut(peer) {
            entry.health.lies = entry.health.lies.saturating_add(1);
            let pause = backoff(config.lie_backoff_min, config.lie_backoff_max, entry.health.lies);
            entry.health.lied(now, reason.to_owned(), now.after(pause));
        }
    }

    /// The node lives, and holds what it has pinned.
    fn note_own_pins(&mut self, me: &PeerId, now: Timestamp) {
        if let Some(entry) = self.table.members.get_mut(me) {
            entry.health.set_live(true, now);
            entry.health.seen = Some(now);
            entry.health.holds = self.pins.keys().map(|root| (*root, now)).collect();
        }
    }
}
