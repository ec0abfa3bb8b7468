//! What the tests and the bench need beside Rust, installed by name: Debian packages, Kubo from its Go module, npm and
//! Python packages by lock file.
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

/// The version of h2spec; `peers/h2spec/go.mod` and its `go.sum` pin the same.
pub(crate) const H2SPEC_VERSION: &str = "v2.2.1";
/// The version of pebble; `peers/pebble/go.mod` and its `go.sum` pin the same.
pub(crate) const PEBBLE_VERSION: &str = "v2.10.1";

/// The version of versitygw; `peers/versitygw/go.mod` and its `go.sum` pin the same.
pub(crate) const VERSITYGW_VERSION: &str = "v1.8.0";

/// Kubo, from its module.
const KUBO: GoPeer = GoPeer {
    name: "kubo",
    version: KUBO_VERSION,
    module: Some("github.com/ipfs/kubo"),
    pins: [include_str!("../peers/go.mod"), include_str!("../peers/go.sum")],
    programs: &[("ipfs", "./cmd/ipfs")],
};
/// h2spec has no module file of its own: it is built from ours.
const H2SPEC: GoPeer = GoPeer {
    name: "h2spec",
    version: H2SPEC_VERSION,
    module: None,
    pins: [include_str!("../peers/h2spec/go.mod"), include_str!("../peers/h2spec/go.sum")],
    programs: &[("h2spec", "github.com/summerwind/h2spec/cmd/h2spec")],
};
/// An ACME server, and a DNS server that says what it is told to.
const PEBBLE: GoPeer = GoPeer {
    name: "pebble",
    version: PEBBLE_VERSION,
    module: Some("github.com/letsencrypt/pebble/v2"),
    pins: [include_str!("../peers/pebble/go.mod"), include_str!("../peers/pebble/go.sum")],
    programs: &[("pebble", "./cmd/pebble"), ("pebble-challtestsrv", "./cmd/pebble-challtestsrv")],
};
/// An S3-compatible store whose objects are files.
const VERSITYGW: GoPeer = GoPeer {
    name: "versitygw",
    version: VERSITYGW_VERSION,
    module: Some("github.com/versity/versitygw"),
    pins: [include_str!("../peers/versitygw/go.mod"), include_str!("../peers/versitygw/go.sum")],
    programs: &[("versitygw", "./cmd/versitygw")],
};

/// Programs that are built with Go.
struct GoPeer {
    name: &'static str,
    version: &'static str,
    /// The module in whose own folder they are built, where its go.mod and go.sum pin what it stands on; otherwise `pins` do.
    module: Option<&'static str>,
    /// A go.mod and a go.sum.
    pins: [&'static str; 2],
    /// Each by its file and its package.
    programs: &'static [(&'static str, &'static str)],
}
/// Each with the digests of what may be installed for it.
const PYTHON_PACKAGES: &str = include_str!("../peers/python.txt");
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
    Ok(KUBO.build(workspace)?.join("ipfs"))
}

/// The same with h2spec.
pub(crate) fn h2spec(workspace: &Workspace) -> Result<PathBuf> {
    Ok(H2SPEC.build(workspace)?.join("h2spec"))
}

/// The same with pebble; the folder of its two programs.
pub(crate) fn pebble(workspace: &Workspace) -> Result<PathBuf> {
    PEBBLE.build(workspace)
}

/// The same with versitygw.
pub(crate) fn versitygw(workspace: &Workspace) -> Result<PathBuf> {
    Ok(VERSITYGW.build(workspace)?.join("versitygw"))
}

impl GoPeer {
    /// The folder of its programs, which are built unless that was done before.
    fn build(&self, workspace: &Workspace) -> Result<PathBuf> {
        let Self { name, version, .. } = self;
        let built = workspace.peers().join(format!("{name}-{version}"));
        if self.programs.iter().all(|(program, _)| built.join(program).is_file()) {
            return Ok(built);
        }
        if find("go").is_none() {
            bail!(
                "Go is missing, and {name} is built with it: install Go 1.26 or later from go.dev/dl, then run this again"
            );
        }
        let folder = workspace.peers().join("go").join(name);
        fs::create_dir_all(&folder)?;
        let [go_mod, go_sum] = self.pins;
        fs::write(folder.join("go.mod"), go_mod)?;
        fs::write(folder.join("go.sum"), go_sum)?;
        let source = match self.module {
            None => folder.clone(),
            Some(module) => {
                let mut download = Command::new("go");
                download.args(["mod", "download", "-json", module]).current_dir(&folder);
                let module: GoModule = serde_json::from_str(&output(download)?).context("go mod download")?;
                module.dir
            }
        };
        fs::create_dir_all(&built)?;
        for (program, package) in self.programs {
            let partial = folder.join(program);
            let mut build = Command::new("go");
            build.args(["build", "-trimpath", "-buildvcs=false", "-o"]).arg(&partial).arg(package);
            build.current_dir(&source).env("GOFLAGS", "-mod=readonly");
            run(build)?;
            fs::rename(&partial, built.join(program))?;
        }
        Ok(built)
    }
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

/// Installs the Python packages of `peers/python.txt` into an environment of their own unless they are there, and returns its Python.
pub(crate) fn python(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.peers().join("python");
    let python = folder.join("bin/python");
    let stamp = folder.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|packages| packages == PYTHON_PACKAGES) {
        return Ok(python);
    }
    // What brings it is Debian's package; a Python of another kind may have it too.
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&folder);
    if run(make).is_err() {
        debian("python3", "python3")?;
        run(apt(&["install", "--yes", "--no-install-recommends", "python3-venv"]))?;
        let mut again = Command::new("python3");
        again.args(["-m", "venv", "--clear"]).arg(&folder);
        run(again)?;
    }
    let packages = folder.join("packages.txt");
    fs::write(&packages, PYTHON_PACKAGES)?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--requirement"]).arg(packages);
    run(install)?;
    fs::write(stamp, PYTHON_PACKAGES)?;
    Ok(python)
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
