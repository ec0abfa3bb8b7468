//! Takedown: what `atoll deny` says is what a running node does, in every form of content.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

use std::fs;

use atoll_testkit::http::{Reply, request};
use atoll_testkit::process::Node;
use serde_json::Value;

/// What may not be shown.
const SECRET: &str = "what must not leave this node";

/// A node with this in its settings.
fn start(settings: &str) -> Node {
    Node::home(env!("CARGO_BIN_EXE_atoll")).configured(settings).started()
}

fn head(node: &Node, target: &str) -> Reply {
    request(node.gateway(), "HEAD", "127.0.0.1", target, &[])
}

/// A figure among the metrics.
fn figure(node: &Node, name: &str) -> u64 {
    let reply = request(node.admin(), "GET", "127.0.0.1", "/metrics", &[]);
    let line = reply.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in:\n{}", reply.text())).parse().unwrap()
}

/// A folder with a file that may be shown and one that may not; its root, and the latter's CID.
fn import(node: &Node) -> (String, String) {
    let folder = node.path("content");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.txt"), "harmless").unwrap();
    fs::write(folder.join("secret.txt"), SECRET).unwrap();
    let root = node.import(&folder);
    let secret = head(node, &format!("/ipfs/{root}/secret.txt"));
    let cid = secret.header("x-ipfs-roots").unwrap().rsplit(',').next().unwrap().to_owned();
    (root, cid)
}

fn holds_secret(body: &[u8]) -> bool {
    body.windows(SECRET.len()).any(|part| part == SECRET.as_bytes())
}

#[test]
fn what_is_taken_down_is_in_no_answer() {
    let node = start("[gateway]\nabuse_contact = \"abuse@edge.example\"\n[deny]\nreload = \"1h\"\n");
    let (root, secret) = import(&node);
    let file = format!("/ipfs/{root}/secret.txt");
    // Twice, so that it is kept ready.
    assert!(holds_secret(&node.get(&file).body) && holds_secret(&node.get(&file).body));
    assert!(holds_secret(&node.get(&format!("/ipfs/{root}?format=car")).body));

    let added = node.json(&["deny", "add", &secret, "--status", "451", "--reason", "notice 17"]);
    assert_eq!((&added["serves"], &added["new"]), (&Value::Bool(true), &Value::Bool(true)));
    for target in [
        file.clone(),
        format!("/ipfs/{secret}"),
        format!("/ipfs/{secret}?format=raw"),
        format!("/ipfs/{secret}?format=car"),
        format!("{file}?format=car"),
        format!("{file}?format=raw"),
        format!("{file}?format=tar"),
    ] {
        for reply in [node.get(&target), head(&node, &target)] {
            assert_eq!(reply.status, 451, "{target}");
            assert_eq!(reply.header("link"), Some("<mailto:abuse@edge.example>; rel=\"blocked-by\""));
        }
        assert!(node.get(&target).text().contains("abuse@edge.example"));
    }
    // What has begun cannot become a 451 any more: it breaks off, and nobody takes it for the whole.
    for format in ["car", "tar"] {
        let reply = node.get(&format!("/ipfs/{root}?format={format}"));
        assert!(!reply.complete && !holds_secret(&reply.body), "{format}");
    }
    assert_eq!(node.get(&format!("/ipfs/{root}/a.txt")).text(), "harmless");
    assert_eq!(node.get(&format!("/ipfs/{root}/")).status, 200);

    let checked = node.run(&["deny", "check", "--json", &format!("https://{secret}.ipfs.elsewhere.example/")]);
    assert_eq!(checked.status.code(), Some(1));
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!((&checked["denied"], &checked["line"]), (&Value::from(451), &Value::from(2)));
    assert!(node.json(&["deny", "list"])[0]["note"].as_str().unwrap().ends_with(" notice 17"));
    assert_eq!(node.json(&["deny", "remove", &secret])["removed"], 1);
    assert!(holds_secret(&node.get(&file).body));
    assert!(!node.run(&["deny", "remove", &secret]).status.success());
}

#[test]
fn lists_of_others_are_followed_while_the_node_runs() {
    let lists = tempfile::tempdir().unwrap();
    let list = lists.path().join("theirs.deny");
    fs::write(&list, "name: theirs\n---\n").unwrap();
    let settings = format!("[deny]\nreload = \"100ms\"\nlists = [\"{}\"]\n", lists.path().display());
    let node = start(&settings);
    let (root, secret) = import(&node);
    let file = format!("/ipfs/{root}/secret.txt");
    assert_eq!(node.get(&file).status, 200);
    let until = |status| while node.get(&file).status != status {};
    fs::write(&list, format!("name: theirs\n---\n/ipfs/{secret}\n")).unwrap();
    until(410);
    // One that cannot be used changes nothing; the next that can does.
    fs::write(&list, "version: 2\n---\n").unwrap();
    let told: Vec<String> = loop {
        let log = node.log();
        let told: Vec<_> = log.lines().filter(|line| line.contains("is refused")).map(str::to_owned).collect();
        if !told.is_empty() {
            break told;
        }
    };
    assert!(told[0].contains("theirs.deny") && told[0].contains("version 2"), "{told:?}");
    assert_eq!(node.get(&file).status, 410);
    assert!(figure(&node, "atoll_deny_denials_total") > 0);
    let figures =
        ["lists", "rules", "rules_skipped", "lists_refused"].map(|name| figure(&node, &format!("atoll_deny_{name}")));
    assert_eq!(figures, [1, 1, 0, 1]);
    fs::write(&list, "# nothing any more\n").unwrap();
    until(200);
}

#[test]
fn a_node_does_not_start_without_its_lists() {
    let home = Node::home(env!("CARGO_BIN_EXE_atoll")).configured("[deny]\nlists = [\"/nowhere/x.deny\"]\n");
    let output = home.run(&["node", "--admin-listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/x.deny"));
}
