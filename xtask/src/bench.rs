//! `cargo xtask bench`: Atoll beside nginx, Kubo, ipfs-car and a bare loop, on this machine, in alternating runs.
//!
//! Works in `target/bench`, emptied at the start, and writes `docs/benchmarks.md`. Every answer that is timed was compared
//! with the file once before; a server that refuses or cuts a request stops the bench.

mod bare;
mod fetch;
mod front;
mod h2load;
mod hot;
mod import;
mod large;
pub(crate) mod least;
mod load;
mod proxies;
mod quic;
mod report;
mod rest;
mod servers;
mod signed;
mod soak;
mod swarm;
mod train;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::shell::{self, Workspace};
use crate::{dist, install};
use report::Report;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Measures only this; may be given more than once
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// One short run of each and no page: shows that the bench works, not how fast anything is
    #[arg(long)]
    quick: bool,
    /// Only the soak, for an hour: mixed load, and whether memory stays where it was
    #[arg(long)]
    long: bool,
    /// Leaves Atoll out: what the peers do here
    #[arg(long)]
    peers_only: bool,
    /// Measures this binary of ours, instead of one that is built as `cargo xtask dist` does
    #[arg(long, conflicts_with_all = ["quick", "peers_only"])]
    binary: Option<PathBuf>,
}

/// A part of the bench.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Small and large objects out of memory, over HTTP; resident memory
    Hot,
    /// What signing answers costs, reused and for each answer
    Signed,
    /// 64 KiB ranges of a file of 64 MiB
    Ranges,
    /// The page of a directory of 1,000 entries
    Pages,
    /// 512 MiB as one CAR
    Car,
    /// Files that are read from the disk; needs root
    Cold,
    /// 512 MiB in one file
    Import,
    /// 10,000 small files
    Publish,
    /// Cached, new and unstorable things of an origin, handshakes, idle connections, a crowd
    Front,
    /// 512 MiB, and 10,000 small blocks, from three nodes over libp2p
    Swarm,
    /// Memory of the nodes of a demo
    Rest,
    /// Two minutes of mixed load; only when it is named
    Soak,
}

/// Measures one part.
type Measure = fn(&Bench, &mut Report) -> Result<()>;

/// The parts in the order of the page.
const PARTS: [(Part, Measure); 12] = [
    (Part::Hot, hot::objects),
    (Part::Signed, signed::measure),
    (Part::Ranges, hot::ranges),
    (Part::Pages, hot::pages),
    (Part::Car, large::car),
    (Part::Cold, large::cold),
    (Part::Import, import::measure_large),
    (Part::Publish, import::measure_small),
    (Part::Front, front::measure),
    (Part::Swarm, swarm::measure),
    (Part::Rest, rest::measure),
    (Part::Soak, soak::measure),
];

/// Where the bench works, and with what.
struct Bench {
    folder: PathBuf,
    /// `None` when Atoll is left out.
    atoll: Option<PathBuf>,
    /// Peers that not every load needs.
    kubo: Option<PathBuf>,
    nginx: PathBuf,
    wrk: PathBuf,
    node_modules: Option<PathBuf>,
    runs: usize,
    seconds: u64,
    /// The client that speaks HTTP/3, where that is measured.
    http3: Option<PathBuf>,
    /// The long form of the soak.
    long: bool,
}

impl Options {
    /// Whether a part is asked for. The soak is no part of the page: it says whether, not how fast.
    fn wants(&self, part: Part) -> bool {
        match (self.long, self.only.is_empty()) {
            (true, _) => part == Part::Soak,
            (false, true) => part != Part::Soak,
            (false, false) => self.only.contains(&part),
        }
    }
}

impl Bench {
    /// Installs the peers and builds ours as it is handed out.
    fn prepare(workspace: &Workspace, options: &Options) -> Result<Self> {
        let atoll = match options {
            Options { peers_only: true, .. } => None,
            Options { quick: true, .. } => Some(build(workspace)?),
            Options { binary: Some(binary), .. } => Some(binary.canonicalize()?),
            _ => Some(dist::profiled(workspace)?),
        };
        let http3 = options.wants(Part::Front).then(|| quic::client(workspace)).transpose()?;
        let (runs, seconds) = if options.quick { (1, 1) } else { (5, 4) };
        let (kubo, node_modules) = (Some(install::kubo(workspace)?), Some(install::npm(workspace)?));
        let long = options.long;
        Ok(Self { runs, seconds, http3, long, kubo, node_modules, ..Self::of(workspace, atoll)? })
    }

    /// One with a binary of ours, for short runs.
    fn of(workspace: &Workspace, atoll: Option<PathBuf>) -> Result<Self> {
        let folder = workspace.target.join("bench");
        // Left over from a bench that was stopped.
        fs::remove_dir_all(&folder).or_else(|error| if folder.exists() { Err(error) } else { Ok(()) })?;
        fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            atoll,
            kubo: None,
            nginx: install::debian("nginx", "nginx-light")?,
            wrk: install::debian("wrk", "wrk")?,
            node_modules: None,
            http3: None,
            runs: 1,
            seconds: 2,
            long: false,
        })
    }

    /// A new empty folder.
    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

fn build(workspace: &Workspace) -> Result<PathBuf> {
    shell::run(workspace.cargo(&["build", "--locked", "--release", "--package", "atoll"]))?;
    Ok(workspace.atoll())
}

/// Puts a binary of ours under load, for the compiler to learn from.
pub(crate) fn train(workspace: &Workspace, atoll: PathBuf) -> Result<()> {
    let bench = Bench::of(workspace, Some(atoll))?;
    train::run(&bench)?;
    Ok(fs::remove_dir_all(&bench.folder)?)
}

/// Measures what was asked for; `false` when a target was missed.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let bench = Bench::prepare(workspace, options)?;
    let mut report = Report::default();
    for (part, measure) in PARTS {
        if options.wants(part) {
            measure(&bench, &mut report)?;
        }
    }
    print!("{}", report.table());
    // A part, or a short run, is no page.
    if options.only.is_empty() && !options.quick && !options.peers_only && !options.long {
        fs::write(workspace.root.join("docs/benchmarks.md"), report.page(&bench)?)?;
    }
    fs::remove_dir_all(&bench.folder)?;
    Ok(report.targets_met())
}

/// Bytes that no compression helps with, the same for the same seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// Waits until `ready` says so.
fn wait_for(what: &str, mut ready: impl FnMut() -> bool) -> Result<()> {
    const ATTEMPTS: u32 = 600;
    const PAUSE: Duration = Duration::from_millis(100);
    for _ in 0..ATTEMPTS {
        if ready() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    ensure!(ready(), "{what} was not ready after {} s", (PAUSE * ATTEMPTS).as_secs());
    Ok(())
}

/// The file's name as text, for arguments that have to be text.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
