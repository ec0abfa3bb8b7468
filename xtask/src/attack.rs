//! `cargo xtask attack`: the attacks of `bin/atoll/tests/attack.rs`, for longer than in the tests, and those of peers, written to
//! `docs/attacks.md`.

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

/// The tests of `crates/swarm` in which peers attack; they write a row for each attack.
const PEERS: [&str; 4] = ["hostile", "flood", "sybils", "gossip"];
/// What the page says of them, before the rows.
const PEERS_HEAD: &str = "\n## Attacks of peers\n\nOf `crates/swarm/tests`, over libp2p on the same machine; attackers, the attacked node \
    and a well-behaved peer share a process and two threads, and memory is that of all of them.\n\n| attack | meanwhile | \
    p99 before, during | slowest during | memory | budget |\n|---|---|---|---|---|---|\n";

/// Runs them; `false` when one was not withstood.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let mut command = workspace.cargo(&["test", "--release", "--locked", "--workspace", "--test", "attack"]);
    command.args(["--", "--nocapture"]).env("ATOLL_ATTACK_SECONDS", options.seconds.to_string());
    let page = workspace.root.join("docs/attacks.md");
    if let Some(only) = &options.only {
        command.env("ATOLL_ATTACK_ONLY", only);
        return Ok(shell::stream(command, |_| {})?.success());
    }
    command.env("ATOLL_ATTACK_PAGE", &page);
    if !shell::stream(command, |_| {})?.success() {
        return Ok(false);
    }
    let rows = workspace.root.join("target/attack-rows");
    let _ = std::fs::remove_file(&rows);
    for test in PEERS {
        let mut command = workspace.cargo(&["test", "--release", "--locked", "--workspace", "--test", test]);
        command.args(["--", "--nocapture"]).env("ATOLL_ATTACK_ROWS", &rows);
        if !shell::stream(command, |_| {})?.success() {
            return Ok(false);
        }
    }
    let peers = std::fs::read_to_string(&rows)?;
    let mut text = std::fs::read_to_string(&page)?;
    text.push_str(PEERS_HEAD);
    text.push_str(&peers);
    std::fs::write(&page, text)?;
    Ok(true)
}
