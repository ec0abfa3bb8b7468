//! The demo's site that has a server as well: `shop.localhost`, which comes from a server of the demo's own, and from what was published
//! once that is dead. The drill kills it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as Socket};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use atoll_node::sites::{OriginConfig, OriginTimeouts, SiteConfig, Source};
use bytes::Bytes;
use http::{Response, header};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::drill::{DEAD, PATIENCE, Recorded, wait};
use super::ring::Ring;
use crate::commands::drill::ask;

/// The host of the site.
pub(super) const HOST: &str = "shop.localhost";
/// For how long what was published leads at least, once the server has failed.
const HOLD: Duration = Duration::from_secs(1);
/// How long connecting to the server may take.
const CONNECT: Duration = Duration::from_secs(1);

/// The server's process.
#[derive(Debug)]
pub(super) struct Shop {
    address: SocketAddr,
    process: Option<Child>,
}

impl Shop {
    /// Chooses a free port; nothing runs yet.
    pub(super) fn new() -> Result<Self> {
        Ok(Self { address: Socket::bind("127.0.0.1:0")?.local_addr()?, process: None })
    }

    /// What nodes are told of the site: its server leads, and what was published under `name` takes over.
    pub(super) fn site(&self, name: &str) -> SiteConfig {
        let origin = OriginConfig {
            url: format!("http://{}", self.address),
            name: "shop".to_owned(),
            ..OriginConfig::default()
        };
        SiteConfig {
            hosts: vec![HOST.to_owned()],
            origins: vec![origin],
            content: format!("/ipns/{name}"),
            prefer: Source::Origin,
            hold: HOLD,
            timeouts: OriginTimeouts { connect: CONNECT, ..OriginTimeouts::default() },
            ..SiteConfig::default()
        }
    }

    /// Starts the server, and returns once it listens.
    pub(super) async fn start(&mut self) -> Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["demo", "--server", &self.address.to_string()]);
        // In a group of its own, as the nodes are.
        let command = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no stdout")?).read_line(&mut line).await?;
        anyhow::ensure!(!line.is_empty(), "the server of {HOST} did not start");
        self.process = Some(process);
        Ok(())
    }

    /// SIGKILL.
    async fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the server does not run")?;
        process.kill().await.context("SIGKILL failed")
    }
}

/// The server itself, until it is killed.
pub(super) async fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("{address}");
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let service = service_fn(async |_| {
                let page = Full::new(Bytes::from_static(b"<p>From the shop's own server.</p>\n"));
                let response = Response::builder().header(header::CONTENT_TYPE, "text/html; charset=utf-8");
                Ok::<_, Infallible>(response.header(header::CACHE_CONTROL, "no-store").body(page).unwrap_or_default())
            });
            // A connection that fails is no loss to anybody.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// What visitors of the site met.
struct Visits {
    phases: Mutex<Vec<Recorded>>,
    /// What each node's last answer came from.
    last: Mutex<BTreeMap<SocketAddr, String>>,
}

/// Kills the server under load, starts it again, and tells what visitors met through each node, and how long all nodes took to switch.
pub(super) async fn drill(ring: &mut Ring, restored: &mut BTreeMap<String, f64>) -> Result<Vec<Recorded>> {
    let visits = Arc::new(Visits { phases: Mutex::default(), last: Mutex::default() });
    let gateways: Vec<SocketAddr> = ring
        .nodes()
        .iter()
        .map(|node| node.gateway().trim_start_matches("http://").parse())
        .collect::<Result<_, _>>()?;
    let all_from = |source: &'static str| {
        let (visits, count) = (Arc::clone(&visits), gateways.len());
        async move || {
            let last = visits.last.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(last.len() == count && last.values().all(|from| from.starts_with(source)))
        }
    };
    visits.phase("the shop's server lives");
    let mut visitors = JoinSet::new();
    for gateway in gateways.clone() {
        visitors.spawn(Arc::clone(&visits).visit(gateway));
    }
    wait("all nodes to ask the shop's server", all_from("origin")).await?;
    let killed = Instant::now();
    let name = "the shop's server dead";
    visits.phase(name);
    ring.shop.kill().await?;
    wait("all nodes to show what was published of the shop", all_from("content")).await?;
    restored.insert(name.to_owned(), killed.elapsed().as_secs_f64());
    tokio::time::sleep_until((killed + DEAD).into()).await;
    let begun = Instant::now();
    let name = "the shop's server back";
    visits.phase(name);
    ring.shop.start().await?;
    wait("all nodes to ask the shop's server again", all_from("origin")).await?;
    restored.insert(name.to_owned(), begun.elapsed().as_secs_f64());
    visitors.shutdown().await;
    Ok(std::mem::take(&mut *visits.phases.lock().unwrap_or_else(PoisonError::into_inner)))
}

impl Visits {
    fn phase(&self, name: &str) {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner).extend(Recorded::new(name));
    }

    /// Asks one node again and again.
    async fn visit(self: Arc<Self>, gateway: SocketAddr) {
        loop {
            let begun = Instant::now();
            let answered = tokio::time::timeout(PATIENCE, ask(gateway, HOST, "/")).await;
            let source = match &answered {
                Ok(Ok(answer)) if answer.status.is_success() => answer.headers.get("atoll-source"),
                _ => None,
            };
            let source = source.and_then(|value| value.to_str().ok());
            if let Some(phase) = self.phases.lock().unwrap_or_else(PoisonError::into_inner).last_mut() {
                phase.note(source.is_some().then(|| begun.elapsed()));
            }
            if let Some(source) = source {
                self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(gateway, source.to_owned());
            }
        }
    }
}
