//! One node: what is made from its configuration, in which order it starts, and in which it stops.

mod error;
mod handover;
mod offer;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use atoll_content::local::{LocalBlocks, PassingBlocks};
use atoll_core::exchange::NoopExchange;
use atoll_core::keys::AnswerKey;
use atoll_core::names::NameExchange;
use atoll_core::record::Member;
use atoll_core::transport::NoopGossip;
use atoll_core::{Blocks, Multiaddr, PeerId};
use atoll_edge::front::Fronts;
use atoll_edge::observe::Counters;
use atoll_edge::{Kept, Passed, Running, Server, Services, Signer};
use atoll_identity::{MapLinks, Parts as NamesParts, Resolver, Store as NameStore};
use atoll_routing::{FetchPolicy, FileLog, Parts, RemoteBlocks, Router, Routers, TokioClock};
use atoll_security::{Guarded, Lists};
use atoll_swarm::{Parts as SwarmParts, Swarm};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::address;
use crate::api::{PinStatus, Ready, Status, StoreStatus};
use crate::bundles::Shelf;
use crate::config::{Config, Folder, Sources};
use crate::delegated::Delegated;
use crate::drills::Drills;
use crate::earlier::Versions;
use crate::exchange::Everywhere;
use crate::keys::{self, NodeKeys};
use crate::listeners::{Listeners, Sockets};
use crate::metrics::Metrics;
use crate::network::Network;
use crate::provide::Providing;
use crate::published::Notices;
use crate::purges::Obedience;
use crate::takeover::Successor;
use crate::{bundles, certs, deny, earlier, pinning, provide, published, purges, release, servers, work};

use offer::{accept, announced};

pub use error::NodeError;
pub use handover::{Handed, Leaving};
pub(crate) use token::open_token;

/// How long a start waits until what is stored on disk is found again; it goes on meanwhile.
const RECOVERY_WAIT: Duration = Duration::from_secs(5);
/// The same while visitors wait.
const RECOVERY_WAIT_TAKEOVER: Duration = Duration::from_millis(500);
/// How often a node that takes over tries to listen where the one before did, and how long it waits in between.
const SWARM_TRIES: u32 = 50;
const SWARM_PAUSE: Duration = Duration::from_millis(100);

/// A running node.
pub struct Node {
    inner: Arc<Inner>,
    server: Running,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    /// Those that change nothing on disk, and so may go on beside another process.
    lasting: JoinSet<()>,
    /// Sockets for another process, beside the gateway's.
    offered: Passed,
    /// Processes that want to take over.
    successors: mpsc::Receiver<Successor>,
}

/// What the node's own HTTP and its tasks share.
pub(crate) struct Inner {
    pub(crate) local: Arc<LocalBlocks>,
    /// What the operator asks for, from whichever member has it.
    pub(crate) anywhere: Arc<RemoteBlocks>,
    pub(crate) router: Arc<Router>,
    pub(crate) names: Arc<Resolver>,
    pub(crate) name_records: NameStore,
    pub(crate) metrics: Metrics,
    pub(crate) sources: Sources,
    /// Answers of the public listener that are ready in memory.
    pub(crate) kept: Kept,
    /// The largest CAR that is taken, in bytes.
    pub(crate) upload_bytes_max: u64,
    /// Sites whose content comes from servers elsewhere, and what is stored of their answers.
    pub(crate) fronts: Arc<Fronts>,
    /// The servers that sites name themselves.
    pub(crate) notices: Notices,
    /// How far publishers' purges are obeyed.
    pub(crate) obedience: Arc<Obedience>,
    /// Earlier versions of sites.
    pub(crate) versions: Arc<Versions>,
    /// What drills found about them.
    pub(crate) drills: Drills,
    /// What is not shown.
    pub(crate) deny: Arc<Lists>,
    /// What authorities give certificates, if any are asked.
    pub(crate) authorities: Option<Arc<atoll_certs::Manager>>,
    /// The bundles by which answers are signed.
    pub(crate) bundles: Arc<Shelf>,
    /// Connections over libp2p, if there are any.
    pub(crate) swarm: Option<Swarm>,
    /// Routers that are asked, if there are any.
    routers: Option<Routers>,
    /// Answering others' questions about where content and peers are.
    pub(crate) delegated: Delegated,
    /// Remote pinning, if it listens anywhere.
    pub(crate) pinning: Option<atoll_pinning::Service>,
    /// Announcing what is held.
    pub(crate) providing: Providing,
    ready: AtomicBool,
    /// Whether the process that was taken over from still runs.
    follows: AtomicBool,
    /// Where processes go that want to take over.
    pub(crate) successors: mpsc::Sender<Successor>,
    started: Instant,
    summary: Ready,
    operator: (String, String),
}

impl Node {
    /// Starts a node in `folder`, making what it needs, and serves, on the sockets of `passed` if another process had them.
    ///
    /// # Errors
    /// [`NodeError`] names the step that failed; nothing runs then.
    pub async fn bind(folder: &Folder, config: Config, sources: Sources, passed: Passed) -> Result<Self, NodeError> {
        let is_takeover = !passed.sockets().is_empty();
        let mut sockets = Sockets { passed, offered: Passed::default() };
        keys::create_private_dir(folder.path()).map_err(|error| NodeError::Folder(folder.path().to_owned(), error))?;
        let keys = NodeKeys::open(folder, &config.node.operator_certificate, &config.node.operator_label)?;
        let local = Arc::new(LocalBlocks::new(work::open_store(folder, &config.store)?, config.store.cache_bytes));
        let (me, operator) = (keys.identity.peer_id(), (keys.operator.key.to_string(), keys.operator.label.clone()));
        let bundles = shelf(folder, &local, &keys);
        let name_records = open_names(folder, &config, &local)?;
        let deny = Arc::new(deny::open(folder, &config.deny)?);
        let swarm = spawn_swarm(&config, &keys, &local, &deny, is_takeover).await?;
        let network = Network::new(me, swarm, &config.delegated.routers);
        let (router, said) = spawn_router(folder, &config, keys, &local, (&name_records, &network)).await?;
        let names = Arc::new(spawn_names(&config, &name_records, (&router, &network)));
        let [remote, anywhere] =
            [config.gateway.fetch.clone(), FetchPolicy::Any].map(|policy| remote(&router, &local, policy));
        let counters = Arc::new(Counters::new(config.gateway.workers()));
        let fronts = fronts(folder, &config, (&me, bundles.key()), is_takeover).await?;
        let certificates = Arc::new(atoll_certs::Store::open(&folder.tls(), &config.certs_used())?);
        let shown = (&deny, &fronts, &certificates, (bundles.signer(), &said.1));
        let server = bind_gateway(&config, (&names, &router, &counters), (remote, &local), shown, &mut sockets)?;
        let listeners = Listeners::bind(folder, &config, &mut sockets).await?;
        router.set_addresses(announced(&config, server.local_addr(), network.swarm.as_ref()))?;
        let ((stop, stopped), mut tasks) = (watch::channel(false), JoinSet::new());
        let means = pinning::Means::new((&local, &anywhere), (&router, &network.swarm), &deny);
        let pinning = pinning::spawn(folder, &config.pinning, means, (&mut tasks, &stopped), &mut sockets).await?;
        let providing = Providing::spawn(folder, &config.swarm, &network, me)?;
        let summary = listeners.ready(folder, &server, me.to_string(), (&network, pinning.as_ref()));
        let (server, delegated) = (server.spawn()?, Delegated::new(config.delegated.clone()));
        let ((asking, successors), kept) = (mpsc::channel(1), server.kept());
        let asks = (Arc::clone(&delegated.counts), network.routers.clone(), pinning.clone());
        let held = (local.store().clone(), name_records.clone());
        let metrics = Metrics::new(counters, kept.clone(), held, Arc::clone(&router), Arc::clone(&deny), asks)
            .with_tls(kept.clone(), Arc::clone(&certificates))
            .with_signing(kept.clone(), &bundles);
        let inner = Arc::new(Inner {
            authorities: certs::open(folder, &certificates, &config.certs)?,
            local,
            anywhere,
            router,
            names,
            name_records,
            metrics: metrics.with_swarm(network.swarm.as_ref(), providing.sweeps()).with_fronts(&fronts, &config),
            sources,
            kept,
            upload_bytes_max: config.admin.upload_bytes_max,
            fronts,
            notices: Notices::new(folder.servers(), config.node.servers.clone()),
            obedience: said.0,
            versions: said.1,
            drills: Drills::open(&folder.drills()),
            deny,
            bundles,
            swarm: network.swarm,
            routers: network.routers,
            delegated,
            pinning,
            providing,
            ready: AtomicBool::new(true),
            follows: AtomicBool::new(false),
            successors: asking,
            started: Instant::now(),
            summary,
            operator,
        });
        listeners.spawn(&inner, &mut tasks, &stopped);
        inner.spawn_tasks(certificates, config.certs.reload, &mut tasks, &stopped);
        let lasting = inner.spawn_lasting(config.deny.reload);
        Ok(Self { inner, server, stop, tasks, lasting, offered: sockets.offered, successors })
    }

    /// Where it serves.
    pub fn ready(&self) -> Ready {
        self.inner.summary.clone()
    }

    /// Drains and stops: no new connections, requests in flight end within `gateway.timeouts.drain`, records and store are saved.
    ///
    /// # Errors
    /// [`NodeError::Routing`] when the records could not be saved, and [`NodeError::Store`] when the store's index could
    /// not; its blocks are safe all the same.
    pub async fn shutdown(mut self) -> Result<(), NodeError> {
        self.inner.ready.store(false, Ordering::Relaxed);
        self.offered = Passed::default();
        let cut = self.server.drain().await;
        tracing::info!(cut, "the gateway has drained");
        let _ = self.stop.send(true);
        self.tasks.shutdown().await;
        self.lasting.shutdown().await;
        self.inner.names.shutdown().await;
        self.inner.providing.save().await;
        self.inner.fronts.close().await;
        let saved = self.inner.router.shutdown().await;
        let store = self.inner.local.store().clone();
        let flushed = tokio::task::spawn_blocking(move || store.flush()).await;
        if let Err(error) = std::fs::remove_file(&self.inner.summary.socket) {
            tracing::debug!(%error, "the socket was gone already");
        }
        saved?;
        Ok(flushed.unwrap_or(Ok(()))?)
    }
}

impl Inner {
    /// What goes on without anybody asking.
    fn spawn_tasks(
        self: &Arc<Self>,
        certificates: Arc<atoll_certs::Store>,
        reload: Duration,
        tasks: &mut JoinSet<()>,
        stopped: &watch::Receiver<bool>,
    ) {
        certs::spawn(certificates, self.authorities.clone(), reload, tasks, stopped);
        tasks.spawn(release::run(Arc::clone(self), stopped.clone()));
        tasks.spawn(bundles::run(Arc::clone(self), stopped.clone()));
        tasks.spawn(published::run(Arc::clone(self), stopped.clone()));
        tasks.spawn(earlier::run(Arc::clone(self), stopped.clone()));
        tasks.spawn(purges::run(Arc::clone(self), stopped.clone()));
        if let Some(swarm) = self.swarm.clone() {
            tasks.spawn(provide::run(Arc::clone(self), swarm, stopped.clone()));
        }
        tracing::info!(peer_id = self.summary.peer_id, gateway = self.summary.gateway, "the node serves");
    }

    /// The ports of all listeners for visitors.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let ready = &self.summary;
        let urls = std::iter::once(&ready.gateway).chain(&ready.secure).chain(&ready.http3);
        let port = |url: &String| url.rsplit(':').next()?.trim_end_matches('/').parse().ok();
        let mut ports: Vec<u16> = urls.filter_map(port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Its peer id as text.
    pub(crate) fn peer_id(&self) -> &str {
        &self.summary.peer_id
    }

    /// The same, of what goes on beside another process that takes over.
    fn spawn_lasting(self: &Arc<Self>, deny_reload: Duration) -> JoinSet<()> {
        let mut lasting = JoinSet::new();
        lasting.spawn(deny::run(Arc::clone(self), deny_reload));
        for (_, origins) in self.fronts.origins() {
            lasting.spawn(servers::watch(origins.clone()));
        }
        lasting
    }

    /// Whether the process that was taken over from still runs.
    pub(crate) fn follows(&self) -> bool {
        self.follows.load(Ordering::Relaxed)
    }

    /// Whether it takes requests.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// All that is shown of the node.
    pub(crate) fn status(&self) -> Status {
        let store = self.local.store().stats();
        let pins = self.local.store().pins();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            peer_id: self.summary.peer_id.clone(),
            operator: self.operator.0.clone(),
            operator_label: self.operator.1.clone(),
            gateway: self.summary.gateway.clone(),
            admin: self.summary.admin.clone(),
            uptime_seconds: self.started.elapsed().as_secs(),
            ready: self.is_ready(),
            store: StoreStatus {
                blocks: store.blocks,
                block_bytes: store.bytes_live,
                disk_bytes: store.bytes_on_disk,
                bytes_max: store.bytes_max,
                packs: store.packs,
                damaged: self.local.damaged(),
                cache_bytes: self.local.cache().bytes(),
            },
            traffic: self.metrics.traffic(),
            node_id: self.bundles.node_id().to_string(),
            answer_key: self.bundles.key().public_pem().unwrap_or_default(),
            bundles: self.bundles.views(),
            pins: pins.into_iter().map(|pin| PinStatus { root: pin.cid.to_string(), name: pin.name }).collect(),
            network: self.router.snapshot(),
            sites: self.fronts.views().into_iter().map(servers::status).collect(),
            published: self.notices.views(),
            drills: self.drills.all(),
            swarm: self.swarm.as_ref().map(Swarm::snapshot),
            pinning: self.pinning.as_ref().map(atoll_pinning::Service::snapshot),
            providing: self.providing.views(),
            delegated: self.summary.delegated.clone(),
            routers: self.routers.as_ref().map(Routers::views).unwrap_or_default(),
        }
    }
}

/// What is not shown, whose answers are elsewhere, what is shown by TLS, who signs, and what was shown before.
type Shown<'a> = (&'a Arc<Lists>, &'a Arc<Fronts>, &'a Arc<atoll_certs::Store>, (Signer, &'a Arc<Versions>));

/// Blocks from others too, as far as a policy goes.
fn remote(router: &Router, local: &Arc<LocalBlocks>, policy: FetchPolicy) -> Arc<RemoteBlocks> {
    Arc::new(router.remote(Arc::clone(local) as _, policy))
}

/// The public listener, over what may be shown.
fn bind_gateway(
    config: &Config,
    (names, router, counters): (&Arc<Resolver>, &Router, &Arc<Counters>),
    (remote, local): (Arc<RemoteBlocks>, &Arc<LocalBlocks>),
    (deny, fronts, certificates, (signer, versions)): Shown<'_>,
    sockets: &mut Sockets,
) -> Result<Server, NodeError> {
    let services = Services {
        fronts: Arc::clone(fronts),
        earlier: Arc::clone(versions) as _,
        names: Arc::clone(names) as _,
        answer: router.answer(),
        observe: Arc::clone(counters) as _,
        certificates: Arc::clone(certificates),
        deny: Arc::clone(deny) as _,
        blocks: shown(remote, deny),
        local: shown(Arc::clone(local) as _, deny),
        signer: Some(signer),
    };
    Ok(Server::bind(&config.gateway, services, &mut sockets.passed)?)
}

/// The bundles of this node, made of its own blocks past its memory of what visitors read.
fn shelf(folder: &Folder, local: &Arc<LocalBlocks>, keys: &NodeKeys) -> Arc<Shelf> {
    let blocks = Arc::new(PassingBlocks(LocalBlocks::clone(local)));
    Arc::new(Shelf::open(folder.bundles(), blocks, Arc::clone(&keys.answer)))
}

/// The sites with origins. Before these the node goes by a name that is its own.
async fn fronts(
    folder: &Folder,
    config: &Config,
    (me, signer): (&PeerId, Arc<AnswerKey>),
    is_takeover: bool,
) -> Result<Arc<Fronts>, NodeError> {
    let id = me.to_string();
    let name = format!("atoll-{}", id.get(id.len().saturating_sub(12)..).unwrap_or_default());
    let fronts = Arc::new(Fronts::open(&config.sites, &config.cache, (&name, Some(signer)), Some(&folder.cache()))?);
    let patience = if is_takeover { RECOVERY_WAIT_TAKEOVER } else { RECOVERY_WAIT };
    if tokio::time::timeout(patience, fronts.recovered()).await.is_err() {
        tracing::info!("what is stored on disk is still being found again; until then it is asked for again");
    }
    Ok(fronts)
}

/// The blocks that may be shown.
fn shown(blocks: Arc<dyn Blocks>, deny: &Arc<Lists>) -> Arc<dyn Blocks> {
    Arc::new(Guarded::new(blocks, Arc::clone(deny) as _))
}

/// The swarm, if an address to listen on is set. It hears of every block that is stored.
async fn spawn_swarm(
    config: &Config,
    keys: &NodeKeys,
    local: &LocalBlocks,
    deny: &Arc<Lists>,
    is_takeover: bool,
) -> Result<Option<Swarm>, NodeError> {
    if config.swarm.listen.is_empty() {
        return Ok(None);
    }
    let mut tries = if is_takeover { SWARM_TRIES } else { 1 };
    let swarm = loop {
        let (identity, blocks) = (keys.identity.to_libp2p(), shown(Arc::new(PassingBlocks(local.clone())), deny));
        tries -= 1;
        match Box::pin(Swarm::spawn(SwarmParts { identity, blocks }, &config.swarm)).await {
            // The sockets of the process before may take a moment to close.
            Err(error) if tries > 0 => tracing::debug!(%error, "the swarm cannot listen yet"),
            spawned => break spawned?,
        }
        tokio::time::sleep(SWARM_PAUSE).await;
    };
    let arrivals = swarm.arrivals();
    local.store().watch(move |hash| arrivals.arrived(hash));
    Ok(Some(swarm))
}

/// The router over HTTP, with this node's member record.
async fn spawn_router(
    folder: &Folder,
    config: &Config,
    keys: NodeKeys,
    local: &Arc<LocalBlocks>,
    (names, network): (&NameStore, &Network),
) -> Result<(Arc<Router>, (Arc<Obedience>, Arc<Versions>)), NodeError> {
    let versions = Arc::new(Versions::open(&folder.earlier(), config.node.earlier));
    let obedience = Arc::new(Obedience::open(&folder.purged()));
    let records = folder.records();
    keys::create_private_dir(&records).map_err(|error| NodeError::Folder(records.clone(), error))?;
    let identity = Arc::new(keys.identity);
    let (signer, answer, operator) = (Arc::clone(&identity), keys.answer, keys.operator);
    let (accept, store) = (accept(&config.node.accept), local.store().clone());
    let member = move |addresses: &[Multiaddr]| {
        let mut member = Member::new(&signer, &answer, operator.clone(), addresses);
        let stats = store.stats();
        member.free = stats.bytes_max.saturating_sub(stats.bytes_on_disk);
        member.accept = accept.clone();
        member
    };
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| NodeError::Randomness)?;
    // The settings were checked, so what does not parse cannot be here.
    let seeds = config.node.seeds.iter().filter_map(|seed| address::parse(seed).ok()).collect();
    let parts = Parts {
        identity,
        member: Box::new(member),
        transport: Arc::clone(&network.transport),
        purges: Arc::clone(&obedience) as _,
        providers: network.providers(),
        gossip: network.swarm.clone().map_or_else(|| Arc::new(NoopGossip) as _, |swarm| Arc::new(swarm) as _),
        exchange: network.swarm.clone().map_or_else(|| Arc::new(NoopExchange) as _, |swarm| Arc::new(swarm) as _),
        clock: Arc::new(TokioClock),
        storage: Arc::clone(local) as _,
        log: Arc::new(FileLog::new(records.join("known"))),
        names: Arc::new(names.clone()),
        seeds,
        seed,
    };
    let router = Router::spawn(parts, config.routing.clone()).await?;
    if let Some(swarm) = &network.swarm {
        swarm.serve(router.answer()).await;
    }
    Ok((Arc::new(router), (obedience, versions)))
}

/// The IPNS records of `folder`. Those of sites that are pinned because they are placed here are never evicted.
fn open_names(folder: &Folder, config: &Config, local: &Arc<LocalBlocks>) -> Result<NameStore, NodeError> {
    let names = folder.names();
    keys::create_private_dir(&names).map_err(|error| NodeError::Folder(names.clone(), error))?;
    let store = local.store().clone();
    let held = move || {
        let pins = store.pins().into_iter();
        pins.filter_map(|pin| pin.name.strip_prefix("site:")?.parse().ok()).collect()
    };
    Ok(NameStore::open(&names, &config.names, Arc::new(TokioClock), Box::new(held))?)
}

/// Names over the records, the DNSLinks of the settings, and whoever else knows records.
fn spawn_names(config: &Config, records: &NameStore, (router, network): (&Router, &Network)) -> Resolver {
    let exchange = network.names(everywhere(router.names(), network.swarm.clone()));
    Resolver::spawn(NamesParts {
        store: records.clone(),
        links: Arc::new(MapLinks::new(&config.names)),
        exchange,
        clock: Arc::new(TokioClock),
        config: config.names.clone(),
    })
}

/// Where names' records are asked for and told.
fn everywhere(members: Arc<dyn NameExchange>, swarm: Option<Swarm>) -> Arc<dyn NameExchange> {
    match swarm {
        Some(swarm) => Arc::new(Everywhere::spawn(members, swarm)),
        None => members,
    }
}
