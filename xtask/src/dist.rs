//! `cargo xtask dist`: the binary that is handed out. The compiler first learns from a load which code is used together and which never
//! (profile-guided optimisation): built to count, put under load, and built again by what was counted.
//!
//! Works in `target/profiled`, which can be deleted at any time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::bench;
use crate::shell::{self, Workspace};

/// What to build.
#[derive(Args)]
pub(crate) struct Options {
    /// Without learning from a load first: built in a third of the time, and slower by a tenth or so
    #[arg(long)]
    plain: bool,
}

/// Builds it and says where it is.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let binary = if options.plain { plain(workspace)? } else { profiled(workspace)? };
    println!("{}", binary.display());
    Ok(true)
}

/// Builds it without learning.
pub(crate) fn plain(workspace: &Workspace) -> Result<PathBuf> {
    shell::run(workspace.cargo(&["build", "--locked", "--profile", "dist", "--package", "atoll"]))?;
    Ok(workspace.target.join("dist/atoll"))
}

/// Builds it, learning from a load unless that was done with the same sources.
pub(crate) fn profiled(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("profiled");
    let (counts, profile, trained) =
        (folder.join("counts"), folder.join("atoll.profdata"), folder.join("atoll-trained"));
    let host = host()?;
    // Before the long part, in which nothing is asked for any more.
    let profdata = profdata(&host)?;
    // In folders of their own, so that each is there when only a little has changed.
    let flags = format!("-Cprofile-generate={}", counts.display());
    let counting = build(workspace, &folder.join("counting"), &host, &flags)?;
    if !profile.is_file() || fs::read(&trained).ok() != Some(fs::read(&counting)?) {
        if counts.exists() {
            fs::remove_dir_all(&counts)?;
        }
        bench::train(workspace, counting.clone())?;
        let mut merge = Command::new(profdata);
        merge.arg("merge").arg("--output").arg(&profile).arg(&counts);
        shell::run(merge)?;
        fs::copy(&counting, &trained)?;
    }
    build(workspace, &folder.join("learnt"), &host, &format!("-Cprofile-use={}", profile.display()))
}

/// Builds for this machine as a target, so that the flags are not those of build scripts too.
fn build(workspace: &Workspace, folder: &Path, host: &str, flags: &str) -> Result<PathBuf> {
    let mut cargo =
        workspace.cargo(&["build", "--locked", "--profile", "dist", "--package", "atoll", "--target", host]);
    cargo.env("CARGO_TARGET_DIR", folder).env("RUSTFLAGS", flags);
    shell::run(cargo)?;
    Ok(folder.join(host).join("dist/atoll"))
}

fn rustc(arguments: &[&str]) -> Result<String> {
    let mut rustc = Command::new("rustc");
    rustc.args(arguments);
    shell::output(rustc)
}

/// The target that this machine is.
fn host() -> Result<String> {
    let said = rustc(&["--version", "--verbose"])?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_owned())
}

/// The program that puts counts together, of the compiler's own LLVM; installed if it is missing.
fn profdata(host: &str) -> Result<PathBuf> {
    let sysroot = rustc(&["--print", "sysroot"])?;
    let program = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/llvm-profdata");
    if !program.is_file() {
        let mut rustup = Command::new("rustup");
        rustup.args(["component", "add", "llvm-tools"]);
        shell::run(rustup)?;
    }
    ensure!(program.is_file(), "rustup's component llvm-tools brought no {}", program.display());
    Ok(program)
}
