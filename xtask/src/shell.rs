//! Commands of other programs: started, streamed, and believed only when they say that they succeeded.
//!
//! Owns nothing on disk. A crash of xtask leaves at most the child that it waited for.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write, pipe, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{Metadata, MetadataCommand};

/// Where the checkout and its build results lie.
pub(crate) struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// What cargo knows of every package, dependencies included.
    pub(crate) metadata: Metadata,
}

impl Workspace {
    /// Reads the workspace that this program was built from.
    pub(crate) fn open() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
        let metadata = MetadataCommand::new().manifest_path(manifest).exec().context("cargo metadata")?;
        let root = metadata.workspace_root.clone().into_std_path_buf();
        let target = metadata.target_directory.clone().into_std_path_buf();
        Ok(Self { root, target, metadata })
    }

    /// Where peers and their packages are installed.
    pub(crate) fn peers(&self) -> PathBuf {
        self.target.join("peers")
    }

    /// The binary that `cargo build --release` makes.
    pub(crate) fn atoll(&self) -> PathBuf {
        self.target.join("release/atoll")
    }

    /// Cargo in the workspace root, writing into this workspace's target folder whatever manifest it is given.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        // What `cargo run` says of this task itself: some build scripts watch these variables, and would run again whenever
        // Cargo is called from here and then by hand.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
                command.env_remove(name);
            }
        }
        command
    }
}

/// Runs a command to its end with its output passed through; an error unless it succeeds.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let shown = shown(&command);
    println!("$ {shown}");
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("`{shown}` did not start"))?;
    ensure!(status.success(), "`{shown}` failed: {status}");
    Ok(())
}

/// Runs a command to its end and returns what it printed; an error with its own words unless it succeeds.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let shown = shown(&command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("`{shown}` did not start"))?;
    if !output.status.success() {
        bail!("`{shown}` failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end, passing on both its outputs as they come and showing each line to `on_line`.
pub(crate) fn stream(mut command: Command, mut on_line: impl FnMut(&str)) -> Result<ExitStatus> {
    let shown = shown(&command);
    println!("$ {shown}");
    let (reader, writer) = pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("`{shown}` did not start"))?;
    // The command holds the pipe's writing end; without it the reading below ends with the child.
    drop(command);
    let mut lines = BufReader::new(reader);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        stdout().write_all(&line)?;
        on_line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(child.wait()?)
}

/// The path of a program, if `PATH` has it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A command as a person would type it, the program without its folder.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
