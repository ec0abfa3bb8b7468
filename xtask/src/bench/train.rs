//! The load from which the compiler learns: what is published and what is in front of an origin, plain and with TLS; other objects than
//! those that are measured.

use std::fs;

use anyhow::Result;

use super::front::paths;
use super::load::{self, Asked, Targets};
use super::proxies::{self, Tools};
use super::servers::{Cores, Server};
use super::{Bench, Noise, h2load};

/// Objects: name and bytes.
const OBJECTS: [(&str, usize); 3] = [("small.bin", 3 * 1024), ("middle.bin", 40 * 1024), ("large.bin", 700 * 1024)];
const CONNECTIONS: usize = 40;

/// Puts a binary that counts under load. It writes what it counted when it ends.
pub(super) fn run(bench: &Bench) -> Result<()> {
    let Some(atoll) = &bench.atoll else { return Ok(()) };
    let tools = Tools::prepare(bench)?;
    let files = bench.fresh("files")?;
    let mut noise = Noise(7);
    for (name, bytes) in OBJECTS {
        fs::write(files.join(name), noise.bytes(bytes))?;
    }
    let ask = |server: &Server, file: &str, folder: Option<&str>| {
        let script = folder.map(|folder| paths(bench, folder)).transpose()?;
        let (name, targets) = (String::new(), Targets::default());
        let asked = Asked { name, file: file.to_owned(), connections: CONNECTIONS, script, targets };
        load::wrk(bench, server, &asked, bench.seconds).map(drop)
    };
    let published = Server::atoll(atoll, &bench.fresh("published")?, Some(&files), Cores::Own)?;
    let (origin, _) = proxies::origin(bench, &files)?;
    let front = proxies::atoll(atoll, bench, &tools, &origin)?;
    for (name, _) in OBJECTS {
        ask(&published, name, None)?;
        ask(&front, name, None)?;
        h2load::run(bench, &tools.h2load, &front, name, bench.seconds)?;
    }
    for folder in ["new", "pass"] {
        ask(&front, "", Some(folder))?;
    }
    Ok(())
}
