//! A node for suites that others wrote: offline, loaded with their fixtures, waiting to be asked (`conformance/README.md`).
//!
//! The suites are run by hand, since no registry has them. Keeps its node's folder below `target/`, made anew each time.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::shell::{self, Workspace};

/// The suite that is to judge.
#[derive(Subcommand)]
pub(crate) enum Suite {
    /// ipfs/gateway-conformance: answers for example.com and localhost
    Gateway(Options),
}

/// What the node serves, and where.
#[derive(Args)]
pub(crate) struct Options {
    /// Folder of the fixtures: fixtures.car, dnslinks.json, *.ipns-record
    #[arg(long, value_name = "DIR")]
    fixtures: PathBuf,
    /// Address and port of the gateway
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

/// The names of sites in the fixtures.
#[derive(Deserialize)]
struct DnsLinks {
    domains: BTreeMap<String, String>,
}

/// Settings of the node.
#[derive(Serialize)]
struct Settings {
    gateway: Gateway,
    names: Names,
}

#[derive(Serialize)]
struct Gateway {
    listen: SocketAddr,
    subdomain_names: [&'static str; 2],
    trusted_proxies: [&'static str; 1],
    fetch: &'static str,
}

#[derive(Serialize)]
struct Names {
    dnslink: BTreeMap<String, String>,
}

/// Starts the node, loads it, and waits until it is told to stop.
pub(crate) fn run(workspace: &Workspace, suite: &Suite) -> Result<bool> {
    let Suite::Gateway(options) = suite;
    shell::run(workspace.cargo(&["build", "--release", "--package", "atoll"]))?;
    let folder = workspace.target.join("conformance");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("node.toml"), settings(options)?)?;
    let mut node = Node::start(workspace, &folder)?;
    load(workspace, &folder, &options.fixtures)?;
    println!("serving the fixtures on http://{}, until Ctrl-C", options.listen);
    Ok(node.child.wait()?.success())
}

fn settings(options: &Options) -> Result<String> {
    let path = options.fixtures.join("dnslinks.json");
    let links = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let DnsLinks { domains } = serde_json::from_slice(&links)?;
    let gateway = Gateway {
        listen: options.listen,
        subdomain_names: ["example.com", "localhost"],
        trusted_proxies: ["127.0.0.0/8"],
        fetch: "held",
    };
    Ok(toml::to_string(&Settings { gateway, names: Names { dnslink: domains } })?)
}

fn load(workspace: &Workspace, folder: &Path, fixtures: &Path) -> Result<()> {
    let atoll = |arguments: &[&str], file: &Path| {
        let mut command = Command::new(workspace.atoll());
        command.args(arguments).arg(file).arg("--dir").arg(folder);
        command
    };
    // One of the DAGs lacks a block on purpose, so that the roots cannot be pinned.
    shell::run(atoll(&["car", "import", "--no-pin"], &fixtures.join("fixtures.car")))?;
    shell::run(atoll(&["name", "import"], fixtures))
}

/// The running node; killed when the task ends otherwise.
struct Node {
    child: Child,
}

impl Node {
    fn start(workspace: &Workspace, folder: &Path) -> Result<Self> {
        let mut command = Command::new(workspace.atoll());
        command.args(["node", "--json", "--admin-listen", "127.0.0.1:0", "--dir"]).arg(folder);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("atoll node did not start")?;
        let mut lines = BufReader::new(child.stdout.take().context("atoll node has no output")?).lines();
        let node = Self { child };
        if lines.next().is_none() {
            bail!("the node ended before it was ready");
        }
        std::thread::spawn(move || lines.for_each(drop));
        Ok(node)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // Already gone, or deaf: nothing more can be done about it here.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
