//! `cargo xtask tidy`: what the house rules ask for and no compiler checks.
//!
//! Reads tracked files and `cargo metadata`; writes only with `--bless`, and then only the goldens in `docs/`.

mod direction;
mod goldens;
mod packages;
mod sources;
mod texts;

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::shell::{Workspace, output};

/// What to do beyond looking.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Writes docs/cli.md and docs/node.example.toml anew from the built binary
    #[arg(long)]
    bless: bool,
}

/// Looks at everything and prints what it found; `true` when nothing has to change.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let files = Files::read(workspace)?;
    let mut report = Report::default();
    direction::check(workspace, &mut report);
    packages::check(workspace, &mut report)?;
    sources::check(&files, &mut report);
    texts::check(&files, &mut report);
    if let Err(error) = goldens::check(workspace, options.bless, &mut report) {
        report.problem(format!("goldens: {error:#}"));
    }
    report.warnings.iter().for_each(|warning| println!("warning: {warning}"));
    report.problems.iter().for_each(|problem| println!("problem: {problem}"));
    println!("tidy: {} problems, {} warnings", report.problems.len(), report.warnings.len());
    Ok(report.problems.is_empty())
}

/// What was found.
#[derive(Debug, Default)]
struct Report {
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Report {
    /// Something that has to change.
    fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// Something to know.
    fn warning(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }
}

/// The checkout's files that git tracks or would track, by path from the root with `/`.
struct Files {
    files: Vec<File>,
}

/// One of them. `text` is `None` where the bytes are not UTF-8.
struct File {
    path: String,
    text: Option<String>,
}

impl Files {
    fn read(workspace: &Workspace) -> Result<Self> {
        let mut list = Command::new("git");
        list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&workspace.root);
        let mut files = Vec::new();
        for path in output(list)?.split('\0').filter(|path| !path.is_empty()) {
            let absolute = workspace.root.join(path);
            // A file that is deleted but not yet committed is listed still.
            if absolute.is_file() {
                let bytes = fs::read(absolute).with_context(|| path.to_owned())?;
                files.push(File { path: path.to_owned(), text: String::from_utf8(bytes).ok() });
            }
        }
        Ok(Self { files })
    }

    /// Path and text of the files whose name ends so.
    fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts().filter(move |(path, _)| path.ends_with(end))
    }

    /// Path and text of every file that has one.
    fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|file| Some((file.path.as_str(), file.text.as_deref()?)))
    }

    /// The text of one file.
    fn text(&self, path: &str) -> Option<&str> {
        self.texts().find(|(at, _)| *at == path).map(|(_, text)| text)
    }

    /// Whether the path is a file, or a folder of files.
    fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty() || self.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: Some((*text).to_owned()) };
        Self { files: files.iter().map(file).collect() }
    }
}
