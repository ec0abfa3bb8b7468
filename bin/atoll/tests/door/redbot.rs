//! REDbot judges what is answered before a server and of content: heads, caching, validation, ranges, codings.

use std::fs;
use std::path::Path;
use std::process::Command;

use atoll_testkit::http::request;
use atoll_testkit::origin::{Asked, Origin};
use atoll_testkit::process::Node;
use atoll_testkit::trial::{installed, noise, until};
use serde_json::Value;

/// REDbot, of a URL.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/door/judge.py");
/// What it finds bad of content, and is as it should be: IPFS wants these of every answer, not of preflights alone (the gateway conformance
/// suite, `TestCors`).
const CONTENT: [&str; 1] = ["CORS_PREFLIGHT_ONLY"];
/// Its warnings of content. What never changes is `public` because other gateways of IPFS say so and some caches store no more than that.
/// Where a folder's path leads may be kept for a while, as caches like. The styles of our listings are in the page itself, and scripts have
/// none.
const DOUBTED: [&str; 3] = ["STORE_PUBLIC_UNNECESSARY", "FRESHNESS_HEURISTIC", "CSP_UNSAFE_INLINE"];
/// What pictures begin with.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What is at a URL, in the eyes of REDbot.
struct Judged {
    url: String,
    said: Value,
}

impl Judged {
    fn of(python: &Path, url: String) -> Self {
        let output = Command::new(python).args([SCRIPT, &url]).output().unwrap();
        let said = serde_json::from_slice(&output.stdout);
        let said = said.unwrap_or_else(|_| panic!("{url}: {}", String::from_utf8_lossy(&output.stderr)));
        Self { url, said }
    }

    /// Nothing is worse than what is let pass.
    fn is_well(&self, status: u16, bad: &[&str], doubted: &[&str]) -> &Self {
        assert_eq!(self.said["status"], status, "{}: {}", self.url, self.said);
        let notes = self.said["notes"].as_array().unwrap();
        assert!(!notes.is_empty(), "{}: nothing was looked at", self.url);
        let passes = |note: &Value| {
            let (level, name) = (note["level"].as_str().unwrap(), note["note"].as_str().unwrap());
            !["bad", "warning"].contains(&level) || bad.contains(&name) || level == "warning" && doubted.contains(&name)
        };
        let found: Vec<_> = notes.iter().filter(|note| !passes(note)).collect();
        assert!(found.is_empty(), "{}: {found:#?}", self.url);
        self
    }

    /// And it found that this is supported.
    fn supports(&self, what: &[&str]) {
        for one in what {
            assert_eq!(self.said["support"][one], true, "{}: {one}: {}", self.url, self.said);
        }
    }
}

fn page() -> Vec<u8> {
    let lines: String = (0..900).map(|n| format!("<p>Line {n} of calm water</p>\n")).collect();
    format!("<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>A shop</title>{lines}").into_bytes()
}

#[test]
fn what_a_server_says_is_passed_on_well() {
    let Some(python) = installed("ATOLL_PYTHON") else { return };
    let origin = Origin::answering(|asked: &Asked| {
        let said = "Cache-Control: max-age=3600\r\nETag: \"1\"\r\nLast-Modified: Fri, 09 Jan 2026 00:00:00 GMT\r\n";
        match asked.target() {
            "/picture.png" => (
                format!("{said}Accept-Ranges: bytes\r\nContent-Type: image/png\r\n"),
                [PNG, &noise(1, 30_000)].concat(),
            ),
            "/now" => ("Cache-Control: no-store\r\nContent-Type: application/json\r\n".to_owned(), b"{}".to_vec()),
            _ => (format!("{said}Content-Type: text/html; charset=utf-8\r\n"), page()),
        }
    });
    let mut front = Node::home(env!("CARGO_BIN_EXE_atoll"));
    front.start_as(&["front", &origin.url()]);
    let host = front.gateway().to_string();
    let coded = || request(front.gateway(), "GET", &host, "/", &["Accept-Encoding: gzip"]);
    until("its page is compressed", || coded().header("content-encoding") == Some("gzip"));
    let judged = |path: &str| Judged::of(&python, format!("http://{}{path}", front.gateway()));
    judged("/").is_well(200, &[], &[]).supports(&["inm", "ims", "gzip"]);
    judged("/picture.png").is_well(200, &[], &[]).supports(&["inm", "ims", "partial"]);
    judged("/now").is_well(200, &[], &[]);
}

#[test]
fn a_server_that_is_gone_is_told_well() {
    let Some(python) = installed("ATOLL_PYTHON") else { return };
    let mut origin = Origin::answering(|_| (String::new(), Vec::new()));
    let mut front = Node::home(env!("CARGO_BIN_EXE_atoll"));
    front.start_as(&["front", &origin.url()]);
    origin.close();
    Judged::of(&python, format!("http://{}/", front.gateway())).is_well(502, &[], &[]);
}

#[test]
fn content_is_answered_well() {
    let Some(python) = installed("ATOLL_PYTHON") else { return };
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).started();
    let site = node.path("site");
    fs::create_dir_all(site.join("listed")).unwrap();
    fs::write(site.join("index.html"), page()).unwrap();
    fs::write(site.join("listed/picture.png"), [PNG, &noise(2, 900_000)].concat()).unwrap();
    let published = node.json(&["publish", site.to_str().unwrap(), "--replicas", "1"]);
    let text = |field: &str| published[field].as_str().unwrap().to_owned();
    let (root, name, port) = (text("root"), text("name"), node.gateway().port());
    let judged = |host: &str, path: &str| Judged::of(&python, format!("http://{host}:{port}{path}"));
    let well = |host: &str, path: &str| {
        judged(host, path).is_well(200, &CONTENT, &DOUBTED).supports(&["inm", "partial"]);
    };
    let (by_root, by_name) = (format!("{root}.ipfs.localhost"), format!("{name}.ipns.localhost"));
    well("127.0.0.1", &format!("/ipfs/{root}/"));
    well("127.0.0.1", &format!("/ipfs/{root}/listed/picture.png"));
    for host in [&by_root, &by_name] {
        well(host, "/");
        well(host, "/listed/picture.png");
        judged(host, "/listed/").is_well(200, &CONTENT, &DOUBTED).supports(&["inm"]);
        judged(host, "/listed").is_well(301, &CONTENT, &DOUBTED);
        judged(host, "/nowhere").is_well(404, &CONTENT, &DOUBTED);
    }
    judged("127.0.0.1", &format!("/ipfs/{root}?format=car")).is_well(200, &CONTENT, &DOUBTED);
    judged("127.0.0.1", &format!("/ipfs/{root}?format=raw")).is_well(200, &CONTENT, &DOUBTED);
    judged("localhost", &format!("/ipfs/{root}/")).is_well(301, &CONTENT, &DOUBTED);
}
