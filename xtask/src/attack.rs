//! `cargo xtask attack`: the attacks of `bin/atoll/tests/attack.rs`, for longer than in the tests, written to `docs/attacks.md`.

use anyhow::Result;
use clap::Args;

use crate::shell::{self, Workspace};

/// How long each attack goes on, in seconds, unless it is said.
const SECONDS: u64 = 10;

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds of each attack
    #[arg(long, default_value_t = SECONDS)]
    seconds: u64,
    /// Runs only attacks whose names contain this, and writes no page
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Runs them; `false` when one was not withstood.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let mut command = workspace.cargo(&["test", "--release", "--locked", "--package", "atoll", "--test", "attack"]);
    command.args(["--", "--nocapture"]).env("ATOLL_ATTACK_SECONDS", options.seconds.to_string());
    match &options.only {
        Some(only) => command.env("ATOLL_ATTACK_ONLY", only),
        None => command.env("ATOLL_ATTACK_PAGE", workspace.root.join("docs/attacks.md")),
    };
    Ok(shell::stream(command, |_| {})?.success())
}
