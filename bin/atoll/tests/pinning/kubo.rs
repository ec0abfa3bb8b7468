//! A real Kubo as a publisher's node: it listens on nothing, so that it has to come to us (as from behind a NAT).

use std::path::PathBuf;

use atoll_testkit::kubo::Kubo;
use atoll_testkit::trial::{installed, noise, until};
use serde_json::json;

use super::node::start;

/// A Kubo without listeners, DHT and peers.
pub(crate) fn start_kubo(binary: PathBuf) -> Kubo {
    Kubo::home(binary).configured(&[("Addresses.Swarm", json!([])), ("Routing.Type", json!("none"))]).started()
}

#[test]
fn kubo_pins_here_what_only_it_has_though_nobody_can_dial_it() {
    let Some(binary) = installed("ATOLL_KUBO") else { return };
    let (node, mut kubo) = (start(""), start_kubo(binary));
    let token = node.token("kubo", "16MiB");
    kubo.run(&["pin", "remote", "service", "add", "atoll", &node.url(), &token]);
    let (bytes, other) = (noise(3, 9 << 20), noise(4, 9 << 20));
    let (root, large) = (kubo.add("site", &bytes, &[]), kubo.add("large", &other, &[]));
    assert_eq!(node.shown(&root).0, 404, "it is not there yet");
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
    let (status, shown) = node.shown(&root);
    assert!(status == 200 && shown == bytes, "{status}, {} bytes", shown.len());
}

#[test]
fn kubo_removes_what_it_pinned_here_and_pins_in_the_background() {
    let Some(binary) = installed("ATOLL_KUBO") else { return };
    let (mut node, kubo) = (start(""), start_kubo(binary));
    let token = node.token("kubo", "64MiB");
    kubo.run(&["pin", "remote", "service", "add", "atoll", &node.url(), &token]);
    let root = kubo.add("site", &noise(5, 3 << 20), &[]);
    kubo.run(&["pin", "remote", "add", "--service=atoll", "--name=site", "--background", &root]);
    until("it is pinned", || kubo.run(&["pin", "remote", "ls", "--service=atoll", "--name=site"]).contains("pinned"));
    node.kill();
    node.start();
    assert_eq!(node.json(&["pin", "ls"])[0]["root"], root.as_str());
    kubo.run(&["pin", "remote", "service", "rm", "atoll"]);
    kubo.run(&["pin", "remote", "service", "add", "atoll", &node.url(), &token]);
    kubo.run(&["pin", "remote", "rm", "--service=atoll", "--name=site"]);
    assert_eq!(kubo.run(&["pin", "remote", "ls", "--service=atoll"]), "");
    assert_eq!(node.json(&["pin", "ls"]).as_array().unwrap().len(), 0);
}
