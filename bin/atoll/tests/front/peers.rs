//! What passes through to servers and from clients that others wrote: WebSocket over HTTP/1.1 and HTTP/2, gRPC's calls, and a server
//! process that dies.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use atoll_testkit::http::request;
use atoll_testkit::process::Node;
use atoll_testkit::trial::{installed, javascript, until};
use serde_json::Value;

/// Something of `peer.mjs` that runs.
struct Peer {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start(modules: &Path, what: &[&str]) -> Self {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/front/peer.mjs");
        let mut command = Command::new(javascript(modules));
        command.arg("--no-warnings").arg(script).arg(what[0]).arg(modules).args(&what[1..]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// One that listens, and its port.
    fn listening(modules: &Path, what: &[&str]) -> (Self, u64) {
        let mut peer = Self::start(modules, what);
        let port = peer.said()["port"].as_u64().unwrap();
        (peer, port)
    }

    /// What it says next.
    fn said(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn websockets_pass_both_ways_until_one_side_closes() {
    let Some(modules) = installed("ATOLL_NODE_MODULES") else { return };
    let (mut server, port) = Peer::listening(&modules, &["server", "echo"]);
    let (front, _) = crate::secure(&format!("http://127.0.0.1:{port}"), "client");
    let mut client = Peer::start(&modules, &["client", &format!("ws://{}/chat?room=1", front.gateway())]);
    let found = serde_json::json!({ "text": "hello", "same": true, "ponged": "are you there", "protocol": "chat", "closed": 4001 });
    assert_eq!(client.said(), found);
    assert_eq!(server.said(), serde_json::json!({ "closed": 4001, "reason": "done", "via": "1.1 atoll" }));
    // Over HTTP/2, where the visitor's key is made here, and what the site does not let be is refused.
    let (url, certificate) = (format!("https://{}", front.secure()), front.path("cert.pem"));
    let mut client = Peer::start(&modules, &["extended", &url, certificate.to_str().unwrap()]);
    let found = serde_json::json!({ "enabled": true, "other": 405, "status": 200, "echo": "hello", "head": [0x81, 5] });
    assert_eq!(client.said(), found);
    let figures = request(front.admin(), "GET", "127.0.0.1", "/metrics", &[]);
    assert!(figures.text().contains("atoll_front_requests_total{outcome=\"switched\"} 2"), "{}", figures.text());
}

#[test]
fn calls_stream_both_ways_and_trailers_follow_from_an_http2_server() {
    let Some(modules) = installed("ATOLL_NODE_MODULES") else { return };
    let (_server, port) = Peer::listening(&modules, &["grpc"]);
    let site = format!(
        "[[sites]]\nhosts = [\"shop.example\"]\n[[sites.origins]]\nurl = \"http://127.0.0.1:{port}\"\nhttp2 = true\nhost = \"client\"\n"
    );
    let front = crate::secured(&site);
    let (url, certificate) = (format!("https://{}", front.secure()), front.path("cert.pem"));
    let mut client = Peer::start(&modules, &["call", &url, certificate.to_str().unwrap()]);
    let found = serde_json::json!({
        "first": "one", "second": "two", "status": "0", "authority": "shop.example", "te": "trailers",
    });
    assert_eq!(client.said(), found);
    // And visitors who speak HTTP/1.1 are answered by it as well.
    let reply = request(front.gateway(), "GET", "shop.example", "/", &[]);
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/grpc")));
}

/// A site with these servers.
fn site(ports: &[u64], more: &str) -> String {
    let origin = |port: &u64| format!("[[sites.origins]]\nurl = \"http://127.0.0.1:{port}\"\n");
    let origins: String = ports.iter().map(origin).collect();
    format!("[[sites]]\nhosts = [\"shop.example\"]\n{origins}{more}")
}

#[test]
fn visitors_do_not_notice_that_a_server_dies() {
    let Some(modules) = installed("ATOLL_NODE_MODULES") else { return };
    let (one, port) = Peer::listening(&modules, &["server", "one"]);
    let (_two, other) = Peer::listening(&modules, &["server", "two"]);
    let probes = "[sites.pool]\nslow_start = \"0s\"\n[sites.pool.probe]\npath = \"/\"\ninterval = \"100ms\"\n";
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&site(&[port, other], probes)).started();
    let gateway = node.gateway();
    let over = Arc::new(AtomicBool::new(false));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                let mut replies = Vec::new();
                while !over.load(Ordering::SeqCst) {
                    let reply = request(gateway, "GET", "shop.example", "/", &[]);
                    replies.push((reply.status, reply.text().to_owned()));
                }
                replies
            })
        })
        .collect();
    let ready = |n: usize| node.status()["sites"][0]["origins"][n]["ready"] == true;
    let now = || request(gateway, "GET", "shop.example", "/", &[]).text().to_owned();
    until("the first answers", || now() == "one");
    drop(one);
    until("it is left out", || !ready(0));
    assert_eq!(now(), "two");
    let (_again, _) = Peer::listening(&modules, &["server", "one", &port.to_string()]);
    until("it is back", || now() == "one");
    over.store(true, Ordering::SeqCst);
    let replies: Vec<_> = visitors.into_iter().flat_map(|visitor| visitor.join().unwrap()).collect();
    let failed: Vec<_> = replies.iter().filter(|(status, _)| *status != 200).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), replies.len());
    assert!(replies.iter().any(|(_, text)| text == "two"));
    println!("{} requests, 0 failed", replies.len());
}

#[test]
fn a_drill_says_what_visitors_meet() {
    let Some(modules) = installed("ATOLL_NODE_MODULES") else { return };
    let (one, port) = Peer::listening(&modules, &["server", "one"]);
    let (_two, other) = Peer::listening(&modules, &["server", "two"]);
    let quick = "[sites.pool]\nejected = \"1s\"\nhedge = \"100ms\"\n";
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&site(&[port, other], quick)).started();
    let drill = node.json(&["drill", "shop.example", "--seconds", "2", "--hang"]);
    assert_eq!((&drill["failed"], &drill["site"]), (&0.into(), &"shop.example".into()), "{drill}");
    let steps = drill["steps"].as_array().unwrap();
    let names: Vec<_> = steps.iter().map(|step| step["name"].as_str().unwrap().replace("127.0.0.1:", "")).collect();
    let wanted = [
        "calm".to_owned(),
        format!("{port} dead"),
        format!("{port} back"),
        format!("{port} hangs"),
        format!("{port} back"),
        format!("{other} dead"),
        format!("{other} back"),
        format!("{other} hangs"),
        format!("{other} back"),
    ];
    assert_eq!(names, wanted);
    assert!(steps[1]["switch_seconds"].is_number() && steps[1]["back_seconds"].is_number(), "{drill}");
    assert_eq!(node.status()["drills"][0], drill);
    // Whoever has one server is told the truth.
    drop(one);
    let said = node.run(&["drill", "nowhere.example"]);
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains("no site"));
    let lonely = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&site(&[other], "")).started();
    let said = lonely.run(&["drill", "shop.example", "--seconds", "1", "--json"]);
    let drill: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(drill["failed"].as_u64().unwrap() > 0, "{drill}");
    assert!(lonely.run(&["status", "--json"]).status.success());
}

#[test]
fn a_server_can_refuse_whoever_is_not_the_node() {
    let Some(modules) = installed("ATOLL_NODE_MODULES") else { return };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/front/signs.mjs");
    let mut node = Node::home(env!("CARGO_BIN_EXE_atoll")).started();
    let status = node.status();
    let text = |name: &str| status[name].as_str().unwrap().to_owned();
    let mut command = Command::new(javascript(&modules));
    command.arg(script).args([text("answer_key"), text("node_id")]).env("ATOLL_NODE_MODULES", &modules);
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut server = Peer { process, lines };
    let port = server.lines.next().unwrap().unwrap();
    node.stop();
    let origin = |host: &str, more: &str| {
        format!(
            "[[sites]]\nhosts = [\"{host}\"]\n[[sites.origins]]\nurl = \"http://127.0.0.1:{}\"\n{more}\n",
            port.trim()
        )
    };
    let toml = origin("signs.example", "sign = true\nhost = \"Client.example:80\"") + &origin("plain.example", "");
    let node = node.configured(&toml).started();
    let ask = |host: &str, method: &str, target: &str| {
        // What a visitor signs, or pretends to, counts for nothing.
        let lies = ["Signature-Input: atoll=(\"@method\");keyid=\"x\"", "Signature: atoll=:AAAA:", "Content-Length: 0"];
        let reply = request(node.gateway(), method, host, target, &lies);
        (reply.status, reply.text().to_owned())
    };
    for (method, target) in [("GET", "/"), ("GET", "/a%20b?c=d&e"), ("POST", "/order?"), ("DELETE", "/x//y")] {
        assert_eq!(ask("signs.example", method, target), (200, format!("signed {method} {target}")));
    }
    assert_eq!(ask("plain.example", "GET", "/"), (403, "refused".to_owned()));
}
