//! What belongs to pages of a version that was replaced is still found for a while.

use std::fs;

use atoll_testkit::http::{Reply, request};
use atoll_testkit::process::Node;
use atoll_testkit::trial::until;

fn get(node: &Node, name: &str, target: &str) -> Reply {
    let host = format!("{name}.ipns.localhost:{}", node.gateway().port());
    request(node.gateway(), "GET", &host, target, &["Accept: text/html"])
}

/// Publishes files, each of which holds its own name; the root, and the name.
fn publish(node: &Node, files: &[&str]) -> (String, String) {
    let folder = node.path("site");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    for file in files {
        fs::write(folder.join(file), file).unwrap();
    }
    // A site of one page, as its rules say.
    fs::write(folder.join("_redirects"), "/* /index.html 200\n").unwrap();
    fs::write(folder.join("_headers"), "/*.js\n  X-Own: yes\n").unwrap();
    let told = node.json(&["publish", folder.to_str().unwrap(), "--site", "shop", "--replicas", "1"]);
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    (text("root"), text("name"))
}

#[test]
fn assets_of_the_version_before_are_found_and_pages_are_gone() {
    let pace = ["routing.take_over_after=100ms", "routing.gossip_interval=300ms"];
    let mut node = Node::home(env!("CARGO_BIN_EXE_atoll")).set(&pace).started();
    let (one, name) = publish(&node, &["index.html", "app.3f9a01bc.js", "old.0123abcd.html", "plain.js"]);
    until("its answers are signed", || get(&node, &name, "/app.3f9a01bc.js").header("signature").is_some());
    publish(&node, &["index.html", "app.77d2aa01.js"]);
    let kept = |reply: &Reply| reply.header("atoll-source") == Some(&*format!("content; verified; earlier={one}"));
    until("the version before is kept", || kept(&get(&node, &name, "/app.3f9a01bc.js")));
    let reply = get(&node, &name, "/app.3f9a01bc.js");
    assert_eq!((reply.status, reply.text(), reply.header("x-own")), (200, "app.3f9a01bc.js", Some("yes")));
    assert!(reply.header("signature").is_none(), "it is not what the manifest says");
    // What the present version has is its own, and what was not named by its content is gone: pages, and plain names.
    let now = get(&node, &name, "/app.77d2aa01.js");
    assert_eq!((now.text(), now.header("atoll-source")), ("app.77d2aa01.js", None));
    for gone in ["/old.0123abcd.html", "/plain.js", "/app.00000000.js"] {
        let reply = get(&node, &name, gone);
        assert_eq!((reply.text(), reply.header("atoll-source")), ("index.html", None), "{gone}");
    }
    // It outlives a start, and garbage collection.
    node.stop();
    node.start();
    node.json(&["gc"]);
    assert!(kept(&get(&node, &name, "/app.3f9a01bc.js")));
    // Until its publisher takes all of it back.
    node.json(&["purge", "--site", "shop", "--all"]);
    assert_eq!(get(&node, &name, "/app.3f9a01bc.js").text(), "index.html");
}
