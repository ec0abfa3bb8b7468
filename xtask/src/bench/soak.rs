//! Mixed load for an hour (two minutes without `--long`): whether memory stays where it was.
//!
//! Writes one line every few seconds to `target/soak.csv`, which stays.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use super::fetch::Connection;
use super::report::{Better, Figure, Report};
use super::servers::{Cores, Server};
use super::{Bench, Noise};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_secs(120);
const SAMPLE_EVERY: Duration = Duration::from_secs(3);
const CLIENTS: u64 = 16;
/// A request on a connection of its own now and then, so that connections come and go.
const REQUESTS_PER_CONNECTION: u64 = 500;
/// Files of 1 MiB, more than the node keeps in memory.
const FILES: u64 = 512;
const FILE_BYTES: usize = 1024 * 1024;
const ENTRIES: usize = 1000;
/// The most memory: the caches (256 MiB of blocks, 64 MiB of answers), and as much again for everything else.
const MB_MAX: f64 = 640.0;
/// What the last quarter may be over the second.
const GROWTH_MB_MAX: f64 = 32.0;

/// Loads a node, and judges its memory.
pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let Some(atoll) = &bench.atoll else { return Ok(()) };
    let files = bench.fresh("files")?;
    let mut noise = Noise(8);
    for file in 0..FILES {
        fs::write(files.join(format!("{file}.bin")), noise.bytes(FILE_BYTES))?;
    }
    fs::create_dir(files.join("entries"))?;
    for entry in 0..ENTRIES {
        fs::write(files.join(format!("entries/{entry:04}.txt")), format!("This is entry {entry}.\n"))?;
    }
    let server = Server::atoll(atoll, &bench.fresh("node")?, Some(&files), Cores::Shared)?;
    let (stop, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    let samples = thread::scope(|scope| {
        let client = |seed| {
            let (server, stop, requests) = (&server, &stop, &requests);
            scope.spawn(move || load(server, seed, stop, requests))
        };
        let clients: Vec<_> = (1..=CLIENTS).map(client).collect();
        let samples = sample(bench, &server, &requests);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        samples
    })?;
    let most = |samples: &[f64]| samples.iter().copied().fold(0.0, f64::max);
    let quarter = samples.len() / 4;
    let (second, last) = (&samples[quarter..2 * quarter], &samples[samples.len() - quarter..]);
    let mut memory =
        Figure::new(format!("memory in a soak of {} min", length(bench).as_secs() / 60), "MB", Better::Less);
    memory.add("Atoll", most(&samples));
    memory.at_most(MB_MAX);
    report.push(memory);
    let mut growth = Figure::new("growth from its second quarter to its last", "MB", Better::Less);
    growth.add("Atoll", (most(last) - most(second)).max(0.0));
    growth.at_most(GROWTH_MB_MAX);
    report.push(growth);
    Ok(())
}

fn length(bench: &Bench) -> Duration {
    if bench.long { LONG } else { SHORT }
}

/// Resident memory in MB, every few seconds.
fn sample(bench: &Bench, server: &Server, requests: &AtomicU64) -> Result<Vec<f64>> {
    let start = Instant::now();
    let (mut samples, mut lines) = (Vec::new(), "seconds,resident_mb,requests\n".to_owned());
    while start.elapsed() < length(bench) {
        thread::sleep(SAMPLE_EVERY);
        let memory = server.memory()?.0;
        samples.push(memory);
        writeln!(lines, "{},{memory:.1},{}", start.elapsed().as_secs(), requests.load(Ordering::Relaxed))?;
        fs::write(bench.folder.with_file_name("soak.csv"), &lines)?;
    }
    Ok(samples)
}

/// Asks for one thing after another until it is told to stop.
fn load(server: &Server, seed: u64, stop: &AtomicBool, requests: &AtomicU64) -> Result<()> {
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    while !stop.load(Ordering::Relaxed) {
        let mut connection = Connection::open(&server.address)?;
        for _ in 0..REQUESTS_PER_CONNECTION {
            let (target, header, expected) = any(server, &mut noise);
            let status = connection.get(&target, &header, |_| ())?;
            ensure!(status == expected, "{target} {header}: answered {status}");
            requests.fetch_add(1, Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A request: target, header, and the status that it has to have.
fn any(server: &Server, noise: &mut Noise) -> (String, String, u16) {
    let file = noise.next() % FILES;
    let target = server.target(&format!("{file}.bin"));
    let plain = |target| (target, String::new(), 200);
    match noise.next() % 100 {
        // A few are asked for much more often than the others.
        0..40 => plain(server.target(&format!("{}.bin", file % 8))),
        40..60 => plain(target),
        60..75 => {
            let from = noise.next() % 1_000_000;
            (target, format!("Range: bytes={from}-{}", from + 40_000), 206)
        }
        75..85 => plain(format!("{target}?format=car")),
        85..90 => plain(server.target(&format!("entries/?n={}", noise.next()))),
        90..95 => (server.target(&format!("none-{}", noise.next())), String::new(), 404),
        _ => plain(server.target(&format!("entries/{:04}.txt?n={}", noise.next() % 1000, noise.next()))),
    }
}
