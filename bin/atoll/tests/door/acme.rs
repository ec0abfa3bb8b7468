//! Certificates from a real ACME server, for a real node.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use atoll_testkit::http::request;
use atoll_testkit::origin::Origin;
use atoll_testkit::process::Node;
use atoll_testkit::trial::{installed, until};
use serde_json::json;

use crate::INLINE;
use crate::pebble::{Pebble, free_port};

fn programs() -> Option<PathBuf> {
    installed("ATOLL_PEBBLE")
}

/// A node that asks these authorities for certificates.
fn node(names: &[String], authorities: &[String]) -> Node {
    unstarted(names, authorities).started()
}

fn unstarted(names: &[String], authorities: &[String]) -> Node {
    let toml = format!(
        "[certs.acme]\nagree = true\nretry = \"200ms\"\nretry_max = \"2s\"\nnames = {names:?}\nauthorities = [{}]\n",
        authorities.join(", ")
    );
    Node::home(env!("CARGO_BIN_EXE_atoll")).set(&["gateway.tls.listen=127.0.0.1:0"]).configured(&toml)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("site{number}.example")).collect()
}

fn metric(node: &Node, line: &str) -> Option<u64> {
    let reply = request(node.admin(), "GET", "127.0.0.1", "/metrics", &[]);
    reply.text().lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
}

#[test]
fn a_hundred_of_a_hundred_are_issued_although_one_authority_is_away() {
    let Some(programs) = programs() else { return };
    let mut pebble = Pebble::new(&programs);
    let away = format!("{{ directory = \"https://127.0.0.1:{}/dir\" }}", free_port());
    let names = names(100);
    let node = node(&names, &[away, pebble.authority("")]);
    pebble.start(node.gateway().port(), node.secure().port(), json!({}));
    let visitor = pebble.visitor();
    for name in &names {
        let served = || visitor.get(node.secure(), name, INLINE).is_ok_and(|(reply, _)| reply.status == 200);
        until(name, served);
    }
    for file in ["node/tls/acme/certificates", "node/tls/acme/accounts"] {
        for entry in std::fs::read_dir(node.path(file)).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}

#[test]
fn what_was_issued_is_there_after_a_kill_without_any_authority() {
    let Some(programs) = programs() else { return };
    let mut pebble = Pebble::new(&programs);
    let mut node = node(&names(1), &[pebble.authority("")]);
    // Nobody answers where certificates are looked for: the name is seen over HTTP then.
    pebble.start(node.gateway().port(), free_port(), json!({}));
    let visitor = pebble.visitor();
    let served = |node: &Node| visitor.get(node.secure(), "site0.example", INLINE).ok().map(|(_, shown)| shown);
    until("a certificate", || served(&node).is_some());
    let shown = served(&node);
    pebble.stop();
    node.kill();
    node.start();
    assert_eq!(served(&node), shown);
}

#[test]
fn a_name_that_somebody_allows_gets_one_on_demand() {
    let Some(programs) = programs() else { return };
    let mut pebble = Pebble::new(&programs);
    let judge = Origin::writing(|asked, tcp| {
        let status = if asked.target() == "/allowed?domain=wanted.example" { "200 OK" } else { "404 Not Found" };
        tcp.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
    });
    let ask = format!("certs.acme.on_demand.ask={}/allowed", judge.url());
    let mut node = unstarted(&[], &[pebble.authority("")]).set(&[&ask, "gateway.tls.handshake_timeout=60s"]);
    node.start();
    pebble.start(node.gateway().port(), node.secure().port(), json!({}));
    let visitor = pebble.visitor();
    let asks = |node: &Node, name: &str| visitor.get(node.secure(), name, INLINE).map(|(_, shown)| shown);
    // They wait for it, all for one order.
    let shown: Vec<_> = std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..4).map(|_| scope.spawn(|| asks(&node, "wanted.example").unwrap())).collect();
        visitors.into_iter().map(|visitor| visitor.join().unwrap()).collect()
    });
    assert!(shown.iter().all(|one| *one == shown[0]));
    for _ in 0..3 {
        assert!(asks(&node, "other.example").is_err());
        assert!(asks(&node, "127.0.0.1.example").is_err());
    }
    let asked: Vec<_> = judge.asked().iter().map(|asked| asked.target().to_owned()).collect();
    assert_eq!(asked, ["wanted", "other", "127.0.0.1"].map(|name| format!("/allowed?domain={name}.example")));
    // What was issued is there without anybody.
    pebble.stop();
    drop(judge);
    node.kill();
    node.start();
    assert_eq!(asks(&node, "wanted.example").unwrap(), shown[0]);
}

#[test]
fn it_is_renewed_in_time_and_an_alarm_tells_when_it_is_not() {
    let Some(programs) = programs() else { return };
    let mut pebble = Pebble::new(&programs);
    let node = node(&names(1), &[pebble.authority(", profile = \"brief\"")]);
    let profiles = json!({ "profiles": { "brief": { "description": "a minute", "validityPeriod": 60 } } });
    pebble.start(node.gateway().port(), node.secure().port(), profiles);
    let visitor = pebble.visitor();
    let served = || visitor.get(node.secure(), "site0.example", INLINE).ok().map(|(_, shown)| shown);
    until("a certificate", || served().is_some());
    let first = served();
    until("its renewal", || served().is_some_and(|shown| Some(shown) != first));
    pebble.stop();
    until("the alarm", || metric(&node, "atoll_certificates_late ") == Some(1));
    assert!(served().is_some());
}

#[test]
fn an_account_made_elsewhere_and_a_profile() {
    let Some(programs) = programs() else { return };
    let mut pebble = Pebble::new(&programs);
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.txt");
    std::fs::write(&key, "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W\n").unwrap();
    let more = format!(", profile = \"shortlived\", key_id = \"kid-1\", key_file = {key:?}");
    let node = node(&names(1), &[pebble.authority(&more)]);
    let settings = json!({
        "externalAccountBindingRequired": true,
        "externalAccountMACKeys": { "kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W" },
        "profiles": {
            "default": { "description": "a quarter", "validityPeriod": 7_776_000 },
            "shortlived": { "description": "six days", "validityPeriod": 518_400 },
        },
    });
    pebble.start(node.gateway().port(), node.secure().port(), settings);
    let end = || metric(&node, "atoll_certificate_end_seconds{name=\"site0.example\",origin=\"acme\"} ");
    until("a certificate", || end().is_some());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((now + 400_000..now + 600_000).contains(&end().unwrap()));
}

#[test]
fn a_certificate_is_taken_back_and_another_one_serves() {
    let Some(programs) = programs() else { return };
    let mut pebble = Pebble::new(&programs);
    let node = node(&names(1), &[pebble.authority("")]);
    pebble.start(node.gateway().port(), node.secure().port(), json!({}));
    let visitor = pebble.visitor();
    let served = || visitor.get(node.secure(), "site0.example", INLINE).ok().map(|(_, shown)| shown);
    until("a certificate", || served().is_some());
    let first = served().unwrap();
    assert!(!node.run(&["certs", "revoke", "other.example"]).status.success());
    let revoked = node.json(&["certs", "revoke", "site0.example", "--reason", "key-compromise"]);
    assert_eq!(revoked["name"], json!("site0.example"));
    // At once, or as soon as the authority gives one.
    assert!(revoked["issued"] == json!(false) || served().is_some_and(|second| second != first));
    until("another certificate", || served().is_some_and(|second| second != first));
    let second = served().unwrap();
    assert_eq!(pebble.status(&first), ("Revoked".to_owned(), Some(1)));
    assert_eq!(pebble.status(&second), ("Valid".to_owned(), None));
    let revoked = node.json(&["certs", "revoke", "site0.example", "--reason", "cessation-of-operation", "--not-again"]);
    assert_eq!(revoked["issued"], json!(false));
    assert_eq!(pebble.status(&second), ("Revoked".to_owned(), Some(5)));
    assert!(served().is_none(), "it is shown no more");
    assert!(!node.path("node/tls/acme/certificates/site0.example.pem").exists());
}
