//! Sites before servers, as an operator sets them up and purges them.

use std::sync::atomic::{AtomicUsize, Ordering};

use atoll_testkit::http::{Reply, request};
use atoll_testkit::origin::{Asked, Origin};
use atoll_testkit::process::Node;
use atoll_testkit::trial::until;

/// A server whose answers are numbered, fresh for so many seconds.
fn numbered(seconds: u64) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::answering(move |_: &Asked| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        (
            format!("Cache-Control: max-age={seconds}\r\nETag: \"{n}\"\r\nSurrogate-Key: all\r\n"),
            n.to_string().into_bytes(),
        )
    })
}

fn get(node: &Node, host: &str, target: &str) -> Reply {
    request(node.gateway(), "GET", host, target, &[])
}

#[test]
fn one_command_stands_before_a_server_until_it_is_purged() {
    let mut origin = numbered(3600);
    let mut front = Node::home(env!("CARGO_BIN_EXE_atoll"));
    front.start_as(&["front", &origin.url()]);
    let now = |target: &str| get(&front, "shop.example", target).text().to_owned();
    assert_eq!((now("/a/1"), now("/a/2"), now("/b"), now("/a/1")), ("0".into(), "1".into(), "2".into(), "0".into()));
    let purge = |args: &[&str]| front.json(&[&["purge"], args].concat());
    assert_eq!(purge(&["https://shop.example/a/1"])["purged"], true);
    assert_eq!((now("/a/1"), now("/a/2")), ("3".into(), "1".into()));
    purge(&["http://shop.example/a/", "--prefix"]);
    assert_eq!((now("/a/1"), now("/a/2"), now("/b")), ("4".into(), "5".into(), "2".into()));
    purge(&["http://shop.example/", "--group", "all"]);
    assert_eq!((now("/a/1"), now("/b")), ("6".into(), "7".into()));
    purge(&["http://other.example/", "--group", "all"]);
    assert_eq!(now("/b"), "7");
    for wrong in
        [&["shop.example/a"][..], &["--prefix"], &["http://a/", "--all"], &["http://a/", "--prefix", "--group", "g"]]
    {
        assert!(!front.run(&[&["purge"], wrong].concat()).status.success(), "{wrong:?}");
    }
    // What is purged softly serves when the server is gone; what is purged hard does not.
    origin.close();
    purge(&["--all", "--soft"]);
    let stale = get(&front, "shop.example", "/b");
    assert_eq!((stale.status, stale.text()), (200, "7"));
    assert!(stale.header("cache-status").unwrap().contains("; fwd=stale"));
    purge(&["--all"]);
    assert_eq!(get(&front, "shop.example", "/b").status, 502);
    let figures = request(front.admin(), "GET", "127.0.0.1", "/metrics", &[]);
    for figure in ["outcome=\"hit\"} 4", "outcome=\"stored\"} 8", "outcome=\"rescued\"} 1", "outcome=\"failed\"} 1"] {
        assert!(
            figures.text().contains(&format!("atoll_front_requests_total{{{figure}")),
            "{figure}: {}",
            figures.text()
        );
    }
}

#[test]
fn each_host_has_its_server_and_the_gateway_keeps_its_own() {
    let (one, two) = (numbered(0), numbered(0));
    let site = |host: &str, origin: &Origin| {
        format!("[[sites]]\nhosts = [\"{host}\"]\n[[sites.origins]]\nurl = \"{}\"\nhost = \"client\"\n", origin.url())
    };
    let toml = format!("{}{}", site("one.example", &one), site("two.example", &two));
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&toml).started();
    assert_eq!(get(&node, "One.example:80", "/ipfs/bafkqaaa").status, 200);
    assert_eq!(get(&node, "two.example", "/").status, 200);
    assert_eq!(one.asked()[0].target(), "/ipfs/bafkqaaa");
    assert_eq!(one.asked()[0].field("host").as_deref(), Some("One.example:80"));
    assert_eq!(two.asked().len(), 1);
    // The node's own names are not theirs.
    assert_eq!(get(&node, "127.0.0.1", "/ipfs/bafkqaaa").status, 200);
    assert_eq!(get(&node, "three.example", "/").status, 404);
    assert_eq!((one.asked().len(), two.asked().len()), (1, 1));
}

#[test]
fn what_is_wrong_with_a_site_is_said_before_anything_starts() {
    let toml = "[[sites]]\nhosts = [\"A.example\"]\n[[sites.origins]]\nurl = \"nowhere\"\n[cache]\nobject_mib = 9999\n";
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(toml);
    let said = node.run(&["config"]);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success());
    for part in ["3 problems", "site 1, hosts: `A.example`", "site 1, origins.url: `nowhere`", "cache.object_mib"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let said = node.run(&["front", "ftp://a.example"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("origins.url: `ftp://a.example`"));
}

#[test]
fn visitors_are_answered_while_the_server_restarts() {
    let mut origin = numbered(1);
    let mut front = Node::home(env!("CARGO_BIN_EXE_atoll"));
    front.start_as(&["front", &origin.url()]);
    assert_eq!(get(&front, "a.example", "/").text(), "0");
    origin.close();
    // It becomes stale, and serves on.
    until("it is stale", || {
        let reply = get(&front, "a.example", "/");
        assert_eq!((reply.status, reply.text()), (200, "0"));
        reply.header("cache-status").unwrap().contains("; fwd=stale")
    });
}
