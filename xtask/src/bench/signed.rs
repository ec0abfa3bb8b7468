//! What signing costs: a file of a published site whose answers are signed, by a signature that is reused and by one for each answer,
//! beside the same file unsigned.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::load::{self, Asked, Targets};
use super::report::Report;
use super::servers::{self, Cores, Server};
use super::{Bench, Noise};
use crate::shell::output;

const FILE: &str = "1KiB.bin";
const CONNECTIONS: usize = 64;
/// Nobody's budget is used up.
const SETTINGS: &str = "[gateway.signing]\nper_second = 1000000\nnonces_per_address = 1000000\n";

/// Measures both forms.
pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let Some(atoll) = &bench.atoll else { return Ok(()) };
    let files = bench.fresh("files")?;
    let bytes = Noise(6).bytes(1024);
    fs::write(files.join(FILE), &bytes)?;
    let folder = bench.fresh("signing")?;
    fs::write(folder.join("node.toml"), SETTINGS)?;
    let mut signing = Server::atoll(atoll, &folder, None, Cores::Own)?;
    signing.prefix = format!("/ipfs/{}/", publish(atoll, &folder, &files)?);
    let mut plain = Server::atoll(atoll, &bench.fresh("unsigned")?, Some(&files), Cores::Own)?;
    plain.name = "unsigned";
    for server in [&signing, &plain] {
        server.check(FILE, &bytes)?;
        ensure!(is_signed(atoll, server)? == (server.name != plain.name), "{}: signed or not", server.name);
    }
    let servers = [signing, plain];
    for (name, script) in [("signed for a minute", None), ("signed for each answer", Some(nonces(bench)?))] {
        let targets = Targets::default();
        let name = format!("hot 1 KiB, {name}");
        let asked = Asked { name, file: FILE.to_owned(), connections: CONNECTIONS, script, targets };
        load::measure(bench, report, &servers, &asked)?;
    }
    Ok(())
}

/// Publishes a folder on a node that makes its bundle and holds it; its root.
fn publish(atoll: &Path, folder: &Path, files: &Path) -> Result<String> {
    let mut command = Command::new(atoll);
    command.arg("publish").arg(files).args(["--replicas", "1", "--json", "--dir"]).arg(folder);
    command.env("ATOLL_KEYRING", folder.join("keyring"));
    servers::root(&output(command)?)
}

/// Whether the file's answers are signed: `atoll verify` ends with 3 if they are not.
fn is_signed(atoll: &Path, server: &Server) -> Result<bool> {
    let status = Command::new(atoll).args(["verify", "--quick", &server.url(FILE)]).output()?.status;
    match status.code() {
        Some(0) => Ok(true),
        Some(3) => Ok(false),
        _ => Err(anyhow::anyhow!("{}: atoll verify ended with {status}", server.name)),
    }
}

/// A script that asks over another nonce each time.
fn nonces(bench: &Bench) -> Result<PathBuf> {
    let path = bench.fresh("script")?.join("nonces.lua");
    let digits = "string.format(\"%08x\", math.random(0, 2147483647))";
    let nonce = [digits; 8].join(" .. ");
    let script = format!(
        "math.randomseed(os.time())\nrequest = function()\n  \
         return wrk.format(\"GET\", nil, {{ [\"Atoll-Nonce\"] = \"0x\" .. {nonce} }})\nend\n"
    );
    fs::write(&path, script).context("the script of nonces")?;
    Ok(path)
}
