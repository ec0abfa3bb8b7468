//! The nodes of the demo: processes of this very program, each with its own folder, keys and ports.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use atoll_core::ipns::Name;
use atoll_node::api::{Ready, Status};
use atoll_node::sites::SiteConfig;
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::drill::wait;
use super::shop::{self, Shop};
use crate::control::Control;
use crate::keyring::Keyring;
use crate::output::Output;

/// Node and operator names.
const NODES: [(&str, &str); 5] =
    [("node1", "lagoon"), ("node2", "lagoon"), ("node3", "reef"), ("node4", "reef"), ("node5", "motu")];
/// The name of the site's key.
const SITE: &str = "demo";
/// Ports of all nodes: gateway, admin listener, swarm, gateway with TLS.
const PORTS: u16 = 20;
/// Copies of the site.
pub(crate) const REPLICAS: u64 = 3;
/// How long a node may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// All nodes of the demo, and the folder they live in.
#[derive(Debug)]
pub(crate) struct Ring {
    dir: PathBuf,
    keep: bool,
    nodes: Vec<RingNode>,
    /// The server of the site that has one.
    pub(super) shop: Shop,
    output: Output,
}

/// What `atoll publish` told.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct Published {
    pub root: String,
    pub site: String,
    /// The site's name in IPNS, in base36.
    #[serde(default)]
    pub name: String,
}

impl Ring {
    /// Prepares folders and ports; nothing runs yet. `port` is the first of twenty, 0 for free ones.
    pub(crate) fn new(dir: Option<PathBuf>, port: u16, output: &Output) -> Result<Self> {
        let keep = dir.is_some();
        let dir = dir.unwrap_or_else(|| std::env::temp_dir().join(format!("atoll-demo-{}", std::process::id())));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let ports = if port == 0 { free_ports()? } else { (0..PORTS).map(|i| port.saturating_add(i)).collect() };
        // Gateways and admin listeners stand side by side, before the swarms' ports and those with TLS.
        let (pages, others) = ports.split_at(2 * NODES.len());
        let (swarms, secure) = others.split_at(NODES.len());
        let nodes = NODES.iter().zip(pages.chunks(2)).zip(swarms.iter().zip(secure));
        let nodes = nodes.map(|(((name, operator), ports), (swarm, secure))| RingNode {
            name: (*name).to_owned(),
            operator: (*operator).to_owned(),
            dir: dir.join(name),
            gateway: format!("http://127.0.0.1:{}", ports[0]),
            secure: format!("https://127.0.0.1:{secure}"),
            admin: format!("http://127.0.0.1:{}", ports[1]),
            swarm: format!("/ip4/127.0.0.1/tcp/{swarm}"),
            process: None,
            peer_id: String::new(),
        });
        Ok(Self { nodes: nodes.collect(), shop: Shop::new()?, dir, keep, output: *output })
    }

    /// Makes operators and their certificates, and starts all nodes.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let bar = self.output.steps(NODES.len() as u64, "starting");
        for operator in ["lagoon", "reef", "motu"] {
            if !self.dir.join("keyring").join(format!("{operator}.operator.pem")).exists() {
                let _: serde_json::Value = self.atoll(&["key", "new", operator, "--operator"]).await?;
            }
        }
        let (site, _) = Keyring::open(Some(&self.dir.join("keyring")))?.site(SITE)?;
        let name = Name::of(&site.public()).context("the site key has no name")?.to_string();
        self.shop.start().await?;
        for at in 0..self.nodes.len() {
            let (dir, operator) = (self.nodes[at].dir.clone(), self.nodes[at].operator.clone());
            fs::create_dir_all(&dir)?;
            let certificate = dir.join("operator.json");
            let dir = dir.to_string_lossy();
            let identity: serde_json::Value = self.atoll(&["key", "peer-id", "--dir", &dir]).await?;
            let peer = identity["peer_id"].as_str().unwrap_or_default().to_owned();
            let to = certificate.to_string_lossy();
            self.atoll_quiet(&["key", "certify", &operator, "--peer", &peer, "-o", &to]).await?;
            self.nodes[at].peer_id = peer;
            self.write_settings(at, &name)?;
            self.start_node(at).await?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The settings of node `at`: it joins through the first two, whichever of them lives.
    fn write_settings(&self, at: usize, site: &str) -> Result<()> {
        let node = &self.nodes[at];
        let known =
            self.nodes.iter().take(2).filter(|known| known.peer_id != node.peer_id && !known.peer_id.is_empty());
        let known: Vec<String> = known.map(|known| format!("{}/p2p/{}", known.swarm, known.peer_id)).collect();
        Ok(fs::write(node.dir.join("node.toml"), settings(&node.swarm, &node.secure, &known, self.shop.site(site))?)?)
    }

    /// Publishes `site` through the first node, with the progress of the command itself.
    pub(crate) async fn publish(&self, site: &Path) -> Result<Published> {
        let (replicas, dir) = (REPLICAS.to_string(), self.nodes[0].dir.to_string_lossy().into_owned());
        let site = site.to_string_lossy();
        let args = ["publish", &site, "--site", SITE, "--replicas", &replicas, "--dir", &dir];
        if self.output.json {
            return self.atoll(&args).await;
        }
        let status = self.command(&args).status().await?;
        if !status.success() {
            bail!("`atoll publish` ended with {status}");
        }
        let mut published: Published = self.atoll(&["status", SITE, "--dir", &dir]).await?;
        let record: atoll_node::api::NameRecord = self.atoll(&["name", "show", SITE, "--dir", &dir]).await?;
        published.name = record.name;
        Ok(published)
    }

    /// Returns once each node knows of all others, and what was published: before, one that is no holder finds nobody to ask.
    pub(crate) async fn spread(&self, root: &str) -> Result<()> {
        for node in &self.nodes {
            wait(&format!("{} to hear of the site", node.name), async || {
                let network = node.status().await?.network;
                let knows = network.placements.iter().any(|placed| placed.root == root);
                Ok(knows && network.members.len() >= self.nodes.len())
            })
            .await?;
        }
        Ok(())
    }

    /// Starts node `at`, again with the same folder and ports if it ran before.
    pub(crate) async fn start_node(&mut self, at: usize) -> Result<()> {
        let node = &mut self.nodes[at];
        let log = File::options().create(true).append(true).open(node.log())?;
        let mut command = self_command()?;
        let socket_address = |url: &str| url.trim_start_matches("http://").to_owned();
        command.arg("node").arg("--json").arg("--dir").arg(&node.dir).arg("--stop-with-stdin");
        command.arg("--gateway-listen").arg(socket_address(&node.gateway));
        command.arg("--admin-listen").arg(socket_address(&node.admin));
        command.arg("--operator-certificate").arg(node.dir.join("operator.json"));
        // In a group of its own, so that Ctrl-C in a terminal reaches only the demo, which then stops its nodes in order.
        command.process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().context("no stdout")?;
        node.process = Some(child);
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout);
        let read = tokio::time::timeout(PATIENCE, stdout.read_line(&mut line)).await;
        read.ok().and_then(Result::ok).filter(|&n| n > 0).with_context(|| format!("{} did not start", node.name))?;
        let ready: Ready = serde_json::from_str(&line).with_context(|| format!("{} said: {line}", node.name))?;
        (node.gateway, node.admin) = (ready.gateway, ready.admin);
        Ok(())
    }

    /// Kills node `at` with SIGKILL.
    pub(crate) async fn kill_node(&mut self, at: usize) -> Result<()> {
        let mut process = self.nodes[at].process.take().context("it does not run")?;
        process.kill().await.context("SIGKILL failed")
    }

    /// Cuts node `at` off: its connections stay open, and nothing comes over them any more (SIGSTOP).
    pub(crate) fn cut_off(&self, at: usize) -> Result<()> {
        self.signal(at, Signal::STOP)
    }

    /// Ends what [`Self::cut_off`] began.
    pub(crate) fn reconnect(&self, at: usize) -> Result<()> {
        self.signal(at, Signal::CONT)
    }

    fn signal(&self, at: usize, signal: Signal) -> Result<()> {
        let id = self.nodes[at].process.as_ref().and_then(Child::id).context("it does not run")?;
        let id = i32::try_from(id).ok().and_then(Pid::from_raw).context("it has no process id")?;
        kill_process(id, signal).with_context(|| format!("{signal:?} failed"))
    }

    /// Stops all nodes cleanly and removes the folder, unless it was asked for by name.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let mut unclean = Vec::new();
        // Closing its standard input tells a node to drain.
        for node in &mut self.nodes {
            if let Some(process) = &mut node.process {
                drop(process.stdin.take());
            }
        }
        for node in &mut self.nodes {
            let Some(mut process) = node.process.take() else { continue };
            match tokio::time::timeout(PATIENCE, process.wait()).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(status) => unclean.push(format!("{} ended with {status:?}", node.name)),
                Err(_) => unclean.push(format!("{} did not stop within {} s", node.name, PATIENCE.as_secs())),
            }
        }
        if !self.keep {
            fs::remove_dir_all(&self.dir).with_context(|| format!("cannot remove {}", self.dir.display()))?;
        }
        if unclean.is_empty() { Ok(()) } else { bail!("{}", unclean.join("; ")) }
    }

    /// The last lines of each node's log, for when something went wrong.
    pub(crate) fn last_words(&self) -> String {
        let mut words = String::new();
        for node in &self.nodes {
            let log = fs::read_to_string(node.log()).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(5).collect();
            for line in lines.iter().rev() {
                words.push_str(&format!("{}: {line}\n", node.name));
            }
        }
        words
    }

    pub(crate) fn nodes(&self) -> &[RingNode] {
        &self.nodes
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a command of this program and reads its JSON.
    pub(crate) async fn atoll<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T> {
        let output = self.command(args).arg("--json").stderr(Stdio::piped()).output().await?;
        let words = || format!("`atoll {}`: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        serde_json::from_slice(&output.stdout).with_context(words)
    }

    /// Runs a command of this program that prints nothing.
    async fn atoll_quiet(&self, args: &[&str]) -> Result<()> {
        let output = self.command(args).stderr(Stdio::piped()).output().await?;
        if output.status.success() {
            return Ok(());
        }
        bail!("`atoll {}`: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| PathBuf::from("atoll")));
        command.args(args).arg("--keyring").arg(self.dir.join("keyring")).stdin(Stdio::null());
        command
    }
}

/// One node of the demo.
#[derive(Debug)]
pub(crate) struct RingNode {
    name: String,
    operator: String,
    dir: PathBuf,
    gateway: String,
    /// The same with TLS, by a certificate that signs itself.
    secure: String,
    admin: String,
    swarm: String,
    process: Option<Child>,
    peer_id: String,
}

impl RingNode {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn gateway(&self) -> &str {
        &self.gateway
    }

    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    pub(crate) fn peer_id(&self) -> &str {
        &self.peer_id
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The site at its own origin.
    pub(crate) fn site_url(&self, root: &str) -> String {
        format!("http://{root}.ipfs.localhost:{}/", self.gateway.rsplit(':').next().unwrap_or_default())
    }

    /// The site by its name, which stays the same whatever is published.
    pub(crate) fn name_url(&self, name: &str) -> String {
        format!("http://{name}.ipns.localhost:{}/", self.gateway.rsplit(':').next().unwrap_or_default())
    }

    /// The site that has a server.
    pub(crate) fn shop_url(&self) -> String {
        format!("http://{}:{}/", shop::HOST, self.gateway.rsplit(':').next().unwrap_or_default())
    }

    /// The site by path.
    pub(crate) fn path_url(&self, root: &str) -> String {
        format!("{}/ipfs/{root}/", self.gateway)
    }

    /// The site at its own origin, over TLS.
    pub(crate) fn secure_url(&self, root: &str) -> String {
        format!("https://{root}.ipfs.localhost:{}/", self.secure.rsplit(':').next().unwrap_or_default())
    }

    /// What the node says of itself.
    pub(crate) async fn status(&self) -> Result<Status> {
        Control::new(&self.dir.join("node.sock")).get("/v1/status").await
    }

    fn log(&self) -> PathBuf {
        self.dir.join("node.log")
    }
}

/// The pace of the demo, where production takes minutes, and a private swarm of its own.
fn settings(swarm: &str, secure: &str, known: &[String], shop: SiteConfig) -> Result<String> {
    let mut config = atoll_node::config::Config { routing: atoll_routing::Config::demo(), ..Default::default() };
    config.gateway.threads = 1;
    config.gateway.tls.listen = vec![secure.trim_start_matches("https://").parse()?];
    config.certs.self_signed =
        ["localhost", "*.ipfs.localhost", "*.ipns.localhost", "127.0.0.1"].map(str::to_owned).to_vec();
    config.sites = vec![shop];
    config.swarm.listen = vec![swarm.parse()?];
    config.swarm.bootstrap = known.iter().map(|address| address.parse()).collect::<Result<_, _>>()?;
    config.swarm.network = "atoll-demo".to_owned();
    let mut table = toml::Table::try_from(config)?;
    // The rest stays at its default, or comes by flag.
    table.retain(|section, _| ["routing", "gateway", "swarm", "certs", "sites"].contains(&section));
    Ok(toml::to_string(&table)?)
}

/// This program, free of the caller's `ATOLL_…` settings.
fn self_command() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ATOLL_")) {
        command.env_remove(name);
    }
    Ok(command)
}

/// Twenty ports that were free a moment ago, all held at once so that they differ.
fn free_ports() -> Result<Vec<u16>> {
    let listeners: Vec<_> = (0..PORTS).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
