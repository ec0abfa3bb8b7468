//! Before an origin: what is cached, in plain text and over HTTP/2 with TLS; what is new, or must not be stored; handshakes; idle
//! connections; and a crowd that wants the same new thing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::load::{self, Asked, Targets};
use super::proxies::{self, Tools};
use super::report::{Better, Figure, Report};
use super::servers::{NOPUSH, Server, TERSE};
use super::{Bench, Noise, h2load, quic};

/// Objects: name, file, bytes, and what is aimed for in plain text and with TLS. At 64 KiB in plain text the client's core is full,
/// whoever serves, so the server's time is judged there.
const OBJECTS: [(&str, &str, usize, Targets, Targets); 3] = [
    ("1 KiB", "1KiB.bin", 1024, NGINX, NGINX),
    ("64 KiB", "64KiB.bin", 64 * 1024, Targets { rate: &[], processor: &[("nginx", 1.2)] }, NGINX_LARGE),
    ("1 MiB", "1MiB.bin", 1024 * 1024, NGINX_LARGE, NGINX_LARGE),
];
const NGINX: Targets = Targets { rate: &[("nginx", 1.0)], processor: &[] };
const NGINX_LARGE: Targets = Targets { rate: &[("nginx", 1.2)], processor: &[] };
const CONNECTIONS: usize = 64;
/// Connections that are opened at once to count handshakes.
const HANDSHAKES: usize = 2000;
const IDLE: usize = 10_000;
/// The most memory with as many idle connections, in MB.
const IDLE_MB_MAX: f64 = 100.0;
const CROWD: usize = 1000;

/// Measures it all.
pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let tools = Tools::prepare(bench)?;
    let files = bench.fresh("files")?;
    let mut noise = Noise(5);
    let objects = OBJECTS.map(|(name, file, bytes, plain, tls)| (name, file, noise.bytes(bytes), plain, tls));
    for (_, file, bytes, ..) in &objects {
        fs::write(files.join(file), bytes)?;
    }
    let (origin, slow) = proxies::origin(bench, &files)?;
    let mut all = proxies::start(bench, &tools, &origin, false)?;
    // In plain text alone; at the end.
    all.push(proxies::nginx_cache(bench, &tools, &origin, NOPUSH)?);
    let servers = all.split_last().map_or(&[][..], |(_, servers)| servers);
    for (name, file, bytes, plain, tls) in objects {
        for server in &all {
            // The second time out of the cache.
            server.check(file, &bytes)?;
            server.check(file, &bytes)?;
        }
        let name = format!("cached {name}");
        let asked =
            Asked { name: name.clone(), file: file.to_owned(), connections: CONNECTIONS, script: None, targets: plain };
        load::measure(bench, report, &all, &asked)?;
        let name = format!("{name}, HTTP/2 with TLS");
        load::turns(bench, report, servers, (&name, tls), |server, seconds| {
            h2load::run(bench, &tools.h2load, server, &asked.file, seconds)
        })?;
        if let Some(server) = servers.iter().find(|server| server.http3.is_some()) {
            quic::measure(bench, report, &tools, server, (&asked.name, file))?;
        }
    }
    handshakes(bench, report, &tools, servers)?;
    idle(report, &tools, servers)?;
    crowd(bench, report, &tools, servers, &slow)?;
    drop(all);
    uncached(bench, report, &tools, &origin)
}

/// What the cache does not have: new each time, and never to be stored; and how long one takes alone. Each with servers that are
/// new: those whose caches are full of what was new have files to remove.
fn uncached(bench: &Bench, report: &mut Report, tools: &Tools, origin: &Server) -> Result<()> {
    for (name, folder) in [("misses", "new"), ("pass-through", "pass")] {
        let mut servers = proxies::start(bench, tools, origin, true)?;
        servers.push(proxies::nginx_cache(bench, tools, origin, TERSE)?);
        let servers = &servers;
        let script = Some(paths(bench, folder)?);
        let asked =
            Asked { name: name.to_owned(), file: String::new(), connections: CONNECTIONS, script, targets: NGINX };
        load::measure(bench, report, servers, &asked)?;
        let mut alone = Figure::new(format!("{name}, one at a time, median"), "µs", Better::Less);
        // Within 1.1 times of it.
        alone.target("nginx", 0.91);
        let asked = Asked { connections: 1, ..asked };
        for _ in 0..bench.runs {
            for server in servers {
                alone.add(server.name, load::wrk(bench, server, &asked, 1)?.p50_micros);
            }
        }
        report.push(alone);
    }
    Ok(())
}

/// A script that asks for another path each time, in any run.
pub(super) fn paths(bench: &Bench, folder: &str) -> Result<PathBuf> {
    let path = bench.fresh("script")?.join("paths.lua");
    fs::write(
        &path,
        format!(
            "local count, run = 0, tostring({{}}):sub(8) .. os.time()\nrequest = function()\n  count = count + 1\n  \
             return wrk.format(\"GET\", \"/{folder}/\" .. run .. \"-\" .. count)\nend\n"
        ),
    )?;
    Ok(path)
}

/// New connections with TLS 1.3, each with a whole handshake and one request.
fn handshakes(bench: &Bench, report: &mut Report, tools: &Tools, servers: &[Server]) -> Result<()> {
    let mut rate = Figure::new("TLS handshakes", "connections/s", Better::More);
    let mut processor = Figure::new("TLS handshakes, server's CPU for each", "µs", Better::Less);
    // The client makes the other half of each handshake, and its core is full first, whoever serves.
    processor.target("nginx", 1.0);
    for _ in 0..bench.runs {
        for server in servers {
            let url = format!("https://{}/1KiB.bin", h2load::secure(server)?);
            let before = server.processor_seconds()?;
            rate.add(server.name, h2load::at_once(&tools.h2load, server, &url, HANDSHAKES)?);
            #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
            processor.add(server.name, (server.processor_seconds()? - before) * 1e6 / HANDSHAKES as f64);
        }
    }
    report.push(rate);
    report.push(processor);
    Ok(())
}

/// Memory with connections on which something was answered once.
fn idle(report: &mut Report, tools: &Tools, servers: &[Server]) -> Result<()> {
    for (name, secure) in [("memory with 10,000 idle connections", false), ("the same with TLS", true)] {
        let mut figure = Figure::new(name, "MB", Better::Less);
        figure.at_most(IDLE_MB_MAX);
        for server in servers {
            let address = if secure { h2load::secure(server)? } else { &server.address };
            let (host, port) = address.rsplit_once(':').context("an address without a port")?;
            let mut command = Command::new(&tools.python);
            command.args([
                "-c",
                include_str!("idle.py"),
                host,
                port,
                &IDLE.to_string(),
                if secure { "1" } else { "0" },
            ]);
            let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let mut said = String::new();
            BufReader::new(client.stdout.take().context("no output")?).read_line(&mut said)?;
            let memory = server.memory_of_all()?;
            drop(client.stdin.take());
            ensure!(client.wait()?.success() && said.trim() == "ready", "{}: {IDLE} connections", server.name);
            figure.add(server.name, memory);
        }
        report.push(figure);
    }
    Ok(())
}

/// A crowd that wants, at one moment, what takes the origin a second or two: what of it reaches the origin.
fn crowd(bench: &Bench, report: &mut Report, tools: &Tools, servers: &[Server], log: &PathBuf) -> Result<()> {
    let mut figure =
        Figure::new("requests at the origin when 1,000 clients want one new object", "requests", Better::Less);
    figure.at_most(1.0);
    for run in 0..bench.runs {
        for server in servers {
            let lines = || fs::read_to_string(log).map(|log| log.lines().count());
            let before = lines()?;
            let url = format!("http://{}/slow/{}-{run}", server.address, server.name.replace(' ', "-"));
            h2load::at_once(&tools.h2load, server, &url, CROWD)?;
            figure.add(server.name, f64::from(u32::try_from(lines()? - before)?));
        }
    }
    report.push(figure);
    Ok(())
}
