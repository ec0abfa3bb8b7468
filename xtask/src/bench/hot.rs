//! What is in memory, asked for over and over: objects, ranges of a large file, pages that list a directory.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::load::{self, Asked, Targets};
use super::report::{Better, Figure, Report};
use super::servers::{Cores, NOPUSH, Server};
use super::{Bench, Noise};

/// The objects: name, bytes, and what is aimed for with a core of the server's own, and with cores that it shares with
/// the client. At 64 KiB the client's core is full, whoever serves, so the server's time is judged there.
const OBJECTS: [(&str, usize, Targets, Targets); 3] = [
    ("1 KiB", 1024, Targets { rate: &[("nginx", 1.0), ("Kubo", 7.0)], processor: &[("nginx", 1.0)] }, NONE),
    ("64 KiB", 64 * 1024, Targets { rate: &[], processor: &[("nginx", 1.2)] }, LARGE),
    ("1 MiB", 1024 * 1024, LARGE, LARGE),
];
const LARGE: Targets = Targets { rate: &[("nginx", 1.2)], processor: &[] };
const NONE: Targets = Targets { rate: &[], processor: &[] };
/// For ranges and for pages.
const KUBO_TIMES: Targets = Targets { rate: &[("Kubo", 5.0)], processor: &[] };
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
    let objects = OBJECTS.map(|(name, size, own, shared)| (name, file_name(name), noise.bytes(size), own, shared));
    for (_, file, bytes, ..) in &objects {
        fs::write(files.join(file), bytes)?;
    }
    if let Some(atoll) = &bench.atoll {
        let mut rest = Figure::new("memory at rest", "MB", Better::Less);
        // At rest: an empty node, ready, before anything was asked of it.
        rest.add("Atoll", Server::atoll(atoll, &bench.fresh("rest")?, None, Cores::Shared)?.memory()?.0);
        rest.at_most(REST_MB_MAX);
        report.push(rest);
    }
    for cores in [Cores::Own, Cores::Shared] {
        let mut servers = start(bench, &files, &[NOPUSH, "nginx"], cores)?;
        servers.push(Server::least(&files, cores)?);
        for (name, file, bytes, own, shared) in &objects {
            for server in &servers {
                server.check(file, bytes)?;
            }
            let (suffix, targets) = match cores {
                Cores::Own => ("", *own),
                Cores::Shared => (", cores shared", *shared),
            };
            let name = format!("hot {name}{suffix}");
            let asked = Asked { name, file: file.clone(), connections: CONNECTIONS, script: None, targets };
            load::measure(bench, report, &servers, &asked)?;
        }
        if cores == Cores::Shared {
            memory("memory under load, at most", report, &servers)?;
        }
    }
    Ok(())
}

/// Measures ranges of a file that is too large for a cache of answers.
pub(super) fn ranges(bench: &Bench, report: &mut Report) -> Result<()> {
    let files = bench.fresh("files")?;
    let bytes = Noise(4).bytes(RANGED_BYTES);
    fs::write(files.join("ranged.bin"), &bytes)?;
    let servers = start(bench, &files, &["nginx"], Cores::Own)?;
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
    let servers = start(bench, &files, &[], Cores::Own)?;
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

/// `nginxes`: how nginx is set, by the names of [`Server::nginx`].
fn start(bench: &Bench, files: &Path, nginxes: &[&'static str], cores: Cores) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    if let Some(atoll) = &bench.atoll {
        servers.push(Server::atoll(atoll, &bench.fresh("node")?, Some(files), cores)?);
    }
    for name in nginxes {
        servers.push(Server::nginx(bench, files, name, cores)?);
    }
    servers.push(Server::kubo(bench, files)?);
    Ok(servers)
}

fn memory(name: &str, report: &mut Report, servers: &[Server]) -> Result<()> {
    let mut figure = Figure::new(name, "MB", Better::Less);
    // Of nginx it would be the memory of its first process, which serves nobody; the least server keeps nothing.
    for server in servers.iter().filter(|server| matches!(server.name, "Atoll" | "Kubo")) {
        figure.add(server.name, server.memory()?.1);
    }
    report.push(figure);
    Ok(())
}

fn file_name(object: &str) -> String {
    format!("{}.bin", object.replace(' ', ""))
}
