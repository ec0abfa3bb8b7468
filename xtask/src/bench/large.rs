//! What is not in memory: 512 MiB as one CAR, and files that are read from the disk.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{iter, thread};

use anyhow::{Context, Result, anyhow, ensure};
use sha2::{Digest, Sha256};

use super::fetch::Connection;
use super::report::{Better, Figure, Report};
use super::servers::{Cores, Kubo, Server, publish, settle};
use super::{Bench, Noise};

const CAR_BYTES: usize = 512 * 1024 * 1024;
/// The least multiple of Kubo's speed.
const CAR_KUBO_TIMES: f64 = 3.0;
/// The files that are read from the disk: more together than any of the servers keeps in memory of its own.
const COLD_FILES: usize = 2048;
const COLD_FILE_BYTES: usize = 256 * 1024;
const COLD_CLIENTS: usize = 16;
const COLD_KUBO_TIMES: f64 = 2.0;
/// What makes Linux forget the pages of files.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// One large file as a CAR, in MB a second, to one client. Both servers read their blocks from the page cache.
pub(super) fn car(bench: &Bench, report: &mut Report) -> Result<()> {
    let files = bench.fresh("files")?;
    fs::write(files.join("large.bin"), Noise(5).bytes(CAR_BYTES))?;
    let mut servers = Vec::new();
    if let Some(atoll) = &bench.atoll {
        servers.push(Server::atoll(atoll, &bench.fresh("node")?, Some(&files), Cores::Shared)?);
    }
    servers.push(Server::kubo(bench, &files)?);
    let mut digests = Vec::new();
    for server in &servers {
        let mut digest = Sha256::new();
        stream_car(server, |part| digest.update(part))?;
        digests.push(digest.finalize());
    }
    ensure!(digests.windows(2).all(|pair| pair[0] == pair[1]), "the servers' CARs are not the same bytes");
    let mut figure = Figure::new("CAR of 512 MiB", "MB/s", Better::More);
    figure.target("Kubo", CAR_KUBO_TIMES);
    for _ in 0..bench.runs {
        for server in &servers {
            let start = Instant::now();
            let mut length = 0;
            stream_car(server, |part| length += part.len())?;
            figure.add(server.name, megabytes(length) / start.elapsed().as_secs_f64());
        }
    }
    report.push(figure);
    Ok(())
}

fn stream_car(server: &Server, part: impl FnMut(&[u8])) -> Result<()> {
    let target = format!("{}?format=car", server.prefix.trim_end_matches('/'));
    let status = Connection::open(&server.address)?.get(&target, "", part)?;
    ensure!(status == 200, "{} answered {status} for a CAR", server.name);
    Ok(())
}

/// Files that are in no memory, each asked for once, in MB a second. Each server is started anew for each run, and the
/// system's page cache is emptied once it is ready.
pub(super) fn cold(bench: &Bench, report: &mut Report) -> Result<()> {
    if fs::OpenOptions::new().write(true).open(DROP_CACHES).is_err() {
        println!("cold reads: not measured, since only root can empty the page cache ({DROP_CACHES})");
        return Ok(());
    }
    let files = bench.fresh("files")?;
    let mut noise = Noise(6);
    for name in names() {
        fs::write(files.join(name), noise.bytes(COLD_FILE_BYTES))?;
    }
    let mut speed = Figure::new("cold reads", "MB/s", Better::More);
    let mut p99 = Figure::new("cold reads, p99", "µs", Better::Less);
    speed.target("Kubo", COLD_KUBO_TIMES);
    p99.target("Kubo", 1.0);
    let (repo, root) = Kubo::filled(bench, &files)?;
    let node = bench.fresh("node")?;
    if let Some(atoll) = &bench.atoll {
        let _first = Server::atoll(atoll, &node, None, Cores::Shared)?;
        let ours = publish(atoll, &node, &files)?;
        ensure!(ours == root, "Atoll and Kubo disagree on the root: Kubo's is {root}");
    }
    let mut turn = |server: Server| {
        let (seconds, slowest) = read_cold(&server)?;
        speed.add(server.name, megabytes(COLD_FILES * COLD_FILE_BYTES) / seconds);
        p99.add(server.name, slowest);
        anyhow::Ok(())
    };
    for _ in 0..bench.runs {
        if let Some(atoll) = &bench.atoll {
            let mut server = Server::atoll(atoll, &node, None, Cores::Shared)?;
            server.prefix = format!("/ipfs/{root}/");
            turn(server)?;
        }
        turn(Server::nginx(bench, &files, "nginx", Cores::Shared)?)?;
        turn(Server::kubo_over(&repo, &root)?)?;
    }
    report.push(speed);
    report.push(p99);
    Ok(())
}

fn names() -> impl Iterator<Item = String> {
    (0..COLD_FILES).map(|number| format!("{number:04}.bin"))
}

/// Empties the page cache, then fetches every file once in an order of no pattern: seconds in total, and the 99th
/// percentile of a request in microseconds.
fn read_cold(server: &Server) -> Result<(f64, f64)> {
    settle()?;
    fs::write(DROP_CACHES, "3").context("emptying the page cache")?;
    let targets = shuffled();
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let micros = thread::scope(|scope| {
        let clients: Vec<_> = (0..COLD_CLIENTS).map(|_| scope.spawn(|| client(server, &targets, &next))).collect();
        let join = |client: thread::ScopedJoinHandle<'_, Result<Vec<f64>>>| {
            client.join().map_err(|_| anyhow!("a client panicked"))?
        };
        clients.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let mut micros = micros.concat();
    micros.sort_by(f64::total_cmp);
    Ok((seconds, micros.get(micros.len() * 99 / 100).copied().unwrap_or_default()))
}

fn shuffled() -> Vec<String> {
    let mut names: Vec<String> = names().collect();
    let mut noise = Noise(7);
    for at in (1..names.len()).rev() {
        let other = usize::try_from(noise.next() % (at as u64 + 1)).unwrap_or_default();
        names.swap(at, other);
    }
    names
}

/// Takes the next target until none is left; how long each took.
fn client(server: &Server, targets: &[String], next: &AtomicUsize) -> Result<Vec<f64>> {
    let mut connection = Connection::open(&server.address)?;
    let taken = iter::from_fn(|| targets.get(next.fetch_add(1, Ordering::Relaxed)));
    taken
        .map(|file| {
            let start = Instant::now();
            let mut length = 0;
            let status = connection.get(&server.target(file), "", |part| length += part.len())?;
            ensure!(status == 200 && length == COLD_FILE_BYTES, "{} answered {status} for {file}", server.name);
            Ok(start.elapsed().as_secs_f64() * 1e6)
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "a size far below 2^52")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
