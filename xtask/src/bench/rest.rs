//! What the nodes of a demo's swarm take when nobody asks them for anything.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::report::{Better, Figure, Report};
use super::{Bench, text};

/// The last line of a demo that has started begins with this.
const STARTED: &str = "Kill any node";
/// How long the nodes are left alone first.
const SETTLE: Duration = Duration::from_secs(30);
/// The nodes of a demo.
const NODES: usize = 5;
/// The most memory of each, in MiB.
const NODE_MIB: f64 = 64.0;

/// Ends the demo, which ends its nodes.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures the largest of the nodes: all that is resident, and what it shares with nobody.
pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let Some(atoll) = &bench.atoll else { return Ok(()) };
    let folder = text(&bench.fresh("demo")?.join("nodes"));
    let mut command = Command::new(atoll);
    let child = command
        .args(["demo", "--dir", &folder])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut demo = Demo(child);
    let mut lines = BufReader::new(demo.0.stderr.take().context("the demo's output")?).lines();
    let is_last = |line: std::io::Result<String>| line.is_ok_and(|line| line.starts_with(STARTED));
    ensure!(lines.by_ref().any(is_last), "the demo ended early");
    sleep(SETTLE);
    let nodes = children(demo.0.id())?;
    ensure!(nodes.len() == NODES, "the demo has {} nodes", nodes.len());
    let mut resident = Figure::new("memory of the largest of a demo's five nodes, at rest", "MiB", Better::Less);
    resident.at_most(NODE_MIB);
    let mut private = Figure::new("of that, shared with nobody", "MiB", Better::Less);
    let largest = |names: &[&str]| -> Result<f64> {
        let sizes = nodes.iter().map(|pid| mib(pid, names)).collect::<Result<Vec<f64>>>()?;
        Ok(sizes.into_iter().fold(0.0, f64::max))
    };
    resident.add("Atoll", largest(&["Rss:"])?);
    private.add("Atoll", largest(&["Private_Clean:", "Private_Dirty:"])?);
    report.push(resident);
    report.push(private);
    Ok(())
}

/// The processes that a process has started, whichever of its threads did.
fn children(pid: u32) -> Result<Vec<String>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let of_thread = fs::read_to_string(thread?.path().join("children"))?;
        children.extend(of_thread.split_whitespace().map(str::to_owned));
    }
    Ok(children)
}

/// The sum of some lines of `smaps_rollup` (`proc_pid_smaps(5)`).
fn mib(pid: &str, names: &[&str]) -> Result<f64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let lines = maps.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
    let kib = lines.map(|line| Ok(line.split_whitespace().nth(1).unwrap_or_default().parse::<f64>()?));
    Ok(kib.sum::<Result<f64>>()? / 1024.0)
}
