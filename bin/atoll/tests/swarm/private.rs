//! A network behind a key, with a real Kubo in it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use atoll_testkit::http::request;
use atoll_testkit::kubo::Kubo;
use atoll_testkit::process::Node;
use atoll_testkit::trial::{installed, noise, until};
use serde_json::json;

use super::get;

/// A key of such bytes, as Kubo has it.
fn key(byte: u8) -> String {
    format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", format!("{byte:02x}").repeat(32))
}

/// A Kubo that does not start without a key (`LIBP2P_FORCE_PNET`), with this one.
fn kubo(binary: &Path, folder: &Path, byte: u8) -> Kubo {
    let forced = folder.join("kubo");
    fs::write(&forced, format!("#!/bin/sh\nLIBP2P_FORCE_PNET=1 exec {} \"$@\"\n", binary.display())).unwrap();
    fs::set_permissions(&forced, fs::Permissions::from_mode(0o755)).unwrap();
    let kubo = Kubo::home(forced).configured(&[("Addresses.Swarm", json!(["/ip4/127.0.0.1/tcp/0"]))]);
    fs::write(kubo.folder().join("repo/swarm.key"), key(byte)).unwrap();
    kubo.started()
}

fn key_file(node: &Node) -> PathBuf {
    let path = node.path("swarm.key");
    fs::write(&path, key(7)).unwrap();
    path
}

#[test]
fn kubo_and_we_exchange_blocks_behind_a_key_and_nobody_else_comes_in() {
    let Some(binary) = installed("ATOLL_KUBO") else { return };
    let folder = tempfile::tempdir().unwrap();
    let node = Node::home(env!("CARGO_BIN_EXE_atoll"));
    let file = format!("swarm.key_file={}", key_file(&node).display());
    let node = node.set(&["gateway.fetch=any", "swarm.listen=/ip4/127.0.0.1/tcp/0", &file]).started();
    let (friend, stranger) = (kubo(&binary, folder.path(), 7), kubo(&binary, folder.path(), 8));
    let refused = stranger.fails(&["swarm", "connect", node.over("/tcp/")]);
    assert!(refused.contains("failed"), "{refused}");
    friend.run(&["swarm", "connect", node.over("/tcp/")]);
    let (ours, theirs) = (noise(1, 3 << 20), noise(2, 3 << 20));
    let root = node.import_bytes(&ours, "size-262144");
    assert!(friend.output(&["cat", &root]) == ours, "Kubo read other bytes");
    let root = friend.add("theirs", &theirs, &[]);
    friend.run(&["routing", "provide", &root]);
    let mut seen = (0, Vec::new());
    until("Kubo's file by our gateway", || {
        seen = get(&node, &format!("/ipfs/{root}"));
        seen.0 == 200
    });
    assert!(seen.1 == theirs, "{} bytes came", seen.1.len());
    let mut peers = node.json(&["peers", "--swarm"]);
    until("it has answered a ping", || {
        peers = node.json(&["peers", "--swarm"]);
        peers[0]["round_trip_us"].is_u64()
    });
    assert!(peers.as_array().unwrap().iter().all(|peer| peer["peer"] == friend.peer().as_str()), "{peers}");
    let about = &peers[0];
    assert!(about["agent"].as_str().unwrap().starts_with("kubo/") && about["found_by"] == "itself", "{about}");
    assert!(about["listens"][0].is_string(), "{about}");
    let metrics = request(node.admin(), "GET", "127.0.0.1", "/metrics", &[]);
    let metrics = String::from_utf8(metrics.body).unwrap();
    let figure = |series: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("atoll_{series} ")));
        line.unwrap_or_else(|| panic!("no {series}:\n{metrics}")).parse().unwrap()
    };
    assert_eq!(figure("swarm_connections{transport=\"tcp\",direction=\"in\"}"), 1);
    assert_eq!(figure("swarm_peers"), 1);
    assert!(figure("swarm_failed_total{direction=\"in\"}") >= 1, "the stranger came in vain");
    for way in ["in", "out"] {
        assert!(figure(&format!("bitswap_block_bytes_total{{direction=\"{way}\"}}")) >= 3 << 20);
        assert!(figure(&format!("bitswap_wants_total{{direction=\"{way}\"}}")) > 0);
    }
    assert!(figure("dht_queries_total{kind=\"providers\"}") >= 1);
}

#[test]
fn quic_is_refused_behind_a_key() {
    let node = Node::home(env!("CARGO_BIN_EXE_atoll"));
    let file = format!("swarm.key_file={}", key_file(&node).display());
    let refused = node.run(&["node", "--set", "swarm.listen=/ip4/127.0.0.1/udp/0/quic-v1", "--set", &file]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("swarm.listen") && said.contains("is no TCP"), "{said}");
}
