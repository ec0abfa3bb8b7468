//! A real Kubo with us as its router and its only provider.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::node::Node;
use crate::{noise, place, until};

/// A Kubo that knows nobody, and asks one router for everything.
struct Kubo {
    binary: PathBuf,
    folder: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Kubo {
    fn start(binary: PathBuf, router: &str, settings: &[(&str, &str)]) -> Self {
        let mut kubo = Self { binary, folder: tempfile::tempdir().unwrap(), daemon: None };
        kubo.run(&["init", "--profile=unixfs-v1-2025"]);
        kubo.run(&["bootstrap", "rm", "--all"]);
        kubo.run(&["config", "Addresses.API", "/ip4/127.0.0.1/tcp/0"]);
        kubo.run(&["config", "Addresses.Gateway", "/ip4/127.0.0.1/tcp/0"]);
        kubo.run(&["config", "--json", "Addresses.Swarm", "[\"/ip4/127.0.0.1/tcp/0\"]"]);
        let router = format!("{{\"Us\": {{\"Type\": \"http\", \"Parameters\": {{\"Endpoint\": \"{router}\"}}}}}}");
        let methods = ["find-peers", "find-providers", "get-ipns", "provide", "put-ipns"];
        let methods = methods.map(|name| format!("\"{name}\": {{\"RouterName\": \"Us\"}}")).join(", ");
        let more = [
            ("Discovery.MDNS.Enabled", "false"),
            ("AutoConf.Enabled", "false"),
            ("AutoTLS.Enabled", "false"),
            ("DNS.Resolvers", "{}"),
            ("Ipns.DelegatedPublishers", "[]"),
            ("Routing.DelegatedRouters", "[]"),
            // Kubo's own DHT would find peers too.
            ("Routing.Type", "\"custom\""),
            ("Provide.Enabled", "false"),
            ("Routing.Routers", &router),
            ("Routing.Methods", &format!("{{{methods}}}")),
        ];
        for (name, value) in more.iter().chain(settings) {
            kubo.run(&["config", "--json", name, value]);
        }
        let mut daemon = kubo.command(&["daemon"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        let ready = lines.by_ref().any(|line| line.unwrap().contains("Daemon is ready"));
        kubo.daemon = Some(daemon);
        assert!(ready, "Kubo ended early");
        // Read on, so that it never waits for a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
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
}

impl Drop for Kubo {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

#[test]
fn kubo_reads_from_us_over_http() {
    let Some(binary) = place("ATOLL_KUBO") else { return };
    // No swarm: there is nothing but our gateway.
    let node = Node::start(&["delegated.listen=127.0.0.1:0"]);
    let bytes = noise(1, 5 << 20);
    let root = node.import("five.bin", &bytes);
    let kubo = Kubo::start(binary, &node.router, &[("HTTPRetrieval.Enabled", "true")]);
    assert!(kubo.run(&["routing", "findprovs", &root]).contains(&node.peer));
    assert!(kubo.output(&["cat", &root]) == bytes, "Kubo read other bytes");
    assert_eq!(kubo.run(&["swarm", "peers"]), "");
}

#[test]
fn kubo_reads_from_us_over_bitswap_and_publishes_a_name_through_us() {
    let Some(binary) = place("ATOLL_KUBO") else { return };
    let node = Node::start(&["delegated.listen=127.0.0.1:0", "swarm.listen=/ip4/127.0.0.1/tcp/0"]);
    let bytes = noise(2, 5 << 20);
    let root = node.import("five.bin", &bytes);
    let kubo = Kubo::start(binary, &node.router, &[("HTTPRetrieval.Enabled", "false")]);
    assert!(kubo.output(&["cat", &root]) == bytes, "Kubo read other bytes");
    assert!(kubo.run(&["swarm", "peers"]).contains(&node.peer));
    assert!(kubo.run(&["routing", "findpeer", &node.peer]).contains("/ip4/127.0.0.1/tcp/"));
    // Its own name goes by way of our router, and is a site of our gateway's.
    let said = kubo.run(&["name", "publish", &format!("/ipfs/{root}")]);
    let name = said.strip_prefix("Published to ").unwrap().split(':').next().unwrap();
    until("the name that Kubo published", || node.get(&format!("/ipns/{name}")).body == bytes);
    assert_eq!(kubo.run(&["name", "resolve", "--nocache", name]), format!("/ipfs/{root}"));
}
