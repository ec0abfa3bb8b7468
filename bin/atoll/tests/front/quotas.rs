//! Two sites of one node: what the one does takes nothing from the other.

use std::io::{Read as _, Write as _};

use atoll_testkit::http::{Reply, connect, request};
use atoll_testkit::origin::{Asked, Origin};
use atoll_testkit::process::Node;
use atoll_testkit::trial::{noise, until};

use crate::figure;

fn origin(len: usize) -> Origin {
    Origin::answering(move |asked: &Asked| {
        let seed = asked.target().bytes().fold(1, |seed: u64, byte| seed * 31 + u64::from(byte));
        ("Cache-Control: max-age=3600\r\n".to_owned(), noise(seed, len))
    })
}

fn site(host: &str, origin: &Origin, quota: &str) -> String {
    let url = origin.url();
    format!("[[sites]]\nhosts = [\"{host}\"]\n[[sites.origins]]\nurl = \"{url}\"\n[sites.quota]\n{quota}\n")
}

fn get(node: &Node, host: &str, target: &str) -> Reply {
    request(node.gateway(), "GET", host, target, &[])
}

fn is_hit(reply: &Reply) -> bool {
    assert_eq!(reply.status, 200);
    reply.header("cache-status").unwrap().contains("; hit")
}

#[test]
fn who_scans_empties_only_its_own_cache() {
    let (small, large) = (origin(50_000), origin(500_000));
    let toml = format!(
        "{}{}[cache]\nmemory_mib = 8\ndisk_mib = 16\nobject_mib = 1\n",
        site("calm.example", &small, ""),
        site("scan.example", &large, "memory_mib = 4\ndisk_mib = 16"),
    );
    let mut node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&toml).started();
    for n in 0..20 {
        assert!(!is_hit(&get(&node, "calm.example", &format!("/{n}"))));
    }
    for n in 0..200 {
        // Twice, so that it is worth its room on disk too.
        for _ in 0..2 {
            get(&node, "scan.example", &format!("/{n}"));
        }
    }
    for n in 0..20 {
        assert!(is_hit(&get(&node, "calm.example", &format!("/{n}"))), "/{n} was evicted by another site");
    }
    let last = "/199";
    until("it is worth its room", || is_hit(&get(&node, "scan.example", last)));
    assert!(figure(&node, "atoll_front_stored_bytes") < 13 << 20);
    assert!(figure(&node, "atoll_cache_disk_stored_bytes") < 33 << 20);
    // On disk it is the same.
    assert_eq!(node.stop(), Some(0));
    node.start();
    for n in 0..20 {
        assert!(is_hit(&get(&node, "calm.example", &format!("/{n}"))), "/{n} was evicted on disk by another site");
    }
    // A purge finds the cache of its site.
    assert!(is_hit(&get(&node, "scan.example", last)));
    node.json(&["purge", "https://calm.example/", "--prefix"]);
    assert!(is_hit(&get(&node, "scan.example", last)));
    node.json(&["purge", &format!("https://scan.example{last}")]);
    assert!(!is_hit(&get(&node, "scan.example", last)));
    assert!(!is_hit(&get(&node, "calm.example", "/1")));
}

#[test]
fn who_asks_for_too_much_at_once_is_refused_and_others_are_not() {
    let (one, two) = (origin(8_000_000), origin(10));
    let toml = format!("{}{}", site("one.example", &one, "requests = 2"), site("two.example", &two, "requests = 2"));
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&toml).started();
    // Two who take their answers slowly.
    let slow: Vec<_> = (0..2)
        .map(|n| {
            let mut tcp = connect(node.gateway());
            let head = format!("GET /{n} HTTP/1.1\r\nHost: one.example\r\nConnection: close\r\n\r\n");
            tcp.write_all(head.as_bytes()).unwrap();
            let mut first = [0; 1000];
            tcp.read_exact(&mut first).unwrap();
            tcp
        })
        .collect();
    let refused = get(&node, "one.example", "/2");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert_eq!(get(&node, "two.example", "/").status, 200);
    assert_eq!(figure(&node, "atoll_front_refused_total{site=\"one.example\",quota=\"requests\"}"), 1);
    drop(slow);
    until("they are gone", || get(&node, "one.example", "/2").status == 200);
}

#[test]
fn who_is_sent_too_much_waits() {
    let large = origin(9_000_000);
    let toml = site("one.example", &large, "egress_mib = 1");
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&toml).started();
    assert_eq!(get(&node, "one.example", "/").body.len(), 9_000_000);
    assert_eq!(get(&node, "one.example", "/").status, 503);
    assert!(figure(&node, "atoll_front_refused_total{site=\"one.example\",quota=\"egress\"}") >= 1);
}
