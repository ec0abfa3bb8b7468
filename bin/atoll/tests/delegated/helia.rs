//! Helia's client of Delegated Routing, and JavaScript's libraries for what it hands out.

use std::path::PathBuf;
use std::process::Command;

use crate::node::Node;
use crate::{place, until};

/// Node 22, which Helia's client needs: npm's, or else the machine's.
fn javascript(modules: &std::path::Path) -> PathBuf {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let installed = modules.join(format!("node-linux-{arch}/bin/node"));
    if installed.is_file() { installed } else { "node".into() }
}

#[test]
fn helia_finds_providers_peers_names_and_the_nearest_peers() {
    let Some(modules) = place("ATOLL_NODE_MODULES") else { return };
    let node = Node::start(&["delegated.listen=127.0.0.1:0", "swarm.listen=/ip4/127.0.0.1/tcp/0"]);
    let joined = format!("swarm.bootstrap={}", node.swarm[0]);
    let other = Node::start(&["swarm.listen=/ip4/127.0.0.1/tcp/0", &joined]);
    let held = node.import("held.txt", b"held here");
    let elsewhere = other.import("elsewhere.txt", b"held elsewhere");
    until("the other's announcement", || {
        node.route("GET", &format!("/routing/v1/providers/{elsewhere}"), &[]).text().contains(&other.peer)
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/delegated/helia.mjs");
    let gateway = format!("/ip4/127.0.0.1/tcp/{}/http", node.gateway.port());
    let output = Command::new(javascript(&modules))
        .args([script, &node.router, &node.peer, &gateway, &held, &other.peer, &elsewhere])
        .env("ATOLL_NODE_MODULES", modules)
        .output()
        .unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert_eq!(said.trim(), "providers, elsewhere, nobody, filters, peers, names, closest");
}
