//! Objects that are in memory, fetched over and over: `wrk -t1 -c64` against each server in turn.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::report::{Better, Figure, Report};
use super::servers::Server;
use super::{Bench, Noise};
use crate::shell::output;

/// The objects: name, bytes, and the least share of nginx's rate that we aim for.
const OBJECTS: [(&str, usize, f64); 3] =
    [("1 KiB", 1024, 0.9), ("64 KiB", 64 * 1024, 1.0), ("1 MiB", 1024 * 1024, 1.0)];
/// The least multiple of Kubo's rate.
const KUBO_TIMES: f64 = 5.0;
/// The most memory of a node at rest, in MB.
const REST_MB_MAX: f64 = 48.0;

/// Measures the rates, and what memory the servers take for it.
pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let files = bench.fresh("files")?;
    let mut noise = Noise(1);
    let objects = OBJECTS.map(|(name, size, share)| (name, file_name(name), noise.bytes(size), share));
    for (_, file, bytes, _) in &objects {
        fs::write(files.join(file), bytes)?;
    }
    let mut rest = Figure::new("memory at rest", "MB", Better::Less);
    let mut loaded = Figure::new("memory under load, at most", "MB", Better::Less);
    let mut servers = Vec::new();
    if let Some(atoll) = &bench.atoll {
        // At rest: an empty node, ready, before anything was asked of it.
        rest.add("Atoll", Server::atoll(atoll, &bench.fresh("rest")?, None)?.memory()?.0);
        servers.push(Server::atoll(atoll, &bench.fresh("node")?, Some(&files))?);
    }
    servers.push(Server::nginx(bench, &files)?);
    servers.push(Server::kubo(bench, &files)?);
    for (name, file, bytes, share) in &objects {
        let mut figure = Figure::new(format!("hot {name}"), "requests/s", Better::More);
        figure.target("nginx", *share).target("Kubo", KUBO_TIMES);
        for server in &servers {
            server.check(file, bytes)?;
            wrk(bench, &server.url(file), 1)?;
        }
        for _ in 0..bench.runs {
            for server in &servers {
                figure.add(server.name, wrk(bench, &server.url(file), bench.seconds)?);
            }
        }
        report.push(figure);
    }
    for server in servers.iter().filter(|server| server.name != "nginx") {
        loaded.add(server.name, server.memory()?.1);
    }
    rest.at_most(REST_MB_MAX);
    report.push(rest);
    report.push(loaded);
    Ok(())
}

fn file_name(object: &str) -> String {
    format!("{}.bin", object.replace(' ', ""))
}

/// Requests a second; an error if any of them failed.
fn wrk(bench: &Bench, url: &str, seconds: u64) -> Result<f64> {
    let mut command = Command::new(&bench.wrk);
    command.args(["-t1", "-c64", &format!("-d{seconds}s"), url]);
    let printed = output(command)?;
    ensure!(!printed.contains("Non-2xx") && !printed.contains("Socket errors"), "wrk {url}:\n{printed}");
    let rate = printed.lines().find_map(|line| line.strip_prefix("Requests/sec:")).context("wrk printed no rate")?;
    Ok(rate.trim().parse()?)
}
