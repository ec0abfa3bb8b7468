//! `atoll drill`: each source of a site, what was published and its servers, fails in turn while requests go on. What it prints is counted, not promised.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use atoll_node::api::{CONTENT_SOURCE, Drill, DrillStep, FaultKind, FaultRequest, SiteStatus, Status};
use bytes::Bytes;
use http::{Method, Request, header, response};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::args::DrillArgs;
use crate::control::Control;
use crate::output::{Output, table};

/// A request that is not answered after this long has failed.
const PATIENCE: Duration = Duration::from_secs(15);
/// For how long a source is made to fail without being told so again, and how often it is.
const LEASE_SECONDS: u64 = 6;
const LEASE_AGAIN: Duration = Duration::from_secs(2);
/// How long to wait for a source to be asked again; published content by default leads again after a minute.
const BACK: Duration = Duration::from_secs(120);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(100);
/// How long the calm lasts before the first source fails.
const CALM: Duration = Duration::from_secs(2);
/// The most requests that wait.
const WAITING_MAX: usize = 4096;

pub(crate) async fn run(args: DrillArgs, control: &Control, output: &Output) -> Result<ExitCode> {
    let status: Status = control.get("/v1/status").await?;
    let gateway = status.gateway.strip_prefix("http://").and_then(|address| address.parse().ok());
    let gateway: SocketAddr = gateway.context("the node's gateway has no address to ask")?;
    let site = &args.site;
    let found = find(&status, site).with_context(|| format!("this node has no site `{site}` with servers"))?;
    let names = sources(found);
    let load = Load::start(gateway, &args);
    let faults = if args.hang { &[FaultKind::Dead, FaultKind::Hangs][..] } else { &[FaultKind::Dead] };
    let count = names.len() * faults.len();
    output
        .note(&format!("{count} failures of {}, {} s each, under {} requests a second", site, args.seconds, args.rate));
    sleep(CALM).await;
    let bar = output.steps(count as u64, "drill");
    let mut back = Vec::new();
    for name in &names {
        for fault in faults {
            let step = load.begin(match fault {
                FaultKind::Dead => format!("{name} dead"),
                FaultKind::Hangs => format!("{name} hangs"),
            });
            let mut fault = Fault { control, site, name, kind: *fault };
            fault.hold(Duration::from_secs(args.seconds)).await?;
            load.begin(format!("{name} back"));
            back.push((step, fault.end().await?));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let mut drill = load.finish().await;
    for (step, seconds) in back {
        if let Some(step) = drill.steps.get_mut(step) {
            step.back_seconds = seconds;
        }
    }
    drill.site.clone_from(site);
    let _: serde_json::Value = control.call(Method::POST, "/v1/drills", serde_json::to_vec(&drill)?.into()).await?;
    output.result(&drill, || text(&drill))?;
    Ok(if drill.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The site of a host; that of every host, if none has this one.
fn find<'a>(status: &'a Status, host: &str) -> Option<&'a SiteStatus> {
    let find = |host: &str| status.sites.iter().find(|site| site.host == host);
    find(host).or_else(|| find("*"))
}

/// Where its answers come from.
fn sources(site: &SiteStatus) -> Vec<String> {
    let content = site.content.as_ref().map(|_| CONTENT_SOURCE.to_owned());
    content.into_iter().chain(site.origins.iter().map(|origin| origin.name.clone())).collect()
}

/// Whether one of them is asked when it is its turn.
fn is_ready(site: &SiteStatus, name: &str) -> bool {
    match &site.content {
        Some(content) if name == CONTENT_SOURCE => content.ready,
        _ => site.origins.iter().any(|origin| origin.name == name && origin.ready),
    }
}

fn text(drill: &Drill) -> String {
    let seconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2} s"));
    let row = |step: &DrillStep| {
        vec![
            step.name.clone(),
            step.requests.to_string(),
            step.failed.to_string(),
            seconds(step.switch_seconds),
            seconds(Some(step.slowest_seconds)),
            seconds(step.back_seconds),
        ]
    };
    let rows: Vec<_> = drill.steps.iter().map(row).collect();
    let table = table(&["STEP", "REQUESTS", "FAILED", "FIRST ANSWER", "SLOWEST", "ASKED AGAIN AFTER"], &rows);
    format!("{table}\n{} requests, {} failed", drill.requests, drill.failed)
}

/// A source that is made to fail.
struct Fault<'a> {
    control: &'a Control,
    site: &'a str,
    name: &'a str,
    kind: FaultKind,
}

impl Fault<'_> {
    async fn set(&self, fault: Option<FaultKind>) -> Result<()> {
        let (site, origin) = (self.site.to_owned(), self.name.to_owned());
        let request = FaultRequest { site, origin, fault, seconds: LEASE_SECONDS };
        let _: serde_json::Value =
            self.control.call(Method::POST, "/v1/faults", serde_json::to_vec(&request)?.into()).await?;
        Ok(())
    }

    /// Has it fail for so long.
    async fn hold(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.set(Some(self.kind)).await?;
            sleep(LEASE_AGAIN.min(until.saturating_duration_since(Instant::now()))).await;
        }
        Ok(())
    }

    /// Ends that; how many seconds it took until the node took it for well again, if it did.
    async fn end(self) -> Result<Option<f64>> {
        self.set(None).await?;
        let begun = Instant::now();
        while begun.elapsed() < BACK {
            let status: Status = self.control.get("/v1/status").await?;
            let Some(found) = find(&status, self.site) else { bail!("the site is gone") };
            if is_ready(found, self.name) {
                return Ok(Some(begun.elapsed().as_secs_f64()));
            }
            sleep(LOOK).await;
        }
        Ok(None)
    }
}

/// Requests that go on, whatever becomes of them.
struct Load {
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

/// What became of them, step by step.
#[derive(Default)]
struct Seen {
    steps: Vec<(Instant, DrillStep)>,
    over: bool,
}

impl Load {
    fn start(gateway: SocketAddr, args: &DrillArgs) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (site, path, cached) = (args.site.clone(), args.path.clone(), args.cached);
        let every = Duration::from_secs(1) / args.rate;
        let load = Self { task: tokio::spawn(go_on(gateway, Arc::clone(&seen), (site, path, cached), every)), seen };
        load.begin("calm".to_owned());
        load
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on requests count for this; its place among the steps.
    fn begin(&self, name: String) -> usize {
        let mut seen = self.seen();
        seen.steps.push((Instant::now(), DrillStep { name, ..DrillStep::default() }));
        seen.steps.len() - 1
    }

    /// Ends, after all requests have.
    async fn finish(self) -> Drill {
        self.seen().over = true;
        let _ = self.task.await;
        let steps: Vec<DrillStep> =
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).steps.drain(..).map(|(_, step)| step).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Drill {
            site: String::new(),
            at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            requests: steps.iter().map(|step| step.requests).sum(),
            failed: steps.iter().map(|step| step.failed).sum(),
            steps,
        }
    }
}

/// Begins a request every so often, until it is over.
async fn go_on(
    gateway: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    (site, path, cached): (String, String, bool),
    every: Duration,
) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting = JoinSet::new();
    // Not the same twice, in another drill either.
    let salt = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    for n in 0_u64.. {
        ticks.tick().await;
        while waiting.try_join_next().is_some() {}
        let step = {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.over {
                break;
            }
            let at = seen.steps.len().saturating_sub(1);
            if let Some((_, step)) = seen.steps.get_mut(at) {
                step.requests += 1;
            }
            at
        };
        let sign = if path.contains('?') { '&' } else { '?' };
        let target = if cached { path.clone() } else { format!("{path}{sign}atoll-drill={salt}-{n}") };
        let (site, seen, full) = (site.clone(), Arc::clone(&seen), waiting.len() >= WAITING_MAX);
        waiting.spawn(async move {
            let begun = Instant::now();
            let asked = async { timeout(PATIENCE, ask(gateway, &site, &target)).await.map_err(drop)?.map_err(drop) };
            let good = !full && asked.await.is_ok_and(|answer| !answer.status.is_server_error());
            note(&seen, step, begun, good);
        });
    }
    while waiting.join_next().await.is_some() {}
}

/// Notes what became of a request that began in a step.
fn note(seen: &Mutex<Seen>, step: usize, begun: Instant, good: bool) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((since, step)) = seen.steps.get_mut(step) else { return };
    let took = begun.elapsed().as_secs_f64();
    step.slowest_seconds = step.slowest_seconds.max(took);
    if !good {
        step.failed += 1;
        return;
    }
    let passed = since.elapsed().as_secs_f64();
    step.switch_seconds = Some(step.switch_seconds.map_or(passed, |first| first.min(passed)));
}

/// One request, as one visitor of many makes it; the head of its answer, once the body is there too.
pub(super) async fn ask(gateway: SocketAddr, site: &str, target: &str) -> Result<response::Parts> {
    let stream = TcpStream::connect(gateway).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(target).header(header::HOST, site).body(Empty::<Bytes>::new())?;
    let asked = async {
        let mut answer = sender.send_request(request).await?;
        while let Some(frame) = answer.body_mut().frame().await {
            frame?;
        }
        anyhow::Ok(answer.into_parts().0)
    };
    let answer = asked.await;
    connection.abort();
    answer
}
