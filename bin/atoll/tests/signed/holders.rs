//! Two nodes that hold a site, of which one signs by a manifest that the site's blocks do not make: the other refuses, and says so.

use std::fs;

use atoll_core::bundle::{Bundle, Named};
use atoll_core::manifest::{Entry, Manifest, digest};
use atoll_core::signed::Unsound;
use atoll_testkit::http::request;
use atoll_testkit::process::Node;
use atoll_testkit::trial::until;
use serde_json::Value;

use super::{FILES, Site, checked, home, publish};

/// A member of a network of two.
fn member(bootstrap: &str) -> Node {
    let settings = [
        "routing.probe_interval=200ms",
        "routing.take_over_after=1s",
        "swarm.public=false",
        "swarm.listen=/ip4/127.0.0.1/tcp/0",
        &format!("swarm.bootstrap={bootstrap}"),
    ];
    home().set(&settings).started()
}

/// The bundle with another digest for one of its paths, as a node keeps it.
fn falsified(bytes: &[u8]) -> Named {
    let bundle = Bundle::from_bytes(bytes).unwrap();
    let lie = |entry: &Entry| match &*entry.key {
        "/app.html" => Entry { digest: digest(b"a lie"), ..entry.clone() },
        _ => entry.clone(),
    };
    let manifest = Manifest::new(bundle.manifest.entries().iter().map(lie).collect()).unwrap();
    Named::from(Bundle { manifest, ..bundle })
}

fn bundle_of(node: &Node, root: &str) -> Value {
    let status = node.status();
    let bundles = status["bundles"].as_array().unwrap();
    bundles.iter().find(|bundle| bundle["root"] == *root).cloned().unwrap_or(Value::Null)
}

#[test]
fn a_holder_whose_blocks_make_another_bundle_refuses_to_sign() {
    let mut liar = Site::on(member(""));
    // Its operator replaces the manifest by one that says what is not so.
    let file = liar.node.path("node/bundles").join(&liar.root);
    let written = fs::read(&file).unwrap();
    let lie = falsified(&written);
    assert_eq!(liar.node.stop(), Some(0));
    fs::write(&file, lie.bundle.to_bytes()).unwrap();
    liar.node.start();
    assert_eq!(liar.signed(), lie.id.to_string());
    let honest = member(liar.node.over("/tcp/"));
    let live = || honest.json(&["peers"]).as_array().unwrap().iter().filter(|peer| peer["live"] == true).count();
    until("both live", || live() == 2);
    // The publisher asks the node that lies what the bundle is, and signs that.
    let folder = liar.node.path("site");
    let published = liar.node.json(&["publish", folder.to_str().unwrap(), "--replicas", "2"]);
    assert_eq!((&published["root"], &published["bundle"]), (&(*liar.root).into(), &lie.id.to_string().into()));
    assert_eq!(published["verified_nodes"], 2, "the site is held by both");
    until("the refusal", || bundle_of(&honest, &liar.root)["state"] == "refused");
    let refused = bundle_of(&honest, &liar.root);
    let why = format!("its publisher names the bundle {}, and its blocks make {}", lie.id, named(&written).id);
    assert_eq!(refused["why"], *why, "{refused}");
    assert!(honest.log().contains("the answers of a site are not signed") && honest.log().contains(&why));
    let metrics = request(honest.admin(), "GET", "127.0.0.1", "/metrics", &[]);
    assert!(metrics.text().contains("atoll_bundles{state=\"refused\"} 1"), "{}", metrics.text());
    // What is so is shown, unsigned.
    let refusing = Site { root: liar.root.clone(), node: honest };
    for (path, content) in [("/app.html", "<!doctype html>app"), ("/", FILES[0].1)] {
        let reply = refusing.get(path, &[]);
        assert_eq!((reply.status, reply.text()), (200, content), "{path}");
        assert_eq!(checked(&reply, &refusing.host()).unwrap_err(), Unsound::Unsigned, "{path}");
    }
    // Whoever asks the one that lies finds out, by the blocks or by the true bundle.
    let url = format!("http://{}/app.html", liar.host());
    let said = liar.node.run(&["verify", "--json", &url]);
    assert_eq!(said.status.code(), Some(1), "it signs another body than it sends: {said:?}");
    let url = format!("http://{}/", liar.host());
    let (true_id, lie_id) = (named(&written).id.to_string(), lie.id.to_string());
    for (more, expected) in [(&[][..], 1), (&["--bundle", &true_id], 1), (&["--bundle", &lie_id], 0)] {
        let said = liar.node.run(&[&["verify", "--json", &url], more].concat());
        assert_eq!(said.status.code(), Some(expected), "{more:?}: {said:?}");
    }
    // What is so is signed by the one that refused.
    let version = publish(&refusing.node, &[FILES[0], ("true.txt", "so")], "2");
    until("the true version is signed", || bundle_of(&refusing.node, &version)["state"] == "signed");
}

fn named(bytes: &[u8]) -> Named {
    Named::from(Bundle::from_bytes(bytes).unwrap())
}
