//! HTTP/3 beside our own HTTP/2, by one client that speaks both (`crates/testkit/examples/load.rs`): Debian's h2load speaks no QUIC.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::load::Load;
use super::proxies::Tools;
use super::report::{Better, Figure, Report};
use super::servers::Server;
use super::{Bench, h2load};
use crate::shell::{Workspace, output, run};

/// Connections, and requests at a time on each: as h2load has.
const CONNECTIONS: usize = 16;
const STREAMS: usize = 4;
/// What our HTTP/2 is called in the report.
const HTTP2: &str = "its own HTTP/2";

/// Builds the client.
pub(super) fn client(workspace: &Workspace) -> Result<PathBuf> {
    run(workspace.cargo(&["build", "--locked", "--release", "--workspace", "--example", "load"]))?;
    Ok(workspace.target.join("release/examples/load"))
}

/// Lets both take turns with one file, which was compared before; nothing is aimed for.
pub(super) fn measure(
    bench: &Bench,
    report: &mut Report,
    tools: &Tools,
    server: &Server,
    asked: (&str, &str),
) -> Result<()> {
    let (name, file) = asked;
    let name = format!("{name}, HTTP/3");
    let mut rate = Figure::new(&*name, "requests/s", Better::More);
    let mut p99 = Figure::new(format!("{name}, p99"), "µs", Better::Less);
    let mut processor = Figure::new(format!("{name}, server's CPU per request"), "µs", Better::Less);
    let protocols = [(server.name, "h3", quic(server)?), (HTTP2, "h2", h2load::secure(server)?)];
    for (_, protocol, address) in protocols {
        load(bench, tools, server, (protocol, address, file), 1)?;
    }
    for _ in 0..bench.runs {
        for (whose, protocol, address) in protocols {
            let before = server.processor_seconds()?;
            let load = load(bench, tools, server, (protocol, address, file), bench.seconds)?;
            let used = server.processor_seconds()? - before;
            rate.add(whose, load.rate);
            p99.add(whose, load.p99_micros);
            processor.add(whose, used * 1e6 / load.requests);
        }
    }
    [rate, p99, processor].into_iter().for_each(|figure| report.push(figure));
    Ok(())
}

fn quic(server: &Server) -> Result<&str> {
    server.http3.as_deref().with_context(|| format!("{} speaks no HTTP/3", server.name))
}

/// One run; an error if any request failed.
fn load(bench: &Bench, tools: &Tools, server: &Server, asked: (&str, &str, &str), seconds: u64) -> Result<Load> {
    /// The line that the client prints.
    #[derive(Deserialize)]
    struct Printed {
        rate: f64,
        p50: f64,
        p99: f64,
        requests: f64,
    }
    let (protocol, address, file) = asked;
    let client = bench.http3.as_deref().context("the client of HTTP/3 was not built")?;
    let mut command = server.cores.client(client);
    command.args([protocol, &format!("https://{address}/{file}")]).arg(&tools.certificate);
    command.args([CONNECTIONS.to_string(), STREAMS.to_string(), seconds.to_string()]);
    let printed = output(command)?;
    let Printed { rate, p50, p99, requests } = serde_json::from_str(&printed).with_context(|| printed.clone())?;
    Ok(Load { rate, p50_micros: p50, p99_micros: p99, requests })
}
