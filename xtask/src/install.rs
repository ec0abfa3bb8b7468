//! What the tests and the bench need beside Rust, installed by name: Debian packages, Kubo from its Go module, npm
//! packages by lock file.
//!
//! Owns `target/peers`. Each part is made in a folder of its own and moved or stamped last, so that a crash half-way is
//! repeated, never trusted.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::shell::{Workspace, find, output, run};

/// Kubo's version; `peers/go.mod` and `peers/go.sum` pin the same.
pub(crate) const KUBO_VERSION: &str = "v0.43.0";

const GO_MOD: &str = include_str!("../peers/go.mod");
const GO_SUM: &str = include_str!("../peers/go.sum");
const PACKAGE_JSON: &str = include_str!("../peers/package.json");
const PACKAGE_LOCK: &str = include_str!("../peers/package-lock.json");

/// Installs the Debian package of a program that `PATH` lacks, and returns the program's path.
pub(crate) fn debian(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = find(program) {
        return Ok(path);
    }
    if find("apt-get").is_none() {
        bail!("`{program}` is missing, and so is apt-get: install what your system calls Debian's package {package}");
    }
    let mut id = Command::new("id");
    id.arg("-u");
    if output(id)?.trim() != "0" {
        bail!("`{program}` is missing: run `sudo apt-get install --no-install-recommends {package}`, then this again");
    }
    run(apt(&["update"]))?;
    run(apt(&["install", "--yes", "--no-install-recommends", package]))?;
    find(program).with_context(|| format!("Debian's package {package} brought no `{program}`"))
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["--quiet", "--quiet"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Builds Kubo from its Go module unless that was done before, and returns the binary's path.
pub(crate) fn kubo(workspace: &Workspace) -> Result<PathBuf> {
    let binary = workspace.peers().join(format!("kubo-{KUBO_VERSION}/ipfs"));
    if binary.is_file() {
        return Ok(binary);
    }
    if find("go").is_none() {
        bail!("Go is missing, and Kubo is built with it: install Go 1.26 or later from go.dev/dl, then run this again");
    }
    let folder = workspace.peers().join("go");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("go.mod"), GO_MOD)?;
    fs::write(folder.join("go.sum"), GO_SUM)?;
    let mut download = Command::new("go");
    download.args(["mod", "download", "-json", "github.com/ipfs/kubo"]).current_dir(&folder);
    let module: GoModule = serde_json::from_str(&output(download)?).context("go mod download")?;
    // Built inside the module's own read-only folder, where its go.mod and go.sum pin everything it stands on.
    let partial = folder.join("ipfs");
    let mut build = Command::new("go");
    build.args(["build", "-trimpath", "-buildvcs=false", "-o"]).arg(&partial).arg("./cmd/ipfs");
    build.current_dir(module.dir).env("GOFLAGS", "-mod=readonly");
    run(build)?;
    fs::create_dir_all(workspace.peers().join(format!("kubo-{KUBO_VERSION}")))?;
    fs::rename(&partial, &binary)?;
    Ok(binary)
}

/// The part of `go mod download -json` that is read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GoModule {
    dir: PathBuf,
}

/// Installs the npm packages of `peers/package-lock.json` unless they are there, and returns `node_modules`.
pub(crate) fn npm(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.peers().join("npm");
    let modules = folder.join("node_modules");
    let stamp = folder.join("installed.json");
    if fs::read_to_string(&stamp).is_ok_and(|lock| lock == PACKAGE_LOCK) {
        return Ok(modules);
    }
    if find("npm").is_none() || find("node").is_none() {
        bail!("Node is missing: install Node 20 or later with npm from nodejs.org or your system, then run this again");
    }
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("package.json"), PACKAGE_JSON)?;
    fs::write(folder.join("package-lock.json"), PACKAGE_LOCK)?;
    let mut install = Command::new("npm");
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    run(install)?;
    fs::write(stamp, PACKAGE_LOCK)?;
    Ok(modules)
}

/// The Rust components that `rust-toolchain.toml` names; rustup installs them on first use, other set-ups may not.
pub(crate) fn rust_components(workspace: &Workspace) -> Result<()> {
    for component in ["clippy", "fmt"] {
        if output(workspace.cargo(&[component, "--version"])).is_ok() {
            continue;
        }
        if find("rustup").is_none() {
            bail!(
                "cargo {component} is missing: install Rust with rustup, which brings what rust-toolchain.toml names"
            );
        }
        let name = if component == "fmt" { "rustfmt" } else { component };
        let mut add = Command::new("rustup");
        add.args(["component", "add", name]).current_dir(&workspace.root);
        run(add)?;
    }
    Ok(())
}
