//! `atoll demo --drill`: a client loads the whole site over and over, while each node in turn is killed with SIGKILL and
//! started again, two are cut off, a site's server dies, and one member lies. What it prints is counted, not promised.

use std::collections::BTreeMap;
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use atoll_content::reader;
use atoll_core::block::RAW;
use atoll_core::{Blocks, Cid};
use atoll_routing::{Client, ClientConfig, HttpConfig, HttpTransport, TokioClock};
use futures_util::StreamExt as _;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::ring::{Published, REPLICAS, Ring};
use super::shop;
use crate::output::{Output, bytes, table};

/// Requests in flight.
const WORKERS: usize = 4;
/// A request without verified bytes after this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long the calm is measured at least.
const CALM: Duration = Duration::from_secs(8);
/// How long a killed node stays dead at least, so that the figures of its phase mean something.
pub(super) const DEAD: Duration = Duration::from_secs(5);
/// The nodes that are cut off, after all have died once: of two operators, the first of them the one that others join through.
const CUT_OFF: [usize; 2] = [0, 3];
/// How long to wait for the ring to heal.
const HEAL: Duration = Duration::from_secs(60);

/// What the drill found.
#[derive(Debug, Serialize)]
struct Report {
    requests: u64,
    failed: u64,
    bytes_verified: u64,
    phases: Vec<Phase>,
    dropped: Vec<Dropped>,
    liar_dropped_by_client: bool,
    liar_counted_live_by: Vec<String>,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Phase {
    name: String,
    requests: u64,
    failed: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Until three live copies existed again, or all nodes had switched to another source of the site with a server; none for the calm.
    restored_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Dropped {
    gateway: String,
    why: String,
}

pub(super) async fn run(ring: &mut Ring, published: &Published, output: &Output) -> Result<ExitCode> {
    let started = Instant::now();
    let liar = Liar::start(ring).await?;
    await_member(ring, &liar.peer_id).await?;
    let load = Load::start(ring, &liar, &published.root).await?;
    output.note(&format!("\nThe drill: {} files, loaded by {WORKERS} workers from whichever nodes live.", load.files));
    let bar = output.steps((ring.nodes().len() + CUT_OFF.len() + 1) as u64, "drill");
    let mut restored = BTreeMap::new();
    tokio::time::sleep(CALM).await;
    load.whole_pass().await?;
    for at in 0..ring.nodes().len() {
        let name = format!("{} dead", ring.nodes()[at].name());
        load.phase(&name);
        bar.set_prefix(name.clone());
        let peer_id = ring.nodes()[at].peer_id().to_owned();
        let killed = Instant::now();
        ring.kill_node(at).await?;
        await_copies(ring, published, &peer_id).await.with_context(|| name.clone())?;
        restored.insert(name, killed.elapsed().as_secs_f64());
        tokio::time::sleep_until((killed + DEAD).into()).await;
        load.phase(&format!("{} back", ring.nodes()[at].name()));
        ring.start_node(at).await?;
        await_member_live(ring, &peer_id).await?;
        bar.inc(1);
    }
    for at in CUT_OFF {
        let name = format!("{} cut off", ring.nodes()[at].name());
        load.phase(&name);
        bar.set_prefix(name.clone());
        let peer_id = ring.nodes()[at].peer_id().to_owned();
        let cut = Instant::now();
        ring.cut_off(at)?;
        await_copies(ring, published, &peer_id).await.with_context(|| name.clone())?;
        restored.insert(name, cut.elapsed().as_secs_f64());
        tokio::time::sleep_until((cut + DEAD).into()).await;
        load.phase(&format!("{} reached again", ring.nodes()[at].name()));
        ring.reconnect(at)?;
        await_member_live(ring, &peer_id).await?;
        bar.inc(1);
    }
    bar.set_prefix("the shop's server dead".to_owned());
    load.phase("meanwhile");
    let visits = shop::drill(ring, &mut restored).await?;
    bar.finish_and_clear();
    let mut phases = load.stop(&restored);
    phases.extend(visits.iter().map(|recorded| recorded.told(&restored)));
    let dropped = load.dropped();
    let liar_dropped = dropped.iter().any(|dropped| dropped.gateway == liar.address);
    let mut report = Report {
        requests: phases.iter().map(|phase| phase.requests).sum(),
        failed: phases.iter().map(|phase| phase.failed).sum(),
        bytes_verified: load.shared.bytes.load(Ordering::Relaxed),
        phases,
        dropped,
        liar_dropped_by_client: liar_dropped,
        liar_counted_live_by: Vec::new(),
        seconds: started.elapsed().as_secs_f64(),
    };
    for node in ring.nodes() {
        let status = node.status().await?;
        if status.network.members.iter().any(|member| member.peer == liar.peer_id && member.live) {
            report.liar_counted_live_by.push(node.name().to_owned());
        }
    }
    output.result(&serde_json::json!({ "drill": report }), || describe(&report))?;
    let good = report.failed == 0 && report.liar_dropped_by_client && report.liar_counted_live_by.is_empty();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(report: &Report) -> String {
    let ms = |ms: f64| format!("{ms:.1} ms");
    let rows: Vec<_> = report
        .phases
        .iter()
        .map(|phase| {
            let restored = phase.restored_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"));
            let (requests, failed) = (phase.requests.to_string(), phase.failed.to_string());
            vec![phase.name.clone(), requests, failed, ms(phase.p50_ms), ms(phase.p99_ms), ms(phase.max_ms), restored]
        })
        .collect();
    let mut text = table(&["PHASE", "REQUESTS", "FAILED", "P50", "P99", "MAX", "WHOLE AFTER"], &rows);
    for dropped in &report.dropped {
        text.push_str(&format!("{} was {}\n", dropped.gateway, dropped.why));
    }
    let live = if report.liar_counted_live_by.is_empty() {
        "no node".to_owned()
    } else {
        report.liar_counted_live_by.join(", ")
    };
    text.push_str(&format!("the liar is counted live by {live}\n"));
    let (requests, failed, size) = (report.requests, report.failed, bytes(report.bytes_verified));
    text + &format!("{requests} requests, {failed} failed, {size} verified in {:.0} s", report.seconds)
}

/// The lying member's process.
struct Liar {
    peer_id: String,
    address: String,
    _process: Child,
}

impl Liar {
    async fn start(ring: &Ring) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("demo");
        for node in ring.nodes() {
            command.arg("--liar").arg(node.gateway());
        }
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no stdout")?).read_line(&mut line).await?;
        let said: serde_json::Value = serde_json::from_str(&line).context("the liar did not start")?;
        let field = |name: &str| said.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        Ok(Self { peer_id: field("peer_id"), address: field("gateway"), _process: process })
    }
}

/// Waits until every node knows the member.
async fn await_member(ring: &Ring, peer_id: &str) -> Result<()> {
    wait("the members to hear of the liar", async || {
        for node in ring.nodes() {
            let status = node.status().await?;
            if !status.network.members.iter().any(|member| member.peer == peer_id) {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

/// Waits until every other node counts the member live again.
async fn await_member_live(ring: &Ring, peer_id: &str) -> Result<()> {
    wait("a node to be counted live again", async || {
        for node in ring.nodes().iter().filter(|node| node.peer_id() != peer_id) {
            let status = node.status().await?;
            if !status.network.members.iter().any(|member| member.peer == peer_id && member.live) {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

/// Waits until every node but `dead` counts enough copies without it.
async fn await_copies(ring: &Ring, published: &Published, dead: &str) -> Result<()> {
    wait("three live copies", async || {
        for node in ring.nodes().iter().filter(|node| node.is_running() && node.peer_id() != dead) {
            let status = node.status().await?;
            let placement = status.network.placements.iter().find(|placement| placement.site == published.site);
            let healed = placement.is_some_and(|placement| {
                placement.copies >= REPLICAS && placement.holders.iter().all(|holder| holder != dead)
            });
            if !healed {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

/// Waits until it is so.
pub(super) async fn wait(what: &str, mut done: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + HEAL;
    while !done().await? {
        if Instant::now() > deadline {
            bail!("waited {} s for {what}", HEAL.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The client's load.
struct Load {
    files: usize,
    client: Arc<Client>,
    shared: Arc<Shared>,
    workers: tokio::task::JoinSet<()>,
}

/// What the workers share.
struct Shared {
    root: Cid,
    paths: Vec<Vec<String>>,
    next: AtomicUsize,
    stop: AtomicBool,
    bytes: AtomicU64,
    phases: Mutex<Vec<Recorded>>,
}

/// What requests of a phase met.
pub(super) struct Recorded {
    name: String,
    failed: u64,
    /// Microseconds.
    times: Histogram<u64>,
}

impl Recorded {
    /// None yet.
    pub(super) fn new(name: &str) -> Option<Self> {
        // From 1 µs to a minute, within 1 %.
        let times = Histogram::new_with_bounds(1, 60_000_000, 2).ok()?;
        Some(Self { name: name.to_owned(), failed: 0, times })
    }

    /// One more, which was answered within some time, or failed.
    pub(super) fn note(&mut self, answered: Option<Duration>) {
        match answered {
            Some(time) => self.times.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            None => self.failed = self.failed.saturating_add(1),
        }
    }

    fn told(&self, restored: &BTreeMap<String, f64>) -> Phase {
        let ms = |micros: u64| Duration::from_micros(micros).as_secs_f64() * 1000.0;
        Phase {
            name: self.name.clone(),
            requests: self.times.len().saturating_add(self.failed),
            failed: self.failed,
            p50_ms: ms(self.times.value_at_quantile(0.5)),
            p99_ms: ms(self.times.value_at_quantile(0.99)),
            max_ms: ms(self.times.max()),
            restored_seconds: restored.get(&self.name).copied(),
        }
    }
}

impl Load {
    /// Lists the site's files through the client itself, then starts the workers.
    async fn start(ring: &Ring, liar: &Liar, root: &str) -> Result<Self> {
        let mut gateways = Vec::new();
        for node in ring.nodes() {
            gateways.push(atoll_node::address::parse(node.gateway())?);
        }
        let root: Cid = root.parse()?;
        let transport = Arc::new(HttpTransport::new(HttpConfig::default()));
        let config = ClientConfig { deadline: PATIENCE, ..ClientConfig::default() };
        let client = Arc::new(Client::new(transport, Arc::new(TokioClock), &gateways, config, [7; 32]));
        client.discover().await;
        if !client.gateways().contains(&atoll_node::address::parse(&liar.address)?) {
            bail!("the client did not learn of the lying member from the others' records");
        }
        let paths = list(Arc::clone(&client) as _, root).await.context("the site could not be listed")?;
        let shared = Arc::new(Shared {
            root,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            phases: Mutex::default(),
            paths,
        });
        let mut load = Self { files: shared.paths.len(), client, shared, workers: tokio::task::JoinSet::new() };
        load.phase("calm");
        for _ in 0..WORKERS {
            let (client, shared) = (Arc::clone(&load.client), Arc::clone(&load.shared));
            load.workers.spawn(async move { shared.work(client).await });
        }
        Ok(load)
    }

    /// From now on requests count for this phase.
    fn phase(&self, name: &str) {
        self.shared.phases.lock().unwrap_or_else(PoisonError::into_inner).extend(Recorded::new(name));
    }

    /// Waits until every file was asked for at least once since the start.
    async fn whole_pass(&self) -> Result<()> {
        wait("a whole pass over the site", async || Ok(self.shared.next.load(Ordering::Relaxed) >= self.files)).await
    }

    fn stop(&self, restored: &BTreeMap<String, f64>) -> Vec<Phase> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let phases = self.shared.phases.lock().unwrap_or_else(PoisonError::into_inner);
        phases.iter().map(|recorded| recorded.told(restored)).collect()
    }

    fn dropped(&self) -> Vec<Dropped> {
        let dropped = self.client.dropped();
        dropped.into_iter().map(|(at, why)| Dropped { gateway: atoll_node::address::to_url(&at), why }).collect()
    }
}

impl Shared {
    /// Asks for file after file until told to stop.
    async fn work(&self, client: Arc<Client>) {
        while !self.stop.load(Ordering::Relaxed) {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            // A step that shares no factor with the number of files visits all of them, far apart from one another.
            let Some(path) = self.paths.get(at.wrapping_mul(7919) % self.paths.len().max(1)) else { return };
            let begun = Instant::now();
            let count = tokio::time::timeout(PATIENCE, read(Arc::clone(&client) as _, &self.root, path)).await;
            let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(phase) = phases.last_mut() else { return };
            match count {
                Ok(Ok(count)) => {
                    self.bytes.fetch_add(count, Ordering::Relaxed);
                    phase.note(Some(begun.elapsed()));
                }
                failure => {
                    tracing::warn!(?failure, ?path, "a request of the drill failed");
                    phase.note(None);
                }
            }
        }
    }
}

/// The paths of all files of the site, by reading its directories.
async fn list(blocks: Arc<dyn Blocks>, root: Cid) -> Result<Vec<Vec<String>>> {
    let (mut files, mut folders) = (Vec::new(), vec![Vec::<String>::new()]);
    while let Some(folder) = folders.pop() {
        let resolved = reader::resolve(&*blocks, &root, &folder).await?;
        let mut entries = reader::list(Arc::clone(&blocks), &resolved);
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            let path: Vec<String> = folder.iter().cloned().chain([entry.name]).collect();
            // A raw leaf is a file; anything else must be looked at.
            let is_folder = entry.cid.codec() != RAW && reader::resolve(&*blocks, &root, &path).await?.is_directory();
            if is_folder { folders.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}

/// Loads one file whole; how many bytes verified.
async fn read(blocks: Arc<dyn Blocks>, root: &Cid, path: &[String]) -> Result<u64> {
    let resolved = reader::resolve(&*blocks, root, path).await?;
    let mut stream = reader::read(blocks, &resolved, 0..u64::MAX)?;
    let mut count = 0_u64;
    while let Some(chunk) = stream.next().await {
        count = count.saturating_add(chunk?.len() as u64);
    }
    Ok(count)
}
