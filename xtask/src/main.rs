//! Atoll's own tasks: `cargo xtask test | tidy | bench | attack | conformance | dist`.
//!
//! Everything that CI checks and the README promises is started here. It keeps nothing but what it installs into
//! `target/peers`, which can be deleted at any time.

mod attack;
mod bench;
mod conformance;
mod dist;
mod install;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::shell::Workspace;

/// Atoll's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks everything that CI checks; installs what that needs
    Test(test::Options),
    /// Checks what a compiler does not: direction, sizes, links, bans, goldens
    Tidy(tidy::Options),
    /// Measures Atoll beside nginx, Kubo and ipfs-car, and writes docs/benchmarks.md
    Bench(bench::Options),
    /// Starts an offline node with the fixtures of a suite that others wrote, for the suite to be run against
    #[command(subcommand)]
    Conformance(conformance::Suite),
    /// Attacks a node in several ways, and writes docs/attacks.md
    Attack(attack::Options),
    /// The server that the bench compares with, which does the least
    #[command(hide = true)]
    Least(bench::least::Options),
    /// Builds the binary to hand out: whole-program optimised, by what a load showed, stripped
    Dist(dist::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one task; `false` when it found something wrong and has said what.
fn run(task: Task) -> Result<bool> {
    let workspace = Workspace::open()?;
    match task {
        Task::Test(options) => test::run(&workspace, &options),
        Task::Tidy(options) => tidy::run(&workspace, &options),
        Task::Bench(options) => bench::run(&workspace, &options),
        Task::Conformance(suite) => conformance::run(&workspace, &suite),
        Task::Attack(options) => attack::run(&workspace, &options),
        Task::Least(options) => bench::least::run(&options),
        Task::Dist(options) => dist::run(&workspace, &options),
    }
}
