//! A node of ours as a process, with a folder of its own and the commands that a person would type there.
//!
//! It ends with the value that stands for it, and its log is shown when a test fails meanwhile.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{Reply, request};
use crate::netns::Namespace;

/// What every node is told: ports that the system chooses, and few threads.
const ALWAYS: [&str; 3] = ["gateway.listen=127.0.0.1:0", "gateway.threads=1", "admin.listen=127.0.0.1:0"];

/// See the module. Its data folder is `node` and its keyring `keyring` in its home, where its commands run.
pub struct Node {
    home: TempDir,
    binary: PathBuf,
    settings: Vec<String>,
    place: Option<Namespace>,
    process: Option<Child>,
    /// What it said when it was ready.
    ready: Value,
}

impl Node {
    /// A home, in which no node runs yet. `binary` is `env!("CARGO_BIN_EXE_atoll")`.
    ///
    /// # Panics
    /// If there is no room for it.
    pub fn home(binary: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("node")).unwrap();
        let settings = ALWAYS.map(str::to_owned).to_vec();
        Self { home, binary: binary.into(), settings, place: None, process: None, ready: Value::Null }
    }

    /// Has it start with more settings, each as `--set` takes it.
    #[must_use]
    pub fn set(mut self, settings: &[&str]) -> Self {
        self.settings.extend(settings.iter().map(|setting| (*setting).to_owned()));
        self
    }

    /// Gives it a `node.toml`.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn configured(self, toml: &str) -> Self {
        fs::write(self.path("node/node.toml"), toml).unwrap();
        self
    }

    /// Has it run in a network of its own, where its swarm listens on the host's address. Nobody is told of its gateway, which is on
    /// loopback.
    #[must_use]
    pub fn within(mut self, place: &Namespace) -> Self {
        self.place = Some(place.clone());
        let address = place.address();
        self.set(&[
            &format!("swarm.listen=/ip4/{address}/tcp/4001,/ip4/{address}/udp/4001/quic-v1"),
            "gateway.listen=0.0.0.0:0",
        ])
    }

    /// With a running node.
    #[must_use]
    pub fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Starts the node, after a kill for instance, and returns once it is ready.
    ///
    /// # Panics
    /// If it does not start; its log is shown then.
    pub fn start(&mut self) {
        self.start_as(&["node"]);
    }

    /// Starts it by another command than `node` that runs one.
    ///
    /// # Panics
    /// If it does not start; its log is shown then.
    pub fn start_as(&mut self, args: &[&str]) {
        let mut command = self.command(&[args, &["--json"]].concat());
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        let log = fs::File::options().create(true).append(true).open(self.path("node.log")).unwrap();
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.process = Some(process);
        self.ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the node said {line:?}"));
    }

    /// Has another process take over from the one that runs; that one.
    ///
    /// # Panics
    /// If it does not start; its log is shown then.
    pub fn takes_over(&mut self) -> Child {
        let before = self.process.take().unwrap();
        self.start_as(&["node", "--takeover"]);
        before
    }

    /// Has another process, with these settings too, try to take over; what it says at its end. The one that runs stays this one's.
    ///
    /// # Panics
    /// If the program does not start.
    pub fn tries_to_take_over(&self, settings: &[&str]) -> Output {
        let mut command = self.command(&["node", "--takeover", "--json"]);
        for setting in self.settings.iter().map(String::as_str).chain(settings.iter().copied()) {
            command.args(["--set", setting]);
        }
        command.output().unwrap()
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// If that is refused.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// SIGKILL, while others still talk with it; [`Node::kill`] is to follow.
    ///
    /// # Panics
    /// If it does not run.
    pub fn strike(&self) {
        let id = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-KILL", &id]).status().unwrap().success());
    }

    /// SIGTERM, and waits; the exit code.
    ///
    /// # Panics
    /// If it does not run.
    pub fn stop(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        assert!(Command::new("kill").arg(process.id().to_string()).status().unwrap().success());
        process.wait().unwrap().code()
    }

    /// Its resident memory, in MiB.
    ///
    /// # Panics
    /// If it does not run.
    pub fn memory_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.as_ref().unwrap().id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    /// A file or folder in its home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// All that it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("node.log")).unwrap_or_default()
    }

    /// The program in its home.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match &self.place {
            Some(place) => place.command(&self.binary),
            None => Command::new(&self.binary),
        };
        command.args(args).current_dir(self.home.path()).stdin(Stdio::null());
        command.env("ATOLL_DIR", self.path("node")).env("ATOLL_KEYRING", self.path("keyring"));
        command
    }

    /// Runs a command.
    ///
    /// # Panics
    /// If the program does not start.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command with `--json`, expects success, and reads the last value that it prints.
    ///
    /// # Panics
    /// If it fails or prints none.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.command(args).arg("--json").output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let values = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
        let last = values.map(|value| value.unwrap_or_else(|_| panic!("{args:?} printed no JSON"))).last();
        last.unwrap_or_else(|| panic!("{args:?} printed nothing"))
    }

    /// Imports a file or folder; its root.
    ///
    /// # Panics
    /// If that fails.
    pub fn import(&self, path: &Path) -> String {
        self.json(&["import", path.to_str().unwrap()])["root"].as_str().unwrap().to_owned()
    }

    /// Imports bytes as a file, cut as `chunker` says; its root.
    ///
    /// # Panics
    /// If that fails.
    pub fn import_bytes(&self, bytes: &[u8], chunker: &str) -> String {
        let file = self.path("imported.bin");
        fs::write(&file, bytes).unwrap();
        let imported = self.json(&["import", file.to_str().unwrap(), "--chunker", chunker]);
        imported["root"].as_str().unwrap().to_owned()
    }

    /// Does something where it runs, such as a request to one of its listeners.
    pub fn there<R: Send>(&self, what: impl FnOnce() -> R + Send) -> R {
        match &self.place {
            Some(place) => place.enter(what),
            None => what(),
        }
    }

    /// Asks its gateway.
    pub fn get(&self, target: &str) -> Reply {
        let gateway = self.gateway();
        self.there(|| request(gateway, "GET", "127.0.0.1", target, &[]))
    }

    /// Its status.
    ///
    /// # Panics
    /// If it is none.
    pub fn status(&self) -> Value {
        let admin = self.admin();
        let reply = self.there(|| request(admin, "GET", "127.0.0.1", "/v1/status", &[]));
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// The address of its gateway, on loopback if it listens everywhere.
    pub fn gateway(&self) -> SocketAddr {
        let mut address = address(&self.ready["gateway"]);
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        address
    }

    /// The address of its first gateway with TLS.
    ///
    /// # Panics
    /// If it has none.
    pub fn secure(&self) -> SocketAddr {
        self.ready["secure"][0].as_str().unwrap().strip_prefix("https://").unwrap().parse().unwrap()
    }

    /// The address of its first gateway with HTTP/3.
    ///
    /// # Panics
    /// If it has none.
    pub fn http3(&self) -> SocketAddr {
        self.ready["http3"][0].as_str().unwrap().strip_prefix("https://").unwrap().parse().unwrap()
    }

    /// The address of its admin listener.
    pub fn admin(&self) -> SocketAddr {
        address(&self.ready["admin"])
    }

    /// The address of its first listener of the pinning service.
    pub fn pinning(&self) -> SocketAddr {
        address(&self.ready["pinning"][0])
    }

    /// The URL of its Delegated Routing.
    ///
    /// # Panics
    /// If it has none.
    pub fn router(&self) -> &str {
        self.ready["delegated"][0].as_str().unwrap()
    }

    /// Its addresses in the swarm, with its peer id.
    ///
    /// # Panics
    /// If it does not run.
    pub fn swarm(&self) -> Vec<&str> {
        self.ready["swarm"].as_array().unwrap().iter().map(|address| address.as_str().unwrap()).collect()
    }

    /// The first of them that contains this.
    ///
    /// # Panics
    /// If none does.
    pub fn over(&self, transport: &str) -> &str {
        self.swarm().into_iter().find(|address| address.contains(transport)).unwrap()
    }

    /// Its peer id.
    ///
    /// # Panics
    /// If it does not run.
    pub fn peer(&self) -> &str {
        self.ready["peer_id"].as_str().unwrap()
    }
}

fn address(url: &Value) -> SocketAddr {
    url.as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap()
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
