//! The node among IPFS peers: a real Kubo finds and reads what we hold, and we what it holds, over libp2p on loopback.
//!
//! Needs the Kubo of `ATOLL_KUBO` (`cargo xtask test` builds it); without it the tests say that they did not run, and with
//! `CI` set that fails.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use atoll_testkit::http::request;
use serde_json::Value;

/// How long peers may take to find each other.
const PATIENCE: Duration = Duration::from_secs(30);

fn kubo() -> Option<PathBuf> {
    let found = std::env::var_os("ATOLL_KUBO").map(PathBuf::from);
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "ATOLL_KUBO is not set: run `cargo xtask test`");
        eprintln!("did not run: ATOLL_KUBO is not set; `cargo xtask test` sets it");
    }
    found
}

/// Bytes of no pattern, the same for the same seed.
fn noise(mut seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        bytes.extend(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A node of ours that fetches whatever is asked for.
struct Node {
    folder: tempfile::TempDir,
    process: Child,
    gateway: SocketAddr,
    swarm: Vec<String>,
}

impl Node {
    fn start(bootstrap: &[String]) -> Self {
        Self::start_with("127.0.0.1:0", bootstrap)
    }

    /// `gateway` is where its gateway listens; a wildcard is told to nobody, so that only libp2p leads to the node.
    fn start_with(gateway: &str, bootstrap: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = format!(
            "[gateway]\nlisten = {gateway:?}\nfetch = \"any\"\nthreads = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [routing]\nprobe_interval = \"1s\"\ntake_over_after = \"2s\"\n[swarm]\n\
             listen = [\"/ip4/127.0.0.1/tcp/0\", \"/ip4/127.0.0.1/udp/0/quic-v1\"]\nbootstrap = {bootstrap:?}\n"
        );
        fs::write(folder.path().join("node.toml"), settings).unwrap();
        let mut command = atoll(folder.path(), &["node", "--json"]);
        let log = fs::File::create(folder.path().join("node.log")).unwrap();
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let log = || fs::read_to_string(folder.path().join("node.log")).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the node said {line:?}:\n{}", log()));
        let bound: SocketAddr = ready["gateway"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
        let gateway = SocketAddr::from(([127, 0, 0, 1], bound.port()));
        let swarm = ready["swarm"].as_array().unwrap().iter().map(|address| address.as_str().unwrap().to_owned());
        let swarm = swarm.collect();
        Self { folder, process, gateway, swarm }
    }

    /// Runs a command of the CLI against this node; the last line that it prints as JSON.
    fn run(&self, arguments: &[&str]) -> Value {
        let output = atoll(self.folder.path(), arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}{}", String::from_utf8_lossy(&output.stderr), self.log());
        let printed = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(printed.lines().last().unwrap()).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("node.log")).unwrap()
    }

    fn import(&self, path: &Path, chunker: &str) -> String {
        self.run(&["import", "--chunker", chunker, path.to_str().unwrap()])["root"].as_str().unwrap().to_owned()
    }

    /// A folder with one page.
    fn site(&self, page: &str) -> String {
        let site = self.folder.path().join("site");
        fs::create_dir_all(&site).unwrap();
        fs::write(site.join("index.html"), page).unwrap();
        site.to_str().unwrap().to_owned()
    }

    fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let reply = request(self.gateway, "GET", "127.0.0.1", path, &[]);
        (reply.status, reply.body)
    }

    fn peer(&self) -> String {
        self.over("/tcp/").rsplit('/').next().unwrap().to_owned()
    }

    fn over(&self, transport: &str) -> String {
        self.swarm.iter().find(|address| address.contains(transport)).unwrap().clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn atoll(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
    command.args(arguments).env("ATOLL_KEYRING", folder.join("keyring")).env("ATOLL_DIR", folder);
    command.stdin(Stdio::null());
    command
}

/// A Kubo with a DHT and no peers but those it is told of.
struct Kubo {
    binary: PathBuf,
    folder: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Kubo {
    fn start(binary: PathBuf) -> Self {
        let mut kubo = Self { binary, folder: tempfile::tempdir().unwrap(), daemon: None };
        kubo.run(&["init", "--profile=unixfs-v1-2025"]);
        kubo.run(&["bootstrap", "rm", "--all"]);
        kubo.run(&["config", "Addresses.API", "/ip4/127.0.0.1/tcp/0"]);
        kubo.run(&["config", "Addresses.Gateway", "/ip4/127.0.0.1/tcp/0"]);
        let listen = "[\"/ip4/127.0.0.1/tcp/0\",\"/ip4/127.0.0.1/udp/0/quic-v1\"]";
        kubo.run(&["config", "--json", "Addresses.Swarm", listen]);
        kubo.run(&["config", "--json", "Discovery.MDNS.Enabled", "false"]);
        kubo.run(&["config", "--json", "AutoTLS.Enabled", "false"]);
        kubo.run(&["config", "Routing.Type", "dht"]);
        let mut daemon = kubo.command(&["daemon"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        let ready = lines.by_ref().any(|line| line.unwrap().contains("Daemon is ready"));
        assert!(ready, "Kubo ended early");
        // Read on, so that it never waits for a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        kubo.daemon = Some(daemon);
        kubo
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).env("IPFS_PATH", self.folder.path().join("repo"));
        command
    }

    fn run(&self, args: &[&str]) -> String {
        String::from_utf8(self.output(args)).unwrap().trim().to_owned()
    }

    fn output(&self, args: &[&str]) -> Vec<u8> {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn add(&self, name: &str, bytes: &[u8], options: &[&str]) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        self.run(&[&["add", "-Q"], options, &[path.to_str().unwrap()]].concat())
    }
}

impl Drop for Kubo {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Tries until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How files are cut: 40 MiB each, so that the last are 10,240 blocks.
const CHUNKS: [&str; 3] = ["size-262144", "size-1048576", "size-4096"];

#[test]
fn kubo_reads_from_us_what_it_finds_in_the_dht() {
    let Some(binary) = kubo() else { return };
    let (node, kubo) = (Node::start(&[]), Kubo::start(binary));
    kubo.run(&["swarm", "connect", &node.over("/tcp/")]);
    for (seed, chunker) in (1..).zip(CHUNKS) {
        let file = node.folder.path().join("forty.bin");
        let bytes = noise(seed, 40 << 20);
        fs::write(&file, &bytes).unwrap();
        let root = node.import(&file, chunker);
        if seed == 1 {
            until("Kubo finds our announcement", || kubo.run(&["routing", "findprovs", &root]).contains(&node.peer()));
        }
        assert!(kubo.output(&["cat", &root]) == bytes, "{chunker}: Kubo read other bytes");
    }
}

/// A folder of so many small files, all different.
fn many_files(node: &Node, count: usize) -> PathBuf {
    let folder = node.folder.path().join("many");
    fs::create_dir_all(&folder).unwrap();
    (0..count).for_each(|number| fs::write(folder.join(format!("{number}.txt")), format!("file {number}")).unwrap());
    folder
}

#[test]
fn every_file_of_a_site_is_announced_by_the_sweep_and_found_by_kubo() {
    let Some(binary) = kubo() else { return };
    let (first, kubo) = (Node::start(&[]), Kubo::start(binary));
    let known = vec![first.over("/tcp/")];
    kubo.run(&["swarm", "connect", &known[0]]);
    let (node, _others) = (Node::start(&known), [Node::start(&known), Node::start(&known)]);
    let folder = many_files(&node, 300);
    let root = node.import(&folder, CHUNKS[0]);
    let view = || node.run(&["status"])["providing"][0].clone();
    // The site and its files.
    until("all is announced", || view()["keys"] == 301 && view()["unannounced"] == 0);
    let told = view();
    assert_eq!((told["network"].as_str(), told["late"].as_bool()), (Some("lan"), Some(false)), "{told}");
    assert!(told["lookups"].as_u64().unwrap() < 60 && told["records"].as_u64().unwrap() >= 301, "{told}");
    let me = node.over("/tcp/").rsplit('/').next().unwrap().to_owned();
    for path in [folder.clone(), folder.join("0.txt"), folder.join("150.txt"), folder.join("299.txt")] {
        let key = if path == folder { root.clone() } else { kubo.run(&["add", "-Qn", path.to_str().unwrap()]) };
        until("Kubo finds us", || kubo.run(&["routing", "findprovs", &key]).contains(&me));
    }
    let admin = node.run(&["status"])["admin"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    let metrics = request(admin, "GET", "127.0.0.1", "/metrics", &[]);
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.contains("atoll_provide_lag_seconds{network=\"lan\"} 0"), "{metrics}");
}

#[test]
fn we_read_from_kubo_what_we_find_in_the_dht() {
    let Some(binary) = kubo() else { return };
    let (node, kubo) = (Node::start(&[]), Kubo::start(binary));
    kubo.run(&["swarm", "connect", &node.over("/quic-v1")]);
    for (seed, chunker) in (1..).zip(CHUNKS) {
        let bytes = noise(seed, 40 << 20);
        let root = kubo.add(chunker, &bytes, &[&format!("--chunker={chunker}")]);
        kubo.run(&["routing", "provide", &root]);
        let mut seen = (0, Vec::new());
        until("Kubo's file by our gateway", || {
            seen = node.get(&format!("/ipfs/{root}"));
            seen.0 == 200
        });
        assert!(seen.1 == bytes, "{chunker}: {} bytes came", seen.1.len());
    }
}

#[test]
fn kubo_gets_what_arrives_here_later_unless_it_took_its_want_back() {
    let Some(binary) = kubo() else { return };
    let (node, kubo) = (Node::start(&[]), Kubo::start(binary));
    kubo.run(&["swarm", "connect", &node.over("/tcp/")]);
    // The same bytes have the same name there and here.
    let named = |seed| kubo.add("later", &noise(seed, 100_000), &["--only-hash", "--cid-version=1", "--raw-leaves"]);
    let [later, taken_back] = [named(1), named(2)];
    let wanted = || kubo.run(&["bitswap", "wantlist"]);
    let waits = |cid: &str| {
        let waiting =
            kubo.command(&["block", "get", cid]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        until("Kubo wants it", || wanted().contains(cid));
        waiting
    };
    let (waiting, mut impatient) = (waits(&later), waits(&taken_back));
    impatient.kill().unwrap();
    impatient.wait().unwrap();
    until("Kubo wants it no more", || !wanted().contains(&taken_back));
    for seed in [2, 1] {
        let file = node.folder.path().join("later.bin");
        fs::write(&file, noise(seed, 100_000)).unwrap();
        assert!([&later, &taken_back].contains(&&node.import(&file, "size-262144")));
    }
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout == noise(1, 100_000), "Kubo waited, and got something else");
    // What it wants no more was not sent before that.
    let local = kubo.command(&["--offline", "block", "stat", &taken_back]).output().unwrap();
    assert!(!local.status.success(), "Kubo has what it took back");
    assert!(kubo.output(&["block", "get", &taken_back]) == noise(2, 100_000), "it can still have it");
}

#[test]
fn a_file_comes_from_two_kubos_and_one_of_ours_at_once() {
    let Some(binary) = kubo() else { return };
    // Nobody is told of its gateway, so that all three send over libp2p.
    let first = Node::start_with("0.0.0.0:0", &[]);
    let known = vec![first.over("/tcp/")];
    let asker = Node::start(&known);
    let kubos: Vec<Kubo> = (0..2).map(|_| Kubo::start(binary.clone())).collect();
    let bytes = noise(7, 40 << 20);
    let file = first.folder.path().join("forty.bin");
    fs::write(&file, &bytes).unwrap();
    let root = first.import(&file, CHUNKS[0]);
    for kubo in &kubos {
        kubo.run(&["swarm", "connect", &first.over("/tcp/")]);
        assert_eq!(kubo.add("forty", &bytes, &[&format!("--chunker={}", CHUNKS[0])]), root);
        kubo.run(&["routing", "provide", &root]);
        kubo.run(&["swarm", "connect", &asker.over("/tcp/")]);
    }
    let mut seen = (0, Vec::new());
    until("the file by the third node", || {
        seen = asker.get(&format!("/ipfs/{root}"));
        seen.0 == 200
    });
    assert!(seen.1 == bytes, "{} bytes came", seen.1.len());
    let sent = |kubo: &Kubo| {
        kubo.run(&["bitswap", "stat"]).lines().any(|line| line.contains("blocks sent") && !line.ends_with(" 0"))
    };
    assert!(kubos.iter().all(sent), "each source has its part in it");
}

#[test]
fn our_nodes_find_each_other_through_one_that_they_know() {
    let first = Node::start(&[]);
    let known = vec![first.over("/tcp/")];
    let (holder, asker) = (Node::start(&known), Node::start(&known));
    let file = holder.folder.path().join("page.html");
    fs::write(&file, "calm water").unwrap();
    let root = holder.import(&file, CHUNKS[0]);
    until("the third node finds the second", || asker.get(&format!("/ipfs/{root}")).0 == 200);
    assert_eq!(asker.get(&format!("/ipfs/{root}")).1, b"calm water");
}

#[test]
fn names_go_both_ways_through_the_dht() {
    let Some(binary) = kubo() else { return };
    let (node, kubo) = (Node::start(&[]), Kubo::start(binary));
    kubo.run(&["swarm", "connect", &node.over("/tcp/")]);
    // Ours, found by Kubo.
    let root = node.import(Path::new(&node.site("calm water")), CHUNKS[0]);
    node.run(&["key", "new", "blog"]);
    let published = node.run(&["name", "publish", "blog", &root]);
    let name = published["name"].as_str().unwrap();
    let resolved = || kubo.command(&["name", "resolve", "--nocache", name]).output().unwrap().stdout;
    until("Kubo resolves our name", || String::from_utf8(resolved()).unwrap().trim() == format!("/ipfs/{root}"));
    assert_eq!(kubo.output(&["cat", &format!("/ipns/{name}/index.html")]), b"calm water");
    // Kubo's, found by us.
    let root = kubo.add("page", b"deep water", &[]);
    kubo.run(&["routing", "provide", &root]);
    kubo.run(&["name", "publish", &root]);
    let name = kubo.run(&["key", "list", "-l", "--ipns-base=base36"]).split(' ').next().unwrap().to_owned();
    until("we resolve Kubo's name", || node.get(&format!("/ipns/{name}")) == (200, b"deep water".to_vec()));
}

#[test]
fn members_who_reach_each_other_over_libp2p_only_place_a_site() {
    let first = Node::start_with("0.0.0.0:0", &[]);
    let known = vec![first.over("/tcp/")];
    let others: Vec<Node> = (0..3).map(|_| Node::start_with("0.0.0.0:0", &known)).collect();
    let live = || first.run(&["peers"]).as_array().unwrap().iter().filter(|peer| peer["live"] == true).count();
    until("four members live", || live() == 4);
    let published = first.run(&["publish", &first.site("still water"), "--replicas", "3"]);
    let (name, root) = (published["name"].as_str().unwrap(), published["root"].as_str().unwrap());
    for node in &others {
        assert_eq!(node.get(&format!("/ipfs/{root}/index.html")), (200, b"still water".to_vec()), "{}", node.log());
        assert_eq!(node.get(&format!("/ipns/{name}/index.html")).0, 200, "{}", node.log());
    }
}
