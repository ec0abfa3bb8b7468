//! The node among IPFS peers: a real Kubo finds and reads what we hold, and we what it holds, over libp2p on loopback.
//!
//! Needs the Kubo of `ATOLL_KUBO` (`cargo xtask test` builds it); without it the tests say that they did not run, and with
//! `CI` set that fails.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

mod islands;
mod lan;
mod private;
mod restarts;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use atoll_testkit::http::request;
use atoll_testkit::kubo::Kubo;
use atoll_testkit::process::Node;
use atoll_testkit::trial::{installed, noise, until};

/// A node of ours that fetches whatever is asked for, and knows these peers.
fn start(bootstrap: &[&str]) -> Node {
    start_with(bootstrap, &[])
}

/// One of which only libp2p leads to the gateway: a wildcard is told to nobody.
fn start_untold(bootstrap: &[&str]) -> Node {
    start_with(bootstrap, &["gateway.listen=0.0.0.0:0"])
}

fn start_with(bootstrap: &[&str], settings: &[&str]) -> Node {
    let always = [
        "gateway.fetch=any",
        "routing.probe_interval=1s",
        "routing.take_over_after=2s",
        "swarm.listen=/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1",
        &format!("swarm.bootstrap={}", bootstrap.join(",")),
    ];
    Node::home(env!("CARGO_BIN_EXE_atoll")).set(&always).set(settings).started()
}

/// What its gateway answers.
fn get(node: &Node, path: &str) -> (u16, Vec<u8>) {
    let reply = node.get(path);
    (reply.status, reply.body)
}

/// A folder with one page.
fn site(node: &Node, page: &str) -> PathBuf {
    let site = node.path("site");
    fs::create_dir_all(&site).unwrap();
    fs::write(site.join("index.html"), page).unwrap();
    site
}

/// How files are cut: 40 MiB each, so that the last are 10,240 blocks.
const CHUNKS: [&str; 3] = ["size-262144", "size-1048576", "size-4096"];

#[test]
fn kubo_reads_from_us_what_it_finds_in_the_dht() {
    let Some(binary) = installed("ATOLL_KUBO") else { return };
    let (node, kubo) = (start(&[]), Kubo::home(binary).started());
    kubo.run(&["swarm", "connect", node.over("/tcp/")]);
    for (seed, chunker) in (1..).zip(CHUNKS) {
        let bytes = noise(seed, 40 << 20);
        let root = node.import_bytes(&bytes, chunker);
        if seed == 1 {
            until("Kubo finds our announcement", || kubo.run(&["routing", "findprovs", &root]).contains(node.peer()));
        }
        assert!(kubo.output(&["cat", &root]) == bytes, "{chunker}: Kubo read other bytes");
    }
}

/// A folder of so many small files, all different.
fn many_files(node: &Node, count: usize) -> PathBuf {
    let folder = node.path("many");
    fs::create_dir_all(&folder).unwrap();
    (0..count).for_each(|number| fs::write(folder.join(format!("{number}.txt")), format!("file {number}")).unwrap());
    folder
}

#[test]
fn every_file_of_a_site_is_announced_by_the_sweep_and_found_by_kubo() {
    let Some(binary) = installed("ATOLL_KUBO") else { return };
    let (first, kubo) = (start(&[]), Kubo::home(binary).started());
    let known = first.over("/tcp/");
    kubo.run(&["swarm", "connect", known]);
    let (node, _others) = (start(&[known]), [start(&[known]), start(&[known])]);
    let folder = many_files(&node, 300);
    let root = node.import(&folder);
    let view = || node.status()["providing"][0].clone();
    // The site and its files.
    until("all is announced", || view()["keys"] == 301 && view()["unannounced"] == 0);
    let told = view();
    assert_eq!((told["network"].as_str(), told["late"].as_bool()), (Some("lan"), Some(false)), "{told}");
    assert!(told["lookups"].as_u64().unwrap() < 60 && told["records"].as_u64().unwrap() >= 301, "{told}");
    for path in [folder.clone(), folder.join("0.txt"), folder.join("150.txt"), folder.join("299.txt")] {
        let key = if path == folder { root.clone() } else { kubo.run(&["add", "-Qn", path.to_str().unwrap()]) };
        until("Kubo finds us", || kubo.run(&["routing", "findprovs", &key]).contains(node.peer()));
    }
    let metrics = request(node.admin(), "GET", "127.0.0.1", "/metrics", &[]);
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.contains("atoll_provide_lag_seconds{network=\"lan\"} 0"), "{metrics}");
}

#[test]
fn we_read_from_kubo_what_we_find_in_the_dht() {
    let Some(binary) = installed("ATOLL_KUBO") else { return };
    let (node, kubo) = (start(&[]), Kubo::home(binary).started());
    kubo.run(&["swarm", "connect", node.over("/quic-v1")]);
    for (seed, chunker) in (1..).zip(CHUNKS) {
        let bytes = noise(seed, 40 << 20);
        let root = kubo.add(chunker, &bytes, &[&format!("--chunker={chunker}")]);
        kubo.run(&["routing", "provide", &root]);
        let mut seen = (0, Vec::new());
        until("Kubo's file by our gateway", || {
            seen = get(&node, &format!("/ipfs/{root}"));
            seen.0 == 200
        });
        assert!(seen.1 == bytes, "{chunker}: {} bytes came", seen.1.len());
    }
}

#[test]
fn kubo_gets_what_arrives_here_later_unless_it_took_its_want_back() {
    let Some(binary) = installed("ATOLL_KUBO") else { return };
    let (node, kubo) = (start(&[]), Kubo::home(binary).started());
    kubo.run(&["swarm", "connect", node.over("/tcp/")]);
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
        assert!([&later, &taken_back].contains(&&node.import_bytes(&noise(seed, 100_000), CHUNKS[0])));
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
    let Some(binary) = installed("ATOLL_KUBO") else { return };
    // Nobody is told of its gateway, so that all three send over libp2p.
    let first = start_untold(&[]);
    let known = first.over("/tcp/");
    let asker = start(&[known]);
    let bytes = noise(7, 40 << 20);
    // Each has a third that nobody else has: ours as another file, each Kubo with all that leads to it.
    let (ours, theirs) = (53, [53..107, 107..160]);
    first.import_bytes(&bytes[..ours << 18], CHUNKS[0]);
    let mut root = String::new();
    let kubos = theirs.map(|part| {
        let kubo = Kubo::home(binary.clone()).started();
        kubo.run(&["swarm", "connect", known]);
        root = kubo.add("forty", &bytes, &[&format!("--chunker={}", CHUNKS[0])]);
        let leaves = kubo.run(&["refs", &root]);
        let leaves: Vec<&str> = leaves.lines().collect();
        assert_eq!(leaves.len(), 160);
        let lacked = leaves.iter().enumerate().filter(|(at, _)| !part.contains(at)).map(|(_, leaf)| *leaf);
        kubo.run(&["pin", "rm", &root]);
        kubo.run(&["block", "rm"].into_iter().chain(lacked).collect::<Vec<_>>());
        kubo.run(&["routing", "provide", &root]);
        kubo.run(&["swarm", "connect", asker.over("/tcp/")]);
        kubo
    });
    let mut seen = (0, Vec::new());
    until("the file by the third node", || {
        seen = get(&asker, &format!("/ipfs/{root}"));
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
    let first = start(&[]);
    let known = first.over("/tcp/");
    let (holder, asker) = (start(&[known]), start(&[known]));
    let root = holder.import_bytes(b"calm water", CHUNKS[0]);
    until("the third node finds the second", || get(&asker, &format!("/ipfs/{root}")).0 == 200);
    assert_eq!(get(&asker, &format!("/ipfs/{root}")).1, b"calm water");
}

#[test]
fn names_go_both_ways_through_the_dht() {
    let Some(binary) = installed("ATOLL_KUBO") else { return };
    let (node, kubo) = (start(&[]), Kubo::home(binary).started());
    kubo.run(&["swarm", "connect", node.over("/tcp/")]);
    // Ours, found by Kubo.
    let root = node.import(&site(&node, "calm water"));
    node.json(&["key", "new", "blog"]);
    let published = node.json(&["name", "publish", "blog", &root]);
    let name = published["name"].as_str().unwrap();
    let resolved = || kubo.command(&["name", "resolve", "--nocache", name]).output().unwrap().stdout;
    until("Kubo resolves our name", || String::from_utf8(resolved()).unwrap().trim() == format!("/ipfs/{root}"));
    assert_eq!(kubo.output(&["cat", &format!("/ipns/{name}/index.html")]), b"calm water");
    // Kubo's, found by us.
    let root = kubo.add("page", b"deep water", &[]);
    kubo.run(&["routing", "provide", &root]);
    kubo.run(&["name", "publish", &root]);
    let name = kubo.run(&["key", "list", "-l", "--ipns-base=base36"]).split(' ').next().unwrap().to_owned();
    until("we resolve Kubo's name", || get(&node, &format!("/ipns/{name}")) == (200, b"deep water".to_vec()));
}

#[test]
fn members_who_reach_each_other_over_libp2p_only_place_a_site() {
    let first = start_untold(&[]);
    let known = first.over("/tcp/");
    let others: Vec<Node> = (0..3).map(|_| start_untold(&[known])).collect();
    let live = || first.json(&["peers"]).as_array().unwrap().iter().filter(|peer| peer["live"] == true).count();
    until("four members live", || live() == 4);
    // Connections are pinged, so that a probe's own time need not be taken for a round trip.
    let is_pinged = |member: &serde_json::Value| member["peer"] == first.peer() || member["rtt_by"] == "ping";
    until("all are pinged", || first.json(&["peers"]).as_array().unwrap().iter().all(is_pinged));
    let published = first.json(&["publish", site(&first, "still water").to_str().unwrap(), "--replicas", "3"]);
    let (name, root) = (published["name"].as_str().unwrap(), published["root"].as_str().unwrap());
    for node in &others {
        assert_eq!(get(node, &format!("/ipfs/{root}/index.html")), (200, b"still water".to_vec()), "{}", node.log());
        assert_eq!(get(node, &format!("/ipns/{name}/index.html")).0, 200, "{}", node.log());
    }
}
