//! `atoll node`.

use anyhow::{Context as _, Result};
use atoll_node::Node;
use atoll_node::config::Folder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::config;
use crate::args::SettingArgs;
use crate::output::Output;

/// Runs a node until SIGTERM or SIGINT, then drains it.
pub(crate) fn run(args: &SettingArgs, folder: &Folder, output: &Output) -> Result<()> {
    let (settings, sources) = config::load(args, folder)?;
    atoll_node::log::start(&settings.log)?;
    raise_descriptor_limit();
    super::block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let node = Node::bind(folder, settings, sources).await.context("the node could not start")?;
        let ready = node.ready();
        output.result(&ready, || {
            let mut gateways = vec![ready.gateway.clone()];
            gateways.extend(ready.secure.iter().cloned());
            gateways.extend(ready.http3.iter().map(|url| format!("{url} (HTTP/3)")));
            format!("peer id {}\ngateway {}\nstatus  {}/", ready.peer_id, gateways.join("\n        "), ready.admin)
        })?;
        let drain = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = stdin_closed(args.stop_with_stdin) => "end of standard input",
        };
        tracing::info!(cause = drain, "draining");
        tokio::select! {
            stopped = node.shutdown() => stopped.context("the node did not stop cleanly"),
            _ = terminate.recv() => anyhow::bail!("stopped at once by a second signal"),
            _ = interrupt.recv() => anyhow::bail!("stopped at once by a second signal"),
        }
    })
}

/// Each connection and each pack takes a descriptor, and the usual soft limit of 1,024 is below `gateway.limits`.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = limit.current, "the limit of open files could not be raised");
    }
}

/// Resolves when standard input ends; never, when nobody asked.
async fn stdin_closed(asked: bool) {
    if !asked {
        return std::future::pending().await;
    }
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 64];
    while tokio::io::AsyncReadExt::read(&mut stdin, &mut ignored).await.is_ok_and(|count| count > 0) {}
}
