//! Files that three nodes hold and a fourth fetches over libp2p, while it hands them on over HTTP: four of ours, then four of
//! Kubo's, all on this machine.
//!
//! The one that fetches is new and empty in each run, and is connected to the three before the time starts, which a small file
//! that it got from them shows.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::fetch::Connection;
use super::report::{Better, Figure, Report};
use super::servers::{Kubo, Server, root};
use super::{Bench, Noise, text, wait_for};
use crate::shell::output;

/// Who holds the file.
const SOURCES: usize = 3;
const LARGE_BYTES: usize = 512 * 1024 * 1024;
const LARGE_KUBO_TIMES: f64 = 4.0;
/// Blocks of 4 KiB, and how often it should go as fast as Kubo.
const SMALL_BLOCKS: usize = 10_000;
const SMALL_BYTES: usize = 4096;
const SMALL_KUBO_TIMES: f64 = 3.0;

/// A file that is held by three.
struct Held {
    measure: &'static str,
    unit: &'static str,
    bytes: Vec<u8>,
    chunker: String,
    /// How much of the unit the whole file is.
    amount: f64,
    times: f64,
}

/// 512 MiB in blocks of 1 MiB, as the profile cuts it, and 10,000 blocks of 4 KiB.
pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let large = Held {
        measure: "512 MiB from three sources",
        unit: "MB/s",
        bytes: Noise(11).bytes(LARGE_BYTES),
        chunker: "size-1048576".to_owned(),
        amount: 536.870_912,
        times: LARGE_KUBO_TIMES,
    };
    compare(bench, report, &large)?;
    let small = Held {
        measure: "10,000 blocks of 4 KiB from three sources",
        unit: "blocks/s",
        bytes: Noise(12).bytes(SMALL_BLOCKS * SMALL_BYTES),
        chunker: format!("size-{SMALL_BYTES}"),
        amount: 10_000.0,
        times: SMALL_KUBO_TIMES,
    };
    compare(bench, report, &small)
}

fn compare(bench: &Bench, report: &mut Report, held: &Held) -> Result<()> {
    let folder = bench.fresh("files")?;
    let (file, small) = (folder.join("held.bin"), folder.join("small.txt"));
    fs::write(&file, &held.bytes)?;
    fs::write(&small, "calm water")?;
    let mut figure = Figure::new(held.measure, held.unit, Better::More);
    figure.target("Kubo", held.times);
    if let Some(atoll) = &bench.atoll {
        let sources = (0..SOURCES).map(|at| ours(bench, atoll, &format!("source-{at}"), &[]));
        let sources = sources.collect::<Result<Vec<_>>>()?;
        let (mut roots, mut bootstrap) = ([String::new(), String::new()], Vec::new());
        for (at, (_, addresses)) in sources.iter().enumerate() {
            let node = bench.folder.join(format!("source-{at}"));
            roots = [import(atoll, &node, &file, &held.chunker)?, import(atoll, &node, &small, &held.chunker)?];
            bootstrap.extend(addresses.first().cloned());
        }
        for _ in 0..bench.runs {
            let (asker, _) = ours(bench, atoll, "asker", &bootstrap)?;
            figure.add("Atoll", held.amount / fetch(&asker, &roots, &held.bytes)?);
        }
    }
    let mut sources = Vec::new();
    for at in 0..SOURCES {
        let repo = Kubo::init(bench, &format!("kubo-{at}"), false)?;
        let roots = [add(&repo, &file, &held.chunker)?, add(&repo, &small, &held.chunker)?];
        sources.push((Server::kubo_online(&repo)?, repo, roots));
    }
    for _ in 0..bench.runs {
        let repo = Kubo::init(bench, "kubo-asker", false)?;
        let asker = Server::kubo_online(&repo)?;
        let mut roots = None;
        for (_, source, held) in &sources {
            output(repo.command(&["swarm", "connect", &source.address()?]))?;
            roots = Some(held);
        }
        figure.add("Kubo", held.amount / fetch(&asker, roots.context("no source")?, &held.bytes)?);
    }
    report.push(figure);
    Ok(())
}

/// Seconds for a file, once a small one has come.
fn fetch(asker: &Server, [file, small]: &[String; 2], expected: &[u8]) -> Result<f64> {
    let get = |root: &str, part: &mut dyn FnMut(&[u8])| {
        Connection::open(&asker.address)?.get(&format!("/ipfs/{root}"), "", |bytes| part(bytes))
    };
    wait_for("a file of the other nodes", || get(small, &mut |_| {}).is_ok_and(|status| status == 200))?;
    let (start, mut left) = (Instant::now(), Some(expected));
    let status = get(file, &mut |bytes| left = left.and_then(|left| left.strip_prefix(bytes)))?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(status == 200, "{} answered {status}", asker.name);
    ensure!(left.is_some_and(<[u8]>::is_empty), "{} served other bytes", asker.name);
    Ok(seconds)
}

/// A node of ours that knows others.
fn ours(bench: &Bench, atoll: &Path, name: &str, bootstrap: &[String]) -> Result<(Server, Vec<String>)> {
    let folder = bench.fresh(name)?;
    let settings = format!(
        "[gateway]\nfetch = \"any\"\n[swarm]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nbootstrap = {bootstrap:?}\n"
    );
    fs::write(folder.join("node.toml"), settings)?;
    Server::atoll_in_swarm(atoll, &folder)
}

fn import(atoll: &Path, node: &Path, file: &Path, chunker: &str) -> Result<String> {
    let mut command = std::process::Command::new(atoll);
    command.arg("import").arg(file).args(["--json", "--chunker", chunker, "--dir"]).arg(node);
    root(&output(command)?)
}

fn add(repo: &Kubo, file: &Path, chunker: &str) -> Result<String> {
    let mut command = repo.command(&["--offline", "add", "--quieter", &format!("--chunker={chunker}"), &text(file)]);
    command.stdin(Stdio::null());
    Ok(output(command)?.trim().to_owned())
}
