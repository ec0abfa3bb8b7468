//! A real Kubo as a publisher's node: it listens on nothing, so that it has to come to us (as from behind a NAT).

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use super::node::Node;
use super::{noise, peer, until};

/// A Kubo without listeners, DHT and peers.
pub(crate) struct Kubo {
    binary: PathBuf,
    folder: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Kubo {
    pub(crate) fn start(binary: PathBuf) -> Self {
        let mut kubo = Self { binary, folder: tempfile::tempdir().unwrap(), daemon: None };
        kubo.run(&["init", "--profile=unixfs-v1-2025"]);
        kubo.run(&["bootstrap", "rm", "--all"]);
        kubo.run(&["config", "Addresses.API", "/ip4/127.0.0.1/tcp/0"]);
        kubo.run(&["config", "Addresses.Gateway", "/ip4/127.0.0.1/tcp/0"]);
        kubo.run(&["config", "--json", "Addresses.Swarm", "[]"]);
        kubo.run(&["config", "--json", "Discovery.MDNS.Enabled", "false"]);
        kubo.run(&["config", "--json", "AutoTLS.Enabled", "false"]);
        kubo.run(&["config", "Routing.Type", "none"]);
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

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Expects success; what it printed.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Expects failure; what it complained of.
    fn fails(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(!output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    fn add(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.write(name, bytes);
        self.run(&["add", "-Q", &path])
    }

    /// Writes a file beside the repository; its path.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Drop for Kubo {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn kubo_pins_here_what_only_it_has_though_nobody_can_dial_it() {
    let Some(binary) = peer("ATOLL_KUBO") else { return };
    let (node, mut kubo) = (Node::start(""), Kubo::start(binary));
    let token = node.token("kubo", "16MiB");
    kubo.run(&["pin", "remote", "service", "add", "atoll", &node.url(), &token]);
    let (bytes, other) = (noise(3, 9 << 20), noise(4, 9 << 20));
    let (root, large) = (kubo.add("site", &bytes), kubo.add("large", &other));
    assert_eq!(node.get(&root).0, 404, "it is not there yet");
    let said = kubo.run(&["pin", "remote", "add", "--service=atoll", "--name=site", &root]);
    assert!(said.contains("pinned"), "{said}");
    let listed = kubo.run(&["pin", "remote", "ls", "--service=atoll", "--name=site"]);
    assert!(listed.contains(&root) && listed.contains("pinned"), "{listed}");
    // Two of nine MiB are over sixteen.
    let failed = kubo.fails(&["pin", "remote", "add", "--service=atoll", "--name=large", &large]);
    assert!(failed.contains("failed to pin"), "{failed}");
    let listed = kubo.run(&["pin", "remote", "ls", "--service=atoll", "--status=failed,queued,pinning"]);
    assert!(listed.contains(&large) && listed.contains("failed"), "{listed}");
    let stat = kubo.run(&["pin", "remote", "service", "ls", "--stat"]);
    assert!(stat.contains("0/0/1/1"), "{stat}");
    assert_eq!(node.json(&["pin", "ls"]).as_array().unwrap().len(), 1);
    // With a quota that is used up it is refused at once.
    let full = node.token("full", "0");
    kubo.run(&["pin", "remote", "service", "add", "full", &node.url(), &full]);
    let refused = kubo.fails(&["pin", "remote", "add", "--service=full", &root]);
    assert!(refused.contains("INSUFFICIENT_FUNDS") || refused.contains("409"), "{refused}");
    kubo.run(&["pin", "remote", "service", "add", "wrong", &node.url(), "atoll-pin-wrong"]);
    let refused = kubo.fails(&["pin", "remote", "add", "--service=wrong", &root]);
    assert!(refused.contains("UNAUTHORIZED") || refused.contains("401"), "{refused}");

    kubo.run(&["pin", "remote", "rm", "--service=atoll", "--status=failed", "--name=large"]);
    kubo.kill();
    let (status, shown) = node.get(&root);
    assert!(status == 200 && shown == bytes, "{status}, {} bytes", shown.len());
}

#[test]
fn kubo_removes_what_it_pinned_here_and_pins_in_the_background() {
    let Some(binary) = peer("ATOLL_KUBO") else { return };
    let (mut node, kubo) = (Node::start(""), Kubo::start(binary));
    let token = node.token("kubo", "64MiB");
    kubo.run(&["pin", "remote", "service", "add", "atoll", &node.url(), &token]);
    let root = kubo.add("site", &noise(5, 3 << 20));
    kubo.run(&["pin", "remote", "add", "--service=atoll", "--name=site", "--background", &root]);
    until("it is pinned", || kubo.run(&["pin", "remote", "ls", "--service=atoll", "--name=site"]).contains("pinned"));
    node.kill();
    node.restart();
    assert_eq!(node.json(&["pin", "ls"])[0]["root"], root.as_str());
    kubo.run(&["pin", "remote", "service", "rm", "atoll"]);
    kubo.run(&["pin", "remote", "service", "add", "atoll", &node.url(), &token]);
    kubo.run(&["pin", "remote", "rm", "--service=atoll", "--name=site"]);
    assert_eq!(kubo.run(&["pin", "remote", "ls", "--service=atoll"]), "");
    assert_eq!(node.json(&["pin", "ls"]).as_array().unwrap().len(), 0);
}
