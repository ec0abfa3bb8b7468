//! What is in memory, asked for over and over: objects, ranges of a large file, pages that list a directory.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::load::{self, Asked};
use super::report::{Better, Figure, Report};
use super::servers::Server;
use super::{Bench, Noise};

/// The objects: name, bytes, and the least multiples of the peers' rates that we aim for. Of Kubo's at 1 KiB only: for
/// larger ones it is the client that is full, whoever serves.
const OBJECTS: [(&str, usize, Targets); 3] = [
    ("1 KiB", 1024, &[("nginx", 1.0), ("Kubo", 7.0)]),
    ("64 KiB", 64 * 1024, &[("nginx", 1.2)]),
    ("1 MiB", 1024 * 1024, &[("nginx", 1.2)]),
];
type Targets = &'static [(&'static str, f64)];
/// The least multiple of Kubo's rate, for ranges and for pages.
const KUBO_TIMES: Targets = &[("Kubo", 5.0)];
const CONNECTIONS: usize = 64;
/// Fewer, since Kubo takes long for a page.
const PAGE_CONNECTIONS: usize = 16;
/// The file that ranges are taken of, and their length, in bytes.
const RANGED_BYTES: usize = 64 * 1024 * 1024;
const RANGE_BYTES: usize = 64 * 1024;
/// The entries of the directory whose page is asked for.
const ENTRIES: usize = 1000;
/// The most memory of a node at rest, in MB.
const REST_MB_MAX: f64 = 48.0;

/// Measures the rates of objects, and what memory the servers take for it.
pub(super) fn objects(bench: &Bench, report: &mut Report) -> Result<()> {
    let files = bench.fresh("files")?;
    let mut noise = Noise(1);
    let objects = OBJECTS.map(|(name, size, targets)| (name, file_name(name), noise.bytes(size), targets));
    for (_, file, bytes, _) in &objects {
        fs::write(files.join(file), bytes)?;
    }
    if let Some(atoll) = &bench.atoll {
        let mut rest = Figure::new("memory at rest", "MB", Better::Less);
        // At rest: an empty node, ready, before anything was asked of it.
        rest.add("Atoll", Server::atoll(atoll, &bench.fresh("rest")?, None)?.memory()?.0);
        rest.at_most(REST_MB_MAX);
        report.push(rest);
    }
    let servers = start(bench, &files, Some("on"))?;
    for (name, file, bytes, targets) in &objects {
        for server in &servers {
            server.check(file, bytes)?;
        }
        let asked =
            Asked { name: format!("hot {name}"), file: file.clone(), connections: CONNECTIONS, script: None, targets };
        load::measure(bench, report, &servers, &asked)?;
    }
    memory("memory under load, at most", report, &servers)
}

/// Measures ranges of a file that is too large for a cache of answers.
pub(super) fn ranges(bench: &Bench, report: &mut Report) -> Result<()> {
    let files = bench.fresh("files")?;
    let bytes = Noise(4).bytes(RANGED_BYTES);
    fs::write(files.join("ranged.bin"), &bytes)?;
    let servers = start(bench, &files, Some("off"))?;
    for server in &servers {
        // Over the border between two blocks.
        let (from, to) = (3 * 1024 * 1024 - 1000, 3 * 1024 * 1024 + 2000);
        let header = format!("Range: bytes={from}-{}", to - 1);
        server.check_part("ranged.bin", &header, 206, &bytes[from..to])?;
    }
    let asked = Asked {
        name: "64 KiB ranges of 64 MiB".to_owned(),
        file: "ranged.bin".to_owned(),
        connections: CONNECTIONS,
        script: Some(load::ranges(bench, RANGED_BYTES, RANGE_BYTES)?),
        targets: KUBO_TIMES,
    };
    load::measure(bench, report, &servers, &asked)?;
    memory("memory under ranges, at most", report, &servers)
}

/// Measures pages that list a directory; nginx has none that compares.
pub(super) fn pages(bench: &Bench, report: &mut Report) -> Result<()> {
    let files = bench.fresh("files")?;
    fs::create_dir(files.join("entries"))?;
    for entry in 0..ENTRIES {
        fs::write(files.join(format!("entries/file-{entry:04}.txt")), format!("This is entry {entry}.\n"))?;
    }
    let servers = start(bench, &files, None)?;
    let asked = Asked {
        name: "page of 1,000 entries".to_owned(),
        file: "entries/".to_owned(),
        connections: PAGE_CONNECTIONS,
        script: None,
        targets: KUBO_TIMES,
    };
    for server in &servers {
        server.check_page(&asked.file, "file-0999.txt")?;
    }
    load::measure(bench, report, &servers, &asked)?;
    memory("memory under pages, at most", report, &servers)
}

fn start(bench: &Bench, files: &Path, nginx: Option<&str>) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    if let Some(atoll) = &bench.atoll {
        servers.push(Server::atoll(atoll, &bench.fresh("node")?, Some(files))?);
    }
    if let Some(tcp_nopush) = nginx {
        servers.push(Server::nginx(bench, files, tcp_nopush)?);
    }
    servers.push(Server::kubo(bench, files)?);
    Ok(servers)
}

fn memory(name: &str, report: &mut Report, servers: &[Server]) -> Result<()> {
    let mut figure = Figure::new(name, "MB", Better::Less);
    // Of nginx it would be the memory of its first process, which serves nobody.
    for server in servers.iter().filter(|server| server.name != "nginx") {
        figure.add(server.name, server.memory()?.1);
    }
    report.push(figure);
    Ok(())
}

fn file_name(object: &str) -> String {
    format!("{}.bin", object.replace(' ', ""))
}
