//! What was announced is not announced anew after a restart, however the node ended.

use atoll_testkit::http::request;
use atoll_testkit::trial::until;
use serde_json::Value;

use super::{many_files, start};

/// How many records peers took since the node was started, and how announcing stands.
fn announced(node: &atoll_testkit::process::Node) -> (u64, Value) {
    let view = node.status()["providing"][0].clone();
    (view["records"].as_u64().unwrap(), view)
}

#[test]
fn what_was_announced_is_remembered_across_stops_and_kills() {
    let first = start(&[]);
    let others = [start(&[first.over("/tcp/")]), start(&[first.over("/tcp/")])];
    let mut node = start(&[first.over("/tcp/")]);
    let root = node.import(&many_files(&node, 100));
    let all = |node: &atoll_testkit::process::Node| {
        let (_, view) = announced(node);
        view["keys"] == 101 && view["unannounced"] == 0
    };
    until("all is announced", || all(&node));
    assert!(announced(&node).0 >= 101);
    assert_eq!(node.stop(), Some(0), "{}", node.log());
    for end in ["a stop", "a kill"] {
        node.start();
        until("it knows its keys and a peer", || all(&node) && announced(&node).1["keys"] == 101);
        let (records, view) = announced(&node);
        assert_eq!(records, 0, "announced anew after {end}: {view}");
        let found = || node.status()["swarm"]["known"].as_u64().unwrap() > 0;
        until("it is back in the DHT", found);
        node.kill();
    }
    // Damage costs that all is announced anew, and no more.
    let saved = node.path("node/provided/lan");
    let bytes = std::fs::read(&saved).unwrap();
    assert!(bytes.len() > 100 && !saved.with_file_name("lan.new").exists());
    std::fs::write(&saved, &bytes[..bytes.len() / 2]).unwrap();
    node.start();
    until("all is announced again", || all(&node) && announced(&node).0 >= 101);
    drop(others);
    assert_eq!(request(node.gateway(), "GET", "127.0.0.1", &format!("/ipfs/{root}/0.txt"), &[]).status, 200);
}
