//! `cargo xtask test`: every check of CI, one after the other, counted.
//!
//! A step that fails hides none of the others. The last line says how many tests and steps passed and failed, and the
//! exit code says the same. Nothing is kept but build results and `target/peers`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::shell::{Workspace, find, run as run_command, stream};
use crate::{install, tidy};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Runs the long forms of the tests too (more kills, more seeds)
    #[arg(long)]
    long: bool,
    /// Runs only this step; may be given more than once
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Lists the steps and runs none
    #[arg(long)]
    list: bool,
}

/// One check.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Run<'_>, &mut Tally) -> Result<()>,
}

/// The steps, in an order in which each finds what it needs.
const STEPS: [Step; 20] = [
    Step { name: "rust", about: "the components that rust-toolchain.toml names", run: rust },
    Step { name: "chromium", about: "Debian's Chromium, which looks at the status page", run: chromium },
    Step { name: "npm", about: "the npm packages that read our CARs and judge our pinning service", run: npm },
    Step { name: "kubo", about: "Kubo, built from its Go module", run: kubo },
    Step { name: "h2spec", about: "h2spec, which judges our HTTP/2, built from its Go module", run: h2spec },
    Step { name: "pebble", about: "pebble, an ACME server, built from its Go module", run: pebble },
    Step { name: "versitygw", about: "versitygw, an S3-compatible store, built from its Go module", run: versitygw },
    Step { name: "python", about: "the Python packages that speak HTTP/3 and judge TLS and answers", run: python },
    Step { name: "net", about: "Debian's iproute2 and nftables, which make networks for nodes", run: net },
    Step {
        name: "slowhttptest",
        about: "Debian's slowhttptest, which is a slow client in four ways",
        run: slowhttptest,
    },
    Step { name: "radicale", about: "Debian's Radicale, an application that Atoll stands before", run: radicale },
    Step { name: "haproxy", about: "Debian's haproxy, a load balancer before a node", run: haproxy },
    Step { name: "nsd", about: "Debian's nsd, a DNS server in which servers agree", run: nsd },
    Step { name: "fmt", about: "formatting", run: fmt },
    Step { name: "build", about: "what is shipped, checked, and the tests with the binary that they run", run: build },
    Step { name: "tidy", about: "direction, sizes, links, bans, goldens", run: tidy },
    Step { name: "clippy", about: "lints, warnings denied", run: clippy },
    Step { name: "doc", about: "documentation, dead links denied", run: doc },
    Step { name: "test", about: "every test of the workspace, and every fuzz target over its corpus", run: test },
    Step { name: "drill", about: "the demo's drill: nodes die, a member lies, no request fails", run: drill },
];

/// What every step may look at.
struct Run<'a> {
    workspace: &'a Workspace,
    long: bool,
}

/// Runs the steps that were asked for; `true` when nothing failed.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    if options.list {
        STEPS.iter().for_each(|step| println!("{:<10}{}", step.name, step.about));
        return Ok(true);
    }
    if let Some(unknown) = options.only.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        bail!("there is no step `{unknown}`; `cargo xtask test --list` names them");
    }
    let run = Run { workspace, long: options.long };
    let mut tally = Tally::default();
    let mut summary = Vec::new();
    for step in STEPS.iter().filter(|step| options.only.is_empty() || options.only.iter().any(|name| name == step.name))
    {
        summary.push(run_step(step, &run, &mut tally));
    }
    println!("\n{}\n", summary.join("\n"));
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(tally.failed == 0)
}

/// Runs one step and returns its line of the summary. The step itself counts like a test.
fn run_step(step: &Step, run: &Run<'_>, tally: &mut Tally) -> String {
    println!("\n── {}: {}", step.name, step.about);
    let start = Instant::now();
    let result = (step.run)(run, tally);
    let seconds = start.elapsed().as_secs_f64();
    match result {
        Ok(()) => {
            tally.passed += 1;
            format!("ok      {:<10}{seconds:>7.1} s", step.name)
        }
        Err(error) => {
            tally.failed += 1;
            eprintln!("error: {}: {error:#}", step.name);
            format!(
                "FAILED  {:<10}{seconds:>7.1} s  {}",
                step.name,
                error.to_string().lines().next().unwrap_or_default()
            )
        }
    }
}

/// Tests and steps, counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Adds the counts of a closing line of libtest (`test result: ok. 3 passed; 0 failed; …`).
    fn read(&mut self, line: &str) {
        let Some((_, result)) = line.split_once("test result: ") else { return };
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let count = words.next().and_then(|number| number.parse::<u64>().ok());
            match (count, words.next()) {
                (Some(count), Some("passed")) => self.passed += count,
                (Some(count), Some("failed")) => self.failed += count,
                _ => {}
            }
        }
    }
}

fn rust(run: &Run<'_>, _: &mut Tally) -> Result<()> {
    install::rust_components(run.workspace)
}

fn chromium(_: &Run<'_>, _: &mut Tally) -> Result<()> {
    install::debian("chromium", "chromium").map(drop)
}

fn npm(run: &Run<'_>, _: &mut Tally) -> Result<()> {
    install::npm(run.workspace).map(drop)
}

fn kubo(run: &Run<'_>, _: &mut Tally) -> Result<()> {
    install::kubo(run.workspace).map(drop)
}

fn h2spec(run: &Run<'_>, _: &mut Tally) -> Result<()> {
    install::h2spec(run.workspace).map(drop)
}

fn pebble(run: &Run<'_>, _: &mut Tally) -> Result<()> {
    install::pebble(run.workspace).map(drop)
}

fn versitygw(run: &Run<'_>, _: &mut Tally) -> Result<()> {
    install::debian("curl", "curl")?;
    install::versitygw(run.workspace).map(drop)
}

fn haproxy(_: &Run<'_>, _: &mut Tally) -> Result<()> {
    install::debian("haproxy", "haproxy").map(drop)
}

fn nsd(_: &Run<'_>, _: &mut Tally) -> Result<()> {
    install::debian("nsd", "nsd").map(drop)
}

fn python(run: &Run<'_>, _: &mut Tally) -> Result<()> {
    install::python(run.workspace).map(drop)
}

fn net(_: &Run<'_>, _: &mut Tally) -> Result<()> {
    install::debian("ip", "iproute2")?;
    install::debian("nft", "nftables").map(drop)
}

fn slowhttptest(_: &Run<'_>, _: &mut Tally) -> Result<()> {
    install::debian("slowhttptest", "slowhttptest").map(drop)
}

fn radicale(_: &Run<'_>, _: &mut Tally) -> Result<()> {
    install::debian("curl", "curl")?;
    install::debian("radicale", "radicale").map(drop)
}

fn fmt(run: &Run<'_>, _: &mut Tally) -> Result<()> {
    run_command(run.workspace.cargo(&["fmt", "--all", "--check"]))
}

// Tests have features of dependencies that what is shipped does not have (a clock that can be held, for one), so that both
// cannot share what is compiled. Only the tests' form is built; the other one is checked.
fn build(run: &Run<'_>, _: &mut Tally) -> Result<()> {
    run_command(run.workspace.cargo(&["check", "--release", "--locked"]))?;
    run_command(run.workspace.cargo(&["test", "--release", "--locked", "--workspace", "--no-run"]))
}

fn tidy(run: &Run<'_>, _: &mut Tally) -> Result<()> {
    ensure!(tidy::run(run.workspace, &tidy::Options::default())?, "see the problems above");
    Ok(())
}

// Release everywhere: build scripts and macros are then compiled once for lints and tests.
fn clippy(run: &Run<'_>, _: &mut Tally) -> Result<()> {
    let arguments = ["clippy", "--release", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    run_command(run.workspace.cargo(&arguments))
}

fn doc(run: &Run<'_>, _: &mut Tally) -> Result<()> {
    let mut command = run.workspace.cargo(&["doc", "--release", "--locked", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "--deny warnings");
    run_command(command)
}

fn test(run: &Run<'_>, tally: &mut Tally) -> Result<()> {
    let command = run.workspace.cargo(&["test", "--release", "--locked", "--workspace", "--no-fail-fast"]);
    run_tests(command, run, tally)
}

/// Runs `cargo test` with what the tests may want in the environment, counting what they report.
fn run_tests(mut command: Command, run: &Run<'_>, tally: &mut Tally) -> Result<()> {
    let workspace = run.workspace;
    let peers = workspace.peers();
    let vectors = workspace.root.with_file_name("shared").join("vectors");
    let places = [
        ("ATOLL_KUBO", Some(peers.join(format!("kubo-{}/ipfs", install::KUBO_VERSION)))),
        ("ATOLL_H2SPEC", Some(peers.join(format!("h2spec-{}/h2spec", install::H2SPEC_VERSION)))),
        ("ATOLL_PEBBLE", Some(peers.join(format!("pebble-{}", install::PEBBLE_VERSION)))),
        ("ATOLL_VERSITYGW", Some(peers.join(format!("versitygw-{}/versitygw", install::VERSITYGW_VERSION)))),
        ("ATOLL_HAPROXY", find("haproxy")),
        ("ATOLL_NSD", find("nsd")),
        ("ATOLL_PYTHON", Some(peers.join("python/bin/python"))),
        ("ATOLL_NODE_MODULES", Some(peers.join("npm/node_modules"))),
        ("ATOLL_CHROMIUM", find("chromium")),
        ("ATOLL_RADICALE", find("radicale")),
        ("ATOLL_SLOWHTTPTEST", find("slowhttptest")),
        ("ATOLL_VECTORS", Some(vectors)),
    ];
    // A variable that is set wins; a place that does not exist is not named, and the test that needs it says so.
    for (name, place) in places {
        if std::env::var_os(name).is_none()
            && let Some(place) = place.filter(|place: &PathBuf| place.exists())
        {
            command.env(name, place);
        }
    }
    if run.long {
        command.env("ATOLL_TEST_LONG", "1");
    }
    let status = stream(command, |line| tally.read(line))?;
    ensure!(status.success(), "cargo test: {status}");
    Ok(())
}

/// The line of the drill's report.
#[derive(Deserialize)]
struct Report {
    drill: Drill,
}

/// The part of it that decides.
#[derive(Deserialize)]
struct Drill {
    requests: u64,
    failed: u64,
}

fn drill(run: &Run<'_>, _: &mut Tally) -> Result<()> {
    let mut command = Command::new(run.workspace.atoll());
    command.args(["demo", "--drill", "--json"]).current_dir(&run.workspace.root);
    let mut report = None;
    let status = stream(command, |line| report = serde_json::from_str::<Report>(line).ok().or(report.take()))?;
    ensure!(status.success(), "atoll demo --drill: {status}");
    let Some(Report { drill: Drill { requests, failed } }) = report else {
        bail!("atoll demo --drill printed no JSON line with `requests` and `failed`");
    };
    ensure!(requests > 0, "the drill made no request");
    ensure!(failed == 0, "{failed} of {requests} requests failed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let mut tally = Tally::default();
        tally.read("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.05s");
        tally.read("noise before it test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured");
        tally.read("running 5 tests");
        assert_eq!(tally, Tally { passed: 15, failed: 2 });
    }

    #[test]
    fn steps_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
    }
}
