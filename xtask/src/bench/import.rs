//! Bringing content in: 512 MiB in one file, unsynced and synced, and 10,000 small files.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::report::{Better, Figure, Report};
use super::servers::{Cores, Kubo, Server, publish, settle};
use super::{Bench, Noise, bare, servers};
use crate::shell::output;

const LARGE_BYTES: usize = 512 * 1024 * 1024;
const SMALL_FOLDERS: usize = 100;
const SMALL_FILES: usize = 100;
/// The least multiple of Kubo's speed, unsynced.
const KUBO_TIMES: f64 = 2.0;
/// The least share of the bare loop's speed, synced.
const BARE_SHARE: f64 = 0.7;

/// One file of 512 MiB, in MB a second.
pub(super) fn measure_large(bench: &Bench, report: &mut Report) -> Result<()> {
    let folder = bench.fresh("large")?;
    fs::write(folder.join("large.bin"), Noise(2).bytes(LARGE_BYTES))?;
    let mut unsynced = Figure::new("import 512 MiB, unsynced", "MB/s", Better::More);
    unsynced.target("Kubo", KUBO_TIMES);
    let mut synced = Figure::new("import 512 MiB, synced", "MB/s", Better::More);
    synced.target("bare loop", BARE_SHARE);
    for _ in 0..bench.runs {
        for (figure, sync) in [(&mut unsynced, false), (&mut synced, true)] {
            measure_large_once(bench, &folder, figure, sync)?;
        }
    }
    report.push(unsynced);
    report.push(synced);
    Ok(())
}

fn measure_large_once(bench: &Bench, folder: &Path, figure: &mut Figure, sync: bool) -> Result<()> {
    let file = folder.join("large.bin");
    #[expect(clippy::cast_precision_loss, reason = "a size far below 2^52")]
    let speed = |seconds: f64| LARGE_BYTES as f64 / 1e6 / seconds;
    let mut root = None;
    if let Some(atoll) = &bench.atoll {
        let store = bench.fresh("store")?;
        ready(bench)?;
        let mut command = Command::new(atoll);
        command.arg("import").arg(folder).args(["--offline", "--json", "--dir"]).arg(&store);
        command.args((!sync).then_some("--no-sync"));
        let (seconds, printed) = timed(|| output(command))?;
        root = Some(servers::root(&printed)?);
        figure.add("Atoll", speed(seconds));
        fs::remove_dir_all(store)?;
    }
    let repo = Kubo::init(bench, "kubo-import", sync)?;
    ready(bench)?;
    let (seconds, theirs) = timed(|| repo.add(folder))?;
    figure.add("Kubo", speed(seconds));
    ensure!(root.is_none_or(|root| root == theirs), "Atoll and Kubo disagree on the root: Kubo's is {theirs}");
    bench.fresh("kubo-import")?;

    let copy = bench.fresh("bare")?.join("copy.bin");
    ready(bench)?;
    figure.add("bare loop", speed(bare::copy(&file, &copy, sync)?.as_secs_f64()));
    bench.fresh("bare")?;
    if !sync {
        let car = bench.fresh("car")?.join("large.car");
        ready(bench)?;
        let mut command = Command::new("node");
        let modules = bench.node_modules.as_ref().context("ipfs-car is not installed")?;
        command.arg(modules.join("ipfs-car/bin.js")).arg("pack").arg(&file).arg("--output").arg(&car);
        figure.add("ipfs-car", speed(timed(|| output(command))?.0));
        bench.fresh("car")?;
    }
    Ok(())
}

/// Settles the disk, and leaves free pages that this machine has: a virtual one gets pages that it has not used for a while from
/// its host again, which takes longer than an import, and whoever came after another would be spared it.
fn ready(bench: &Bench) -> Result<()> {
    let folder = bench.fresh("pages")?;
    fs::write(folder.join("pages.bin"), vec![1; LARGE_BYTES + LARGE_BYTES / 4])?;
    settle()?;
    fs::remove_dir_all(folder)?;
    settle()
}

/// 10,000 small files through the product's own command into a running node, in files a second. Ours syncs
/// before it says so; Kubo by default does not.
pub(super) fn measure_small(bench: &Bench, report: &mut Report) -> Result<()> {
    let folder = bench.fresh("small")?;
    let mut noise = Noise(3);
    for sub in 0..SMALL_FOLDERS {
        let sub = folder.join(format!("{sub:03}"));
        fs::create_dir(&sub)?;
        for file in 0..SMALL_FILES {
            let length = 100 + usize::try_from(noise.next() % 4000)?;
            fs::write(sub.join(format!("{file:03}.bin")), noise.bytes(length))?;
        }
    }
    let mut figure = Figure::new("publish 10,000 small files", "files/s", Better::More);
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    let speed = |seconds: f64| (SMALL_FOLDERS * SMALL_FILES) as f64 / seconds;
    for _ in 0..bench.runs {
        if let Some(atoll) = &bench.atoll {
            let node = bench.fresh("small-node")?;
            let server = Server::atoll(atoll, &node, None, Cores::Shared)?;
            settle()?;
            figure.add(server.name, speed(timed(|| publish(atoll, &node, &folder))?.0));
        }
        for (name, sync) in [("Kubo", false), ("Kubo synced", true)] {
            let repo = Kubo::init(bench, "kubo-small", sync)?;
            settle()?;
            figure.add(name, speed(timed(|| repo.add(&folder))?.0));
        }
    }
    report.push(figure);
    Ok(())
}

/// What a step made, and the seconds that it took.
fn timed<T>(step: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = Instant::now();
    let made = step()?;
    Ok((start.elapsed().as_secs_f64(), made))
}
