//! `atoll node`.

use anyhow::{Context as _, Result};
use atoll_node::config::{Config, Folder, Sources};
use atoll_node::takeover::Predecessor;
use atoll_node::{Handed, Leaving, Node, Passed};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Duration, sleep};

use super::config;
use crate::args::SettingArgs;
use crate::output::Output;

/// How often a node is started again whose sockets came back, and the pause in between: the other process may be about to end.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// Runs a node until SIGTERM or SIGINT, or until another process takes over, then drains it.
pub(crate) fn run(args: &SettingArgs, takeover: bool, folder: &Folder, output: &Output) -> Result<()> {
    let (settings, sources) = config::load(args, folder)?;
    atoll_node::log::start(&settings.log)?;
    raise_descriptor_limit();
    let before = if takeover { Predecessor::ask(&folder.socket())? } else { None };
    super::block_on(async {
        let mut signals = Signals::new(args.stop_with_stdin)?;
        let mut node = start((folder, &settings, &sources), before).await?;
        tell(&node, output)?;
        loop {
            let successor = tokio::select! {
                cause = signals.next() => return stop(node, cause, &mut signals).await,
                successor = node.successor() => successor,
            };
            node = match node.hand_over(successor, settings.node.takeover_timeout).await {
                Handed::Not(node) => *node,
                Handed::Over(leaving) => return leave(leaving, &mut signals).await,
                Handed::Back(leaving, passed) => {
                    tracing::error!("the process that was to take over has ended: this one goes on");
                    tokio::spawn(leaving.drain());
                    start_again((folder, &settings, &sources), &passed).await?
                }
            };
        }
    })
}

type Parts<'a> = (&'a Folder, &'a Config, &'a Sources);

/// Starts a node, in the place of another process if there is one.
async fn start((folder, settings, sources): Parts<'_>, before: Option<(Predecessor, Passed)>) -> Result<Node> {
    let bind = |passed| Node::bind(folder, settings.clone(), sources.clone(), passed);
    let failed = "the node could not start";
    let Some((mut predecessor, passed)) = before else { return bind(Passed::default()).await.context(failed) };
    let (result, mut predecessor) =
        tokio::task::spawn_blocking(move || (predecessor.wait(), predecessor)).await.context(failed)?;
    result?;
    let node = bind(passed).await.context(failed)?;
    predecessor.serving().context("the process before is gone")?;
    node.follow(predecessor);
    Ok(node)
}

/// Starts a node on sockets that came back.
async fn start_again((folder, settings, sources): Parts<'_>, passed: &Passed) -> Result<Node> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        match Node::bind(folder, settings.clone(), sources.clone(), passed.try_clone()?).await {
            Err(error) if tries > 0 => tracing::warn!(%error, "the node cannot go on yet"),
            bound => return bound.context("the node could not go on"),
        }
        sleep(PAUSE).await;
    }
}

fn tell(node: &Node, output: &Output) -> Result<()> {
    let ready = node.ready();
    Ok(output.result(&ready, || {
        let mut gateways = vec![ready.gateway.clone()];
        gateways.extend(ready.secure.iter().cloned());
        gateways.extend(ready.http3.iter().map(|url| format!("{url} (HTTP/3)")));
        format!("peer id {}\ngateway {}\nstatus  {}/", ready.peer_id, gateways.join("\n        "), ready.admin)
    })?)
}

async fn stop(node: Node, cause: &str, signals: &mut Signals) -> Result<()> {
    tracing::info!(cause, "draining");
    tokio::select! {
        stopped = node.shutdown() => stopped.context("the node did not stop cleanly"),
        _ = signals.next() => anyhow::bail!("stopped at once by a second signal"),
    }
}

/// Another process serves; whoever is still connected here has some time to leave.
async fn leave(leaving: Leaving, signals: &mut Signals) -> Result<()> {
    tracing::info!("another process has taken over");
    tokio::select! {
        () = leaving.drain() => {}
        cause = signals.next() => tracing::info!(cause, "connections are cut"),
    }
    Ok(())
}

/// What tells this process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    stdin: bool,
}

impl Signals {
    fn new(stdin: bool) -> Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, stdin })
    }

    async fn next(&mut self) -> &'static str {
        let stdin = self.stdin;
        let cause = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = stdin_closed(), if stdin => "end of standard input",
        };
        self.stdin &= cause != "end of standard input";
        cause
    }
}

/// Each connection and each pack takes a descriptor, and the usual soft limit of 1,024 is below `gateway.limits`.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = limit.current, "the limit of open files could not be raised");
    }
}

/// Resolves when standard input ends.
async fn stdin_closed() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 64];
    while tokio::io::AsyncReadExt::read(&mut stdin, &mut ignored).await.is_ok_and(|count| count > 0) {}
}
