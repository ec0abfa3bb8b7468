//! A real Kubo as a process, which knows nobody unless it is told.
//!
//! It ends with the value that stands for it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::netns::Namespace;

/// See the module.
pub struct Kubo {
    binary: PathBuf,
    folder: TempDir,
    place: Option<Namespace>,
    daemon: Option<Child>,
}

impl Kubo {
    /// A repository, with ports that the system chooses on loopback, and without a daemon. It takes part in a DHT, and asks nobody
    /// on the internet for anything.
    ///
    /// # Panics
    /// If Kubo cannot make it.
    pub fn home(binary: PathBuf) -> Self {
        Self::repository(binary, &["--profile=unixfs-v1-2025"]).configured(&[
            ("Bootstrap", json!([])),
            ("Addresses.API", json!("/ip4/127.0.0.1/tcp/0")),
            ("Addresses.Gateway", json!("/ip4/127.0.0.1/tcp/0")),
            ("Addresses.Swarm", json!(["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"])),
            ("Discovery.MDNS.Enabled", json!(false)),
            ("AutoConf.Enabled", json!(false)),
            ("AutoTLS.Enabled", json!(false)),
            ("DNS.Resolvers", json!({})),
            ("Ipns.DelegatedPublishers", json!([])),
            ("Routing.DelegatedRouters", json!([])),
            ("Routing.Type", json!("dht")),
        ])
    }

    /// A repository as `ipfs init` makes it with these arguments.
    ///
    /// # Panics
    /// If Kubo cannot make it.
    pub fn repository(binary: PathBuf, arguments: &[&str]) -> Self {
        let kubo = Self { binary, folder: tempfile::tempdir().unwrap(), place: None, daemon: None };
        kubo.run(&[&["init"], arguments].concat());
        kubo
    }

    /// Sets these settings, each named by its path.
    ///
    /// # Panics
    /// If its configuration is not what Kubo makes.
    #[must_use]
    pub fn configured(self, settings: &[(&str, Value)]) -> Self {
        let file = self.folder.path().join("repo/config");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        for (path, value) in settings {
            let mut at = &mut config;
            for name in path.split('.') {
                if at.is_null() {
                    *at = json!({});
                }
                at = at.as_object_mut().unwrap().entry(name).or_insert(Value::Null);
            }
            *at = value.clone();
        }
        fs::write(file, config.to_string()).unwrap();
        self
    }

    /// Has it run in a network of its own, where it listens on the host's address.
    #[must_use]
    pub fn within(mut self, place: &Namespace) -> Self {
        self.place = Some(place.clone());
        let address = place.address();
        let listen = json!([format!("/ip4/{address}/tcp/4001"), format!("/ip4/{address}/udp/4001/quic-v1")]);
        self.configured(&[("Addresses.Swarm", listen)])
    }

    /// With a running daemon.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn started(mut self) -> Self {
        let mut daemon = self.command(&["daemon"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        let ready = lines.by_ref().any(|line| line.unwrap().contains("Daemon is ready"));
        self.daemon = Some(daemon);
        assert!(ready, "Kubo ended early");
        // Read on, so that it never waits for a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        self
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// The folder around its repository.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kubo on its repository.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match &self.place {
            Some(place) => place.command(&self.binary),
            None => Command::new(&self.binary),
        };
        command.args(args).env("IPFS_PATH", self.folder.path().join("repo"));
        command
    }

    /// Expects success; what it printed, without white space at its ends.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&self, args: &[&str]) -> String {
        String::from_utf8(self.output(args)).unwrap().trim().to_owned()
    }

    /// Expects success; the bytes that it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn output(&self, args: &[&str]) -> Vec<u8> {
        let output = self.finished(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Expects failure; what it complained of.
    ///
    /// # Panics
    /// If it succeeds.
    pub fn fails(&self, args: &[&str]) -> String {
        let output = self.finished(args);
        assert!(!output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    fn finished(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Adds bytes as a file; its CID.
    ///
    /// # Panics
    /// If that fails.
    pub fn add(&self, name: &str, bytes: &[u8], options: &[&str]) -> String {
        let path = self.write(name, bytes);
        self.run(&[&["add", "-Q"], options, &[&path]].concat())
    }

    /// Writes a file beside the repository; its path.
    ///
    /// # Panics
    /// If that fails.
    pub fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Its peer id.
    pub fn peer(&self) -> String {
        self.run(&["config", "Identity.PeerID"])
    }

    /// The first address of its daemon that contains this, with its peer id.
    ///
    /// # Panics
    /// If none does.
    pub fn over(&self, transport: &str) -> String {
        let addresses = self.run(&["swarm", "addrs", "local", "--id"]);
        addresses.lines().find(|address| address.contains(transport)).unwrap().trim().to_owned()
    }
}

impl Drop for Kubo {
    fn drop(&mut self) {
        self.kill();
    }
}
