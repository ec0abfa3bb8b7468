//! Purges that a site's key has signed: all nodes that show the site obey, those that were away when they are back, and old ones that
//! come again purge nothing.

use std::fs;

use atoll_testkit::http::request;
use atoll_testkit::origin::{Asked, Origin};
use atoll_testkit::process::Node;
use atoll_testkit::trial::until;
use serde_json::Value;

/// A node that fronts the site of a key, and joins through another.
fn fronting(origin: &Origin, key: &str, seed: Option<&Node>) -> Node {
    let toml = format!(
        "[[sites]]\nhosts = [\"shop.example\"]\nkey = \"{key}\"\n[[sites.origins]]\nurl = \"{}\"\n",
        origin.url()
    );
    let seeds = seed.map_or_else(String::new, |seed| format!("node.seeds=http://{}", seed.gateway()));
    let pace = ["routing.gossip_interval=300ms", "routing.probe_interval=500ms", "routing.announce_delay=10ms"];
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).set(&pace).configured(&toml);
    let node = if seeds.is_empty() { node } else { node.set(&[&seeds]) };
    node.started()
}

/// What it answers, and whether that was stored.
fn get(node: &Node, target: &str) -> (String, bool) {
    ask(node, "shop.example", target)
}

fn ask(node: &Node, host: &str, target: &str) -> (String, bool) {
    let reply = request(node.gateway(), "GET", host, target, &[]);
    assert_eq!(reply.status, 200);
    (reply.text().to_owned(), reply.header("cache-status").unwrap().contains("; hit"))
}

/// Has it stored; the answer.
fn stored(node: &Node, target: &str) -> String {
    until("it is stored", || get(node, target).1);
    get(node, target).0
}

/// What a purge said of a node.
fn state<'a>(purged: &'a Value, node: &Node) -> &'a Value {
    let nodes = purged["nodes"].as_array().unwrap();
    &nodes.iter().find(|found| found["peer"] == node.peer()).unwrap_or_else(|| panic!("{purged}"))["state"]
}

fn live(node: &Node) -> usize {
    let status = node.status();
    status["network"]["members"].as_array().unwrap().iter().filter(|member| member["live"] == true).count()
}

#[test]
fn a_signed_purge_reaches_all_nodes_also_those_that_were_away() {
    let origin = Origin::answering(|_: &Asked| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        ("Cache-Control: max-age=3600\r\n".to_owned(), now.to_string().into_bytes())
    });
    let publisher = Node::home(env!("CARGO_BIN_EXE_atoll"));
    let key = publisher.json(&["key", "new", "shop"])["ipns"].as_str().unwrap().to_owned();
    let one = fronting(&origin, &key, None);
    let two = fronting(&origin, &key, Some(&one));
    let mut three = fronting(&origin, &key, Some(&one));
    until("all see each other", || [&one, &two, &three].iter().all(|node| live(node) == 3));
    let before: Vec<_> = [&one, &two, &three].iter().map(|node| [stored(node, "/a"), stored(node, "/b")]).collect();
    // Visitors who come by a port of the node's own name it.
    let host = format!("shop.example:{}", two.gateway().port());
    let by_port = ask(&two, &host, "/a").0;
    three.kill();
    until("it is missed", || live(&one) == 2);
    let dir = one.path("node");
    let purge = |args: &[&str]| {
        let dir = dir.to_str().unwrap();
        publisher.json(&[&["purge", "--site", "shop"], args, &["--dir", dir]].concat())
    };
    let purged = purge(&["/a"]);
    assert_eq!((state(&purged, &one), state(&purged, &two)), (&"purged".into(), &"purged".into()));
    assert_eq!(state(&purged, &three), "away");
    for (node, before) in [&one, &two].into_iter().zip(&before) {
        assert_ne!(get(node, "/a").0, before[0]);
        assert_eq!(get(node, "/b").0, before[1]);
    }
    assert_ne!(ask(&two, &host, "/a").0, by_port);
    // Another one meanwhile: whoever was away hears of both at once.
    let first = fs::read(one.path("node/purged")).unwrap();
    purge(&["/c"]);
    three.start();
    until("it has heard", || {
        fs::read(three.path("node/purged")).is_ok_and(|file| Some(file) == fs::read(one.path("node/purged")).ok())
    });
    assert_ne!(get(&three, "/a").0, before[2][0]);
    assert_eq!(get(&three, "/b"), (before[2][1].clone(), true), "what was not purged is there still, from its disk");
    // Nobody purges once more because of what was told again.
    let after = stored(&three, "/a");
    three.kill();
    three.start();
    until("it knows the members", || live(&three) == 3);
    assert_eq!(get(&three, "/a"), (after, true));
    assert_ne!(first, fs::read(one.path("node/purged")).unwrap());
    // Everything; and a stranger's key purges nothing.
    purge(&["--all"]);
    assert_ne!(get(&two, "/b").0, before[1][1]);
    let kept = stored(&two, "/b");
    publisher.json(&["key", "new", "other"]);
    let other = publisher.run(&["purge", "--site", "other", "--all", "--dir", dir.to_str().unwrap(), "--json"]);
    let other: Value = serde_json::from_slice(&other.stdout).unwrap();
    assert_eq!((state(&other, &two), &other["nodes"][0]["shows"]), (&"purged".into(), &false.into()));
    assert_eq!(get(&two, "/b"), (kept, true));
}
