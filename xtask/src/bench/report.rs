//! Figures, their medians and ratios, and the page that shows them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Bench;
use crate::install::KUBO_VERSION;

/// What is compared: each of ours against each peer.
#[derive(Default)]
pub(super) struct Report {
    figures: Vec<Figure>,
}

/// One thing that was measured, for everyone who took part.
pub(super) struct Figure {
    measure: String,
    unit: &'static str,
    better: Better,
    runs: Vec<(&'static str, Vec<f64>)>,
    targets: Vec<(&'static str, f64)>,
    at_most: Option<f64>,
}

/// Which way a figure should go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    More,
    Less,
}

const US: &str = "Atoll";

impl Figure {
    pub(super) fn new(measure: impl Into<String>, unit: &'static str, better: Better) -> Self {
        Self { measure: measure.into(), unit, better, runs: Vec::new(), targets: Vec::new(), at_most: None }
    }

    /// Adds the result of one run.
    pub(super) fn add(&mut self, name: &'static str, value: f64) {
        println!("{}: {name} {} {}", self.measure, number(value), self.unit);
        match self.runs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => self.runs.push((name, vec![value])),
        }
    }

    /// Asks for at least this many times the peer's figure.
    pub(super) fn target(&mut self, peer: &'static str, times: f64) -> &mut Self {
        self.targets.push((peer, times));
        self
    }

    /// Asks for a figure of ours of at most this.
    pub(super) fn at_most(&mut self, most: f64) {
        self.at_most = Some(most);
    }

    fn median(&self, name: &str) -> Option<f64> {
        let (_, values) = self.runs.iter().find(|(known, _)| *known == name)?;
        let mut values = values.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// How many times better than the peer we are; than its best, if it was set in several ways, which its names begin alike.
    fn ratio_to_all(&self, peer: &str) -> Option<f64> {
        let theirs = self.runs.iter().map(|(name, _)| *name).filter(|name| name.starts_with(peer));
        theirs.filter_map(|name| self.ratio(name)).min_by(f64::total_cmp)
    }

    /// How many times better than the peer we are.
    fn ratio(&self, peer: &str) -> Option<f64> {
        let (ours, theirs) = (self.median(US)?, self.median(peer)?);
        Some(if self.better == Better::More { ours / theirs } else { theirs / ours })
    }

    /// Each target in words, and whether it was met.
    fn verdicts(&self) -> Vec<(String, bool)> {
        let mut verdicts = Vec::new();
        for (peer, times) in &self.targets {
            if let Some(ratio) = self.ratio_to_all(peer) {
                verdicts.push((format!("≥ {times}× {peer}"), ratio >= *times));
            }
        }
        if let (Some(most), Some(ours)) = (self.at_most, self.median(US)) {
            verdicts.push((format!("≤ {most} {}", self.unit), ours <= most));
        }
        verdicts
    }

    fn row(&self) -> String {
        let names = || self.runs.iter().map(|(name, _)| *name);
        let peers: Vec<_> = names().filter_map(|name| self.median(name).map(|value| (name, value))).collect();
        let ours = peers.iter().find(|(name, _)| *name == US).map_or("–".to_owned(), |(_, value)| number(*value));
        let theirs =
            peers.iter().filter(|(name, _)| *name != US).map(|(name, value)| format!("{name} {}", number(*value)));
        let ratios =
            names().filter(|name| *name != US).filter_map(|name| Some(format!("{:.2}× {name}", self.ratio(name)?)));
        let verdicts = self.verdicts();
        let targets = verdicts.iter().map(|(text, met)| format!("{text}: {}", if *met { "met" } else { "**missed**" }));
        let cells = [
            theirs.collect::<Vec<_>>().join(", "),
            ratios.collect::<Vec<_>>().join(", "),
            targets.collect::<Vec<_>>().join("; "),
        ];
        format!("| {} | {} | {ours} | {} |\n", self.measure, self.unit, cells.join(" | "))
    }
}

/// Three digits at least.
fn number(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

impl Report {
    /// Adds a finished figure, and shows it: the whole takes long.
    pub(super) fn push(&mut self, figure: Figure) {
        eprintln!("{}", figure.row().trim_end());
        self.figures.push(figure);
    }

    /// Whether every target that could be judged was met.
    pub(super) fn targets_met(&self) -> bool {
        self.figures.iter().flat_map(Figure::verdicts).all(|(_, met)| met)
    }

    /// The medians as a Markdown table.
    pub(super) fn table(&self) -> String {
        let head = "| measure | unit | Atoll | others | Atoll is | target |\n|---|---|---|---|---|---|\n".to_owned();
        self.figures.iter().fold(head, |table, figure| table + &figure.row())
    }

    /// `docs/benchmarks.md`.
    pub(super) fn page(&self, bench: &Bench) -> Result<String> {
        let mut page = format!(
            "# Benchmarks\n\nMade by `cargo xtask bench`, which installs the peers and writes this page. Medians of {} \
             alternating runs; `wrk -t1 -c64 -d{}s` on the same machine as the servers.\n\n\
             {}\n## Machine and versions\n\n",
            bench.runs,
            bench.seconds,
            self.table()
        );
        for (name, value) in machine(bench)? {
            writeln!(page, "- {name}: {value}")?;
        }
        page.push_str(METHOD);
        Ok(page)
    }
}

const METHOD: &str = "
## How

- **Hot**: random bytes, compared with the file once, then one second of warm-up, then the runs. nginx serves the plain
  files with `sendfile`, `open_file_cache`, no access log and long keep-alive, once with `tcp_nopush` and once without: with
  it it answers more, and at 64 KiB one request of a hundred takes 38 ms. Each target counts against the better of the two. Kubo (offline) and Atoll
  serve `/ipfs/ROOT/NAME`. Atoll is what `cargo xtask dist` hands out, which has learnt from another load (`xtask/src/bench/train.rs`). Atoll and nginx have one thread each, on a core of its own
  (`taskset`), and wrk has the other core; Kubo has two threads that may use both.
  At 64 KiB that core of wrk's is full, whoever serves (it copies some 2.8 GB a second), so the server's processor time per
  request is judged there instead of the rate: by rate nobody can be better than the bare loop. At 1 MiB nginx does not fill it: it waits,
  and needs the less of its own core the longer it does, so there the rate is judged.
- **Bare sendfile**: a loop over epoll that looks for the end of a request and calls `sendfile`, with no other work
  (`xtask/src/bench/least.rs`): what the machine, the kernel and wrk allow any server. A target above it cannot be met.
- **Cores shared**: the same with two threads each and wrk on the same two cores, as on a small server: three busy threads on
  two cores. Who gets which core is then the scheduler's affair: at 1 KiB rate and p99 say more about that (nginx's runs
  spread over 86,000 to 122,000 requests a second) than about the servers, so they are printed and not judged.
- **Server's CPU per request**: user and system time of the server's processes, over the requests of the run.
- **p99**: what 99 of 100 requests of those runs took at most, under that full load.
- **Signed**: 1 KiB of a site that the node has published, and the same file imported only, which is unsigned. *For a minute*: a signature is made once and reused.
  *For each answer*: each request brings a nonce of its own; the budget of addresses is raised for that.
- **Ranges**: 64 KiB from anywhere in a random file of 64 MiB, 64 connections; one range over the border of two blocks is
  compared first. nginx has `tcp_nopush` off here: with it, it delays ranges that do not begin at a page of the file by
  some 40 ms.
- **Pages**: the generated listing of 1,000 entries, 16 connections. nginx has none that compares.
- **CAR**: a directory with one file of 512 MiB as `?format=car`, to one client, from the page cache; first compared byte
  for byte. Atoll hashes every block that comes from the disk.
- **Cold**: 2,048 files of 256 KiB, each asked for once, in the same random order, by 16 clients. Each server is started
  anew for each run, and Linux's page cache emptied once it is ready (`drop_caches`), so that all of them read the disk.
- **Import**: one file of random bytes from the page cache into a fresh store; before each run a file as
  large is written and removed and the disk settled with `sync`, so that nobody waits for pages of the machine's host. Kubo is `ipfs add` with the `unixfs-v1-2025` profile on flatfs, its `sync` off (the default) or on. ipfs-car packs into
  one file. The bare loop reads, hashes with SHA-256 and writes 1 MiB at a time on two threads, then calls `fdatasync`
  once where synced. Roots are compared with Kubo's.
- **Publish**: 100 folders of 100 files of 100 to 4,100 bytes, `atoll import` into a running node (a publish without
  placing it elsewhere), which syncs before it acknowledges, against `ipfs add` as it comes (unsynced) and with `sync` on.
- **Before an origin**: `atoll node` with one site, nginx with `proxy_cache`, Traffic Server and, where nothing is cached, Caddy, with one thread on
  one core; the client and the origin, an nginx, share the other. Nobody writes a log of requests. nginx adds to messages what Atoll adds: `X-Forwarded-For`, `-Host` and `-Proto`, `Forwarded`, `CDN-Loop` and `Via`
  to requests, `Via`, `Cache-Status` and an `X-Request-ID` made of its counters to answers; where nothing is cached there is *terse nginx* beside it, which adds nothing. It has `tcp_nopush` off, with which 64 KiB out of its
  cache take 40 ms, and for what is cached in plain text there is one more with it, as above. *Cached* is asked for with `wrk -c64`, and with `h2load -c16 -m4` over HTTP/2, all with TLS 1.3, X25519, AES-128-GCM and one P-256
  certificate. HTTP/3 and *its own HTTP/2* are both asked for by one client of ours on one thread (`crates/testkit/examples/load.rs`: hyper, and quinn with h3), with as many connections
  and requests at a time: the client takes its core before the server does, so the server's time is what compares. *Misses* are new paths each time, fresh for an hour, 1 KiB long; *pass-through* are such that must not be stored, asked of servers that are new:
  after the misses nginx has a full cache to clear, and takes twice as long. *Handshakes*: 2,000
  connections opened at once by h2load, each for one request; the client's core is full first, so the server's time is judged. *Idle*: connections that come within ten seconds, each with one request
  answered, and the resident memory a moment after the last. *A crowd*: 1,000 connections that ask at once for 64 KiB that take the origin a second.
- **Three sources**: four nodes of ours over TCP on loopback, then four Kubos; one is new and empty in each run, and a client reads the
  file from its gateway while it fetches. They are connected before, which a small file shows. Everything shares the two cores.
- **A demo's nodes at rest**: of five nodes in one swarm that hold a site, the largest after half a minute; its program's pages, which the nodes share, count for
  each.
- **Memory**: resident memory of a new node that nobody has asked anything, and the highest during the hot runs.
";

/// What the figures depend on.
fn machine(bench: &Bench) -> Result<Vec<(&'static str, String)>> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism()?;

    let mut list = vec![
        ("Processor", format!("{}, {cores} cores", model.trim_start_matches([' ', '\t', ':']))),
        ("System", version(Path::new("uname"), "-sr")?),
        ("nginx", version(&bench.nginx, "-v")?),
        ("Kubo", KUBO_VERSION.to_owned()),
        ("wrk", version(&bench.wrk, "-v")?),
        ("Node", version(Path::new("node"), "--version")?),
    ];
    if let Some(atoll) = &bench.atoll {
        list.insert(2, ("Atoll", version(atoll, "--version")?));
    }
    Ok(list)
}

/// The first line that a program says of its version, wherever it says it and whatever it then returns.
fn version(program: &Path, argument: &str) -> Result<String> {
    let answer = Command::new(program).arg(argument).output()?;
    let words = [answer.stdout, answer.stderr].concat();
    Ok(String::from_utf8_lossy(&words).lines().next().unwrap_or_default().trim().to_owned())
}
