//! Figures of the node, for Prometheus and for the status page. Lost with the process, as scraped figures are.

mod fronts;
mod providing;
mod signing;
mod swarm;
mod tls;

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use atoll_content::store::Store;
use atoll_edge::Kept;
use atoll_edge::front::Fronts;
use atoll_edge::observe::{Counters, Totals};
use atoll_identity::Store as NameStore;
use atoll_pinning::Service;
use atoll_routing::{Router, RouterView, Routers, Sweep};
use atoll_security::Lists;
use atoll_security::deny::lists::Summary;
use atoll_swarm::Swarm;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::api::Traffic;
use crate::bundles::Shelf;
use crate::config::Config;
use crate::delegated::Counts;
use fronts::FrontCollector;
use providing::SweepCollector;
use signing::SigningCollector;
use swarm::SwarmCollector;
use tls::TlsCollector;

/// How often the totals are remembered, and for how many times: percentiles look back five minutes.
const STEP: Duration = Duration::from_secs(10);
const STEPS_MAX: usize = 30;

/// Everything that is measured.
#[derive(Debug)]
pub(crate) struct Metrics {
    counters: Arc<Counters>,
    window: Mutex<VecDeque<(Instant, Totals)>>,
    registry: Registry,
}

impl Metrics {
    /// Metrics over the gateway's counters, the store and the network.
    pub(crate) fn new(
        counters: Arc<Counters>,
        gateway: Kept,
        (store, names): (Store, NameStore),
        router: Arc<Router>,
        deny: Arc<Lists>,
        (asks, routers, pinning): (Arc<Counts>, Option<Routers>, Option<Service>),
    ) -> Self {
        let mut registry = Registry::with_prefix("atoll");
        let counted = Arc::clone(&counters);
        let collector =
            NodeCollector { counters: counted, gateway, store, names, router, deny, asks, routers, pinning };
        registry.register_collector(Box::new(collector));
        Self { counters, window: Mutex::default(), registry }
    }

    /// With those of TLS.
    pub(crate) fn with_tls(mut self, gateway: Kept, certificates: Arc<atoll_certs::Store>) -> Self {
        self.registry.register_collector(Box::new(TlsCollector { gateway, certificates }));
        self
    }

    /// The same, and those of the swarm, and how announcing goes.
    pub(crate) fn with_swarm(mut self, swarm: Option<&Swarm>, sweeps: Vec<Sweep>) -> Self {
        self.registry.register_collector(Box::new(SweepCollector(sweeps)));
        if let Some(swarm) = swarm {
            self.registry.register_collector(Box::new(SwarmCollector(swarm.clone())));
        }
        self
    }

    /// The same, and those of sites with origins, if there are any, or sites may name some themselves later.
    pub(crate) fn with_fronts(mut self, fronts: &Arc<Fronts>, config: &Config) -> Self {
        if !fronts.is_empty() || !config.node.servers.is_none() {
            self.registry.register_collector(Box::new(FrontCollector(Arc::clone(fronts))));
        }
        self
    }

    /// The same, and those of signed answers.
    pub(crate) fn with_signing(mut self, gateway: Kept, bundles: &Arc<Shelf>) -> Self {
        let bundles = Arc::clone(bundles);
        self.registry.register_collector(Box::new(SigningCollector { gateway, bundles }));
        self
    }

    /// The OpenMetrics text.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        // Writing into a string cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }

    /// The gateway's figures.
    pub(crate) fn traffic(&self) -> Traffic {
        let now = self.counters.totals();
        let earlier = self.earlier(&now);
        let ms = |share| now.quantile(share, earlier.as_ref()).map(|duration| duration.as_secs_f64() * 1000.0);
        let errors = now.classes.get(4).copied().unwrap_or(0);
        Traffic { requests: now.requests(), hits: now.hot, errors, bytes: now.bytes, p50_ms: ms(0.5), p99_ms: ms(0.99) }
    }

    /// The totals of some minutes ago; remembers the present ones now and then.
    fn earlier(&self, now: &Totals) -> Option<Totals> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Instant::now();
        if window.back().is_none_or(|(then, _)| at.duration_since(*then) >= STEP) {
            window.push_back((at, now.clone()));
        }
        if window.len() > STEPS_MAX {
            window.pop_front();
        }
        // Before the window is full, everything since the start counts.
        (window.len() == STEPS_MAX).then(|| window.front().map(|(_, totals)| totals.clone())).flatten()
    }
}

/// Reads the figures when they are asked for.
#[derive(Debug)]
struct NodeCollector {
    counters: Arc<Counters>,
    gateway: Kept,
    store: Store,
    names: NameStore,
    router: Arc<Router>,
    deny: Arc<Lists>,
    asks: Arc<Counts>,
    routers: Option<Routers>,
    pinning: Option<Service>,
}

impl Collector for NodeCollector {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let totals = self.counters.totals();
        let requests = "Requests answered by the public gateway, by class of status";
        let mut family =
            out.encode_descriptor("http_requests", requests, None, ConstCounter::new(0_u64).metric_type())?;
        for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(totals.classes) {
            ConstCounter::new(count).encode(family.encode_family(&[("class", *class)])?)?;
        }
        counter(&mut out, "http_hot_hits", "Requests answered from the cache of ready responses", None, totals.hot)?;
        counter(&mut out, "messages", "Messages of members answered", None, totals.messages)?;
        counter(&mut out, "http_broken", "Answers broken off before their end", None, totals.broken)?;
        counter(&mut out, "http_sent", "Bytes of bodies sent", Some(&Unit::Bytes), totals.bytes)?;
        let seconds = totals.duration.as_secs_f64();
        let metric = ConstCounter::new(seconds);
        let help = "Time from the head of each request to the end of its answer";
        let encoder = out.encode_descriptor("http_duration", help, Some(&Unit::Seconds), metric.metric_type())?;
        metric.encode(encoder)?;
        let load = self.gateway.load();
        gauge(&mut out, "http_connections", "Open connections of visitors", None, load.connections as u64)?;
        gauge(&mut out, "http_waiting", "Requests that wait for their answer to begin", None, load.waiting as u64)?;
        let sending = "Memory of answers that are being sent";
        gauge(&mut out, "http_sending", sending, Some(&Unit::Bytes), load.sending_bytes)?;
        let sealed = "Answers ready in memory that are sent without a copy";
        gauge(&mut out, "http_sealed", sealed, None, load.sealed as u64)?;
        let resting = "Connections that rest between requests, of which nothing is kept but the socket";
        gauge(&mut out, "http_resting", resting, None, load.resting as u64)?;
        let store = self.store.stats();
        gauge(&mut out, "store_blocks", "Blocks held", None, store.blocks)?;
        gauge(&mut out, "store_disk", "Bytes on disk", Some(&Unit::Bytes), store.bytes_on_disk)?;
        gauge(&mut out, "store_budget", "Most bytes on disk", Some(&Unit::Bytes), store.bytes_max)?;
        gauge(&mut out, "names_records", "IPNS records kept", None, self.names.count() as u64)?;
        self.encode_deny(&mut out)?;
        self.encode_delegated(&mut out)?;
        self.encode_pinning(&mut out)?;
        let network = self.router.snapshot();
        let live = network.members.iter().filter(|member| member.live).count();
        let below = network.placements.iter().filter(|placement| placement.copies < placement.target).count();
        gauge(&mut out, "members_live", "Members that answer", None, live as u64)?;
        gauge(&mut out, "members", "Members known", None, network.members.len() as u64)?;
        gauge(&mut out, "placements", "Placements known", None, network.placements.len() as u64)?;
        gauge(&mut out, "placements_below_target", "Placements with too few copies", None, below as u64)
    }
}

impl NodeCollector {
    fn encode_pinning(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(now) = self.pinning.as_ref().map(Service::snapshot) else { return Ok(()) };
        let help = "Pin requests of publishers, by what became of them";
        let mut family = out.encode_descriptor("pinning_requests", help, None, ConstGauge::new(0_i64).metric_type())?;
        let counts = [("queued", now.queued), ("pinning", now.pinning), ("pinned", now.pinned), ("failed", now.failed)];
        for (status, count) in counts {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&[("status", status)])?)?;
        }
        gauge(out, "pinning_publishers", "Publishers with a token that counts", None, now.publishers as u64)?;
        gauge(out, "pinning_used", "Bytes that count for publishers' quotas", Some(&Unit::Bytes), now.bytes)
    }

    fn encode_deny(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let lists = self.deny.summaries();
        let sum = |of: fn(&Summary) -> usize| lists.iter().map(of).sum::<usize>() as u64;
        gauge(out, "deny_lists", "Deny lists that serve", None, lists.len() as u64)?;
        gauge(out, "deny_rules", "Rules of deny lists", None, sum(|list| list.rules))?;
        let skipped = "Rules of deny lists that were not understood";
        gauge(out, "deny_rules_skipped", skipped, None, sum(|list| list.skipped))?;
        let refused = "Deny lists that cannot be used as they are now; what they were before serves on";
        gauge(out, "deny_lists_refused", refused, None, self.deny.refused() as u64)?;
        let denials = "Times that something denied was asked for: a path, a name, or a block on the way to an answer";
        counter(out, "deny_denials", denials, None, self.deny.denials())
    }
}

impl NodeCollector {
    fn encode_delegated(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Counts { providers, peers, closest, names, published, refused, records } = &*self.asks;
        let asked = [providers, peers, closest, names, published].map(|count| count.load(Ordering::Relaxed));
        let kinds = ["providers", "peers", "closest", "ipns", "ipns_put"];
        let help = "Questions of Delegated Routing answered, by kind";
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut family = out.encode_descriptor("delegated_requests", help, None, kind)?;
        for (kind, count) in kinds.iter().zip(asked) {
            ConstCounter::new(count).encode(family.encode_family(&[("kind", *kind)])?)?;
        }
        let refused = refused.load(Ordering::Relaxed);
        counter(out, "delegated_refused", "Questions of Delegated Routing refused", None, refused)?;
        let records = records.load(Ordering::Relaxed);
        counter(out, "delegated_records", "Records sent in answers of Delegated Routing", None, records)?;
        let views = self.routers.as_ref().map(Routers::views).unwrap_or_default();
        let sum = |of: fn(&RouterView) -> u64| views.iter().map(of).fold(0, u64::saturating_add);
        counter(out, "routers_asked", "Questions to routers of others", None, sum(|view| view.asked))?;
        counter(out, "routers_failed", "Questions that routers did not answer", None, sum(|view| view.failed))?;
        counter(out, "routers_records", "Peers that routers named", None, sum(|view| view.records))?;
        let usable = "Peers that routers named and that were there when they were tried";
        counter(out, "routers_usable", usable, None, sum(|view| view.usable))?;
        gauge(
            out,
            "routers_resting",
            "Routers that are left alone after failures",
            None,
            sum(|view| view.resting.into()),
        )
    }
}

fn counter(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let metric = ConstCounter::new(value);
    metric.encode(out.encode_descriptor(name, help, unit, metric.metric_type())?)
}

fn gauge(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    metric.encode(out.encode_descriptor(name, help, unit, metric.metric_type())?)
}
