//! Many clients that ask for the same thing over and over: wrk, with one thread, against each server in turn.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use super::Bench;
use super::report::{Better, Figure, Report};
use super::servers::Server;
use crate::shell::output;

/// How long wrk waits for an answer, in seconds: longer than the slowest server takes under this load.
const PATIENCE_SECONDS: u64 = 60;

/// What is asked for.
pub(super) struct Asked {
    /// As the report names it.
    pub(super) name: String,
    /// The path below a server's prefix.
    pub(super) file: String,
    pub(super) connections: usize,
    /// A Lua script that makes the requests.
    pub(super) script: Option<PathBuf>,
    pub(super) targets: Targets,
}

/// The least multiples that are aimed for, by peer.
#[derive(Clone, Copy, Default)]
pub(super) struct Targets {
    /// Of the peer's rate; the 99th percentile is to be no worse than the peer's either.
    pub(super) rate: &'static [(&'static str, f64)],
    /// Of requests for the same processor time.
    pub(super) processor: &'static [(&'static str, f64)],
}

/// What came of one run.
pub(super) struct Load {
    /// Requests a second.
    pub(super) rate: f64,
    /// What half of the requests took at most, in microseconds.
    pub(super) p50_micros: f64,
    /// What 99 of 100 requests took at most, in microseconds.
    pub(super) p99_micros: f64,
    pub(super) requests: f64,
}

/// Warms each server up, then lets them take turns under wrk.
pub(super) fn measure(bench: &Bench, report: &mut Report, servers: &[Server], asked: &Asked) -> Result<()> {
    turns(bench, report, servers, (&asked.name, asked.targets), |server, seconds| wrk(bench, server, asked, seconds))
}

/// Warms each server up, then lets them take turns; `run` loads a server for so many seconds.
pub(super) fn turns(
    bench: &Bench,
    report: &mut Report,
    servers: &[Server],
    (name, targets): (&str, Targets),
    mut run: impl FnMut(&Server, u64) -> Result<Load>,
) -> Result<()> {
    let mut rate = Figure::new(name, "requests/s", Better::More);
    let mut p99 = Figure::new(format!("{name}, p99"), "µs", Better::Less);
    let mut processor = Figure::new(format!("{name}, server's CPU per request"), "µs", Better::Less);
    for (peer, times) in targets.rate {
        rate.target(peer, *times);
        p99.target(peer, 1.0);
    }
    for (peer, times) in targets.processor {
        processor.target(peer, *times);
    }
    for server in servers {
        run(server, 1)?;
    }
    for _ in 0..bench.runs {
        for server in servers {
            let before = server.processor_seconds()?;
            let load = run(server, bench.seconds)?;
            let used = server.processor_seconds()? - before;
            rate.add(server.name, load.rate);
            p99.add(server.name, load.p99_micros);
            processor.add(server.name, used * 1e6 / load.requests);
        }
    }
    report.push(rate);
    report.push(p99);
    report.push(processor);
    Ok(())
}

/// One run; an error if any request failed.
pub(super) fn wrk(bench: &Bench, server: &Server, asked: &Asked, seconds: u64) -> Result<Load> {
    let url = server.url(&asked.file);
    let mut command = server.cores.client(&bench.wrk);
    command.args(["-t1", "--latency", &format!("-c{}", asked.connections), &format!("-d{seconds}s")]);
    command.args(["--timeout", &format!("{PATIENCE_SECONDS}s")]);
    if let Some(script) = &asked.script {
        command.arg("--script").arg(script);
    }
    let printed = output({
        command.arg(&url);
        command
    })?;
    ensure!(!printed.contains("Non-2xx") && !printed.contains("Socket errors"), "wrk {url}:\n{printed}");
    parse(&printed).with_context(|| format!("wrk {url}:\n{printed}"))
}

fn parse(printed: &str) -> Result<Load> {
    let value = |name: &str| {
        let line = printed.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(str::trim).with_context(|| format!("wrk did not print `{name}`"))
    };
    let requests = printed.lines().find_map(|line| line.trim().split_once(" requests in "));
    let (requests, _) = requests.context("wrk did not print how many requests it made")?;
    let rate = value("Requests/sec:")?.parse()?;
    let (p50_micros, p99_micros) = (micros(value("50%")?)?, micros(value("99%")?)?);
    Ok(Load { rate, p50_micros, p99_micros, requests: requests.parse()? })
}

/// A duration as wrk prints it.
fn micros(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    bail!("wrk printed the duration `{text}`")
}

/// A script that asks for ranges of `len` bytes anywhere in a file of `file_bytes`.
pub(super) fn ranges(bench: &Bench, file_bytes: usize, len: usize) -> Result<PathBuf> {
    let path = bench.fresh("script")?.join("ranges.lua");
    let last = file_bytes - len;
    fs::write(
        &path,
        format!(
            "request = function()\n  local from = math.random(0, {last})\n  \
             return wrk.format(\"GET\", nil, {{ [\"Range\"] = \"bytes=\" .. from .. \"-\" .. (from + {}) }})\nend\n",
            len - 1
        ),
    )?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_understood() {
        let load = parse(
            "  Latency Distribution\n     50%  620.00us\n     99%    3.59ms\n  \
             1016168 requests in 10.00s, 1.15GB read\nRequests/sec: 101616.81\n",
        )
        .unwrap();
        assert!((load.rate - 101_616.81).abs() < 0.01 && (load.p99_micros - 3590.0).abs() < 0.01);
        assert!((load.requests - 1_016_168.0).abs() < 0.01);
        assert!((micros("1.97s").unwrap() - 1.97e6).abs() < 1.0);
        assert!(parse("unable to connect").is_err());
    }
}
