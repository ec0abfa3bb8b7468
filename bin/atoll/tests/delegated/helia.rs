//! Helia: its client of Delegated Routing, JavaScript's libraries for what that hands out, and verified-fetch, which reads a
//! site that the router finds.

use std::process::Command;

use atoll_testkit::trial::{installed, javascript, until};

use crate::node::{RECORD, import, put, record, route, start};

#[test]
fn helia_finds_providers_peers_names_and_the_nearest_peers() {
    let Some(modules) = installed("ATOLL_NODE_MODULES") else { return };
    let node = start(&["delegated.listen=127.0.0.1:0", "swarm.listen=/ip4/127.0.0.1/tcp/0"]);
    let joined = format!("swarm.bootstrap={}", node.swarm()[0]);
    let other = start(&["swarm.listen=/ip4/127.0.0.1/tcp/0", &joined]);
    let held = import(&node, b"held here");
    let elsewhere = import(&other, b"held elsewhere");
    until("the other's announcement", || {
        route(&node, "GET", &format!("/routing/v1/providers/{elsewhere}"), &[]).text().contains(other.peer())
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/delegated/helia.mjs");
    let gateway = format!("/ip4/127.0.0.1/tcp/{}/http", node.gateway().port());
    let output = Command::new(javascript(&modules))
        .args([script, node.router(), node.peer(), &gateway, &held, other.peer(), &elsewhere])
        .env("ATOLL_NODE_MODULES", modules)
        .output()
        .unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert_eq!(said.trim(), "providers, elsewhere, nobody, filters, peers, names, closest");
}

/// By HTTP, found by the router with nothing else configured; and by Bitswap over libp2p, found by the same.
#[test]
fn verified_fetch_reads_a_site_over_http_and_over_libp2p() {
    let Some(modules) = installed("ATOLL_NODE_MODULES") else { return };
    let node = start(&["delegated.listen=127.0.0.1:0", "swarm.listen=/ip4/127.0.0.1/tcp/0"]);
    let site = node.path("site");
    std::fs::create_dir_all(site.join("deep")).unwrap();
    std::fs::write(site.join("index.html"), "<p>verified</p>").unwrap();
    // Several blocks.
    let large: Vec<u8> = (0..3_000_000_u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    std::fs::write(site.join("deep/large.bin"), &large).unwrap();
    let root = node.import(&site);
    let (name, bytes) = record(&format!("/ipfs/{root}"), 1, (3600, 60));
    assert_eq!(put(&node, &format!("/routing/v1/ipns/{name}"), RECORD, &bytes), 200);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/delegated/verified-fetch.mjs");
    for way in ["http", "libp2p"] {
        let output = Command::new(javascript(&modules))
            .args([script, way, node.router(), &root, &name, site.join("deep/large.bin").to_str().unwrap()])
            .env("ATOLL_NODE_MODULES", &modules)
            .output()
            .unwrap();
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{way}: {said}{errors}");
        assert_eq!(said.trim(), format!("read by {way}"));
    }
}
