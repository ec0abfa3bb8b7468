//! Three Kubos and three nodes of ours in one LAN DHT, joined through one of each, which then go. On a network of hosts, since
//! a Kubo announces no loopback address.

use std::path::Path;

use atoll_testkit::http::request;
use atoll_testkit::kubo::Kubo;
use atoll_testkit::netns::{Archipelago, Namespace, permitted};
use atoll_testkit::process::Node;
use atoll_testkit::trial::{installed, noise, until};

use super::get;

/// Bytes of each file: several blocks.
const BYTES: usize = 600_000;

/// Members of the DHT, of both kinds.
struct Lan {
    ours: Vec<Node>,
    kubos: Vec<Kubo>,
    /// Files so far; each is another.
    files: u64,
    _network: Archipelago,
}

impl Lan {
    fn start(binary: &Path) -> Self {
        let mut network = Archipelago::new(1);
        let kubo = |place: Namespace, known: &[&str]| {
            let kubo = Kubo::home(binary.to_owned()).within(&place).started();
            // Its Bitswap may miss those that it joins through while it starts.
            known.iter().for_each(|address| drop(kubo.run(&["swarm", "connect", address])));
            kubo
        };
        let node = |place: Namespace, known: &[&str]| {
            let settings = ["gateway.fetch=any", "delegated.listen=127.0.0.1:0"];
            let bootstrap = format!("swarm.bootstrap={}", known.join(","));
            Node::home(env!("CARGO_BIN_EXE_atoll")).set(&settings).set(&[&bootstrap]).within(&place).started()
        };
        let first_kubo = kubo(network.host(0), &[]);
        let kubo_address = first_kubo.over("/tcp/");
        let first = node(network.host(0), &[&kubo_address]);
        let our_address = first.over("/tcp/").to_owned();
        let known = [our_address.as_str(), kubo_address.as_str()];
        let ours = vec![first, node(network.host(0), &known), node(network.host(0), &known)];
        let kubos = vec![first_kubo, kubo(network.host(0), &known), kubo(network.host(0), &known)];
        Self { ours, kubos, files: 0, _network: network }
    }

    /// Every one of ours has a new file, which every Kubo finds in the DHT and reads; and the other way round. Among
    /// themselves they find them too.
    fn exchange(&mut self) {
        let files = self.files;
        let mut seeds = files + 1..;
        let mut held = Vec::new();
        for node in &self.ours {
            let bytes = noise(seeds.next().unwrap(), BYTES);
            held.push((node.import_bytes(&bytes, "size-262144"), node.peer().to_owned(), bytes));
        }
        for kubo in &self.kubos {
            let bytes = noise(seeds.next().unwrap(), BYTES);
            let root = kubo.add("file", &bytes, &[]);
            kubo.run(&["routing", "provide", &root]);
            held.push((root, kubo.peer(), bytes));
        }
        self.files = seeds.start - 1;
        for (root, provider, bytes) in &held {
            for node in self.ours.iter().filter(|node| node.peer() != provider) {
                until(&format!("{} finds {provider} for {root}", node.peer()), || {
                    providers(node, root).contains(provider)
                });
                assert!(get(node, &format!("/ipfs/{root}")) == (200, bytes.clone()), "{root} of {provider}");
            }
            for kubo in self.kubos.iter().filter(|kubo| kubo.peer() != *provider) {
                until(&format!("{} finds {provider} for {root}", kubo.peer()), || {
                    kubo.run(&["routing", "findprovs", root]).contains(provider)
                });
                assert!(kubo.output(&["cat", root]) == *bytes, "{root} of {provider}");
            }
        }
    }
}

/// What our router says of who provides this.
fn providers(node: &Node, root: &str) -> String {
    let address = node.router().strip_prefix("http://").unwrap().parse().unwrap();
    let target = format!("/routing/v1/providers/{root}");
    node.there(|| request(address, "GET", "127.0.0.1", &target, &[])).text().to_owned()
}

#[test]
fn three_kubos_and_three_of_ours_find_each_others_content_and_go_on_when_those_they_joined_through_are_gone() {
    let Some(binary) = installed("ATOLL_KUBO").filter(|_| permitted()) else { return };
    let mut lan = Lan::start(&binary);
    lan.exchange();
    let root = lan.kubos[1].add("page", b"calm water", &[]);
    lan.kubos[1].run(&["name", "publish", &root]);
    let name = lan.kubos[1].run(&["key", "list", "-l", "--ipns-base=base36"]).split(' ').next().unwrap().to_owned();
    drop((lan.kubos.remove(0), lan.ours.remove(0)));
    lan.exchange();
    let path = format!("/ipns/{name}");
    until("a name of a Kubo's", || get(&lan.ours[1], &path) == (200, b"calm water".to_vec()));
}
