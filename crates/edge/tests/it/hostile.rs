//! Clients that break rules, or take all the time there is.

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::{Gateway, Memory, Reply, config, imported};

fn small() -> (Memory, String) {
    let (memory, root) = imported(&[("a", b"calm")]);
    (memory, format!("/ipfs/{root}/a"))
}

#[test]
fn what_is_no_request_is_answered_400_and_closed() {
    let (memory, target) = small();
    let gateway = Gateway::over(memory);
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(17 * 1024));
    for (request, status) in [
        ("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03 a TLS hello\r\n\r\n".to_owned(), 400),
        ("GET\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.10\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost : localhost\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n folded: x\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n".to_owned(), 400),
        (format!("GET {target} HTTP/1.1\r\nConnection: close\r\n\r\n"), 400),
        (format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n"), 400),
        (format!("GET {target} HTTP/1.1\r\nHost: a@b\r\nConnection: close\r\n\r\n"), 400),
        (format!("GET http://other.example{target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"), 400),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_owned(), 400),
        ("CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\nConnection: close\r\n\r\n".to_owned(), 403),
        (long.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"), 400),
    ] {
        let reply = Reply::parse(&gateway.exchange(&request), false);
        assert_eq!(reply.status, status, "{}", request.get(..80).unwrap_or(&request));
    }
    // The server is none the worse.
    assert_eq!(gateway.get(&target, &[]).text(), "calm");
}

#[test]
fn a_head_has_limits() {
    let (memory, target) = small();
    let gateway = Gateway::over(memory);
    let large = format!("X: {}", "x".repeat(33 * 1024));
    assert_eq!(gateway.get(&target, &[&large]).status, 431);
    let many: Vec<String> = (0..101).map(|n| format!("X-{n}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(gateway.get(&target, &many).status, 431);
    let fits = format!("X: {}", "x".repeat(30 * 1024));
    assert_eq!(gateway.get(&target, &[&fits]).status, 200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (memory, root) = imported(&[("a", b"one"), ("b", b"two")]);
    let gateway = Gateway::over(memory);
    let get = |name: &str, end: &str| format!("GET /ipfs/{root}/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n{end}\r\n");
    let answer = gateway.exchange(get("a", "") + &get("none", "") + &get("b", "Connection: close\r\n"));
    let answer = String::from_utf8(answer).unwrap();
    let at = |text: &str| answer.find(text).unwrap();
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 3);
    assert!(at("one") < at("404 Not Found") && at("404 Not Found") < at("two"));
}

#[test]
fn a_head_that_trickles_in_is_cut_off() {
    let (memory, _) = small();
    let mut config = config();
    config.timeouts.head = Duration::from_secs(1);
    let gateway = Gateway::with(&config, memory);
    let mut tcp = gateway.connect();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
    let mut slow = tcp.try_clone().unwrap();
    // One byte at a time does not make the time start anew.
    let trickle = std::thread::spawn(move || {
        while slow.write_all(b"a").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer);
    assert!(answer.is_empty());
    trickle.join().unwrap();
}

#[test]
fn a_connection_without_requests_is_closed() {
    let (memory, target) = small();
    let mut config = config();
    config.timeouts.idle = Duration::from_secs(1);
    let gateway = Gateway::with(&config, memory);
    let mut silent = gateway.connect();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    let kept = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let reply = Reply::parse(&gateway.exchange(kept), false);
    assert_eq!((reply.status, reply.complete), (200, true));
}

#[test]
fn a_reader_that_takes_nothing_is_cut_off() {
    let (memory, root) = imported(&[("big", &vec![1; 30_000_000])]);
    let mut config = config();
    config.timeouts.slow_reader = Duration::from_secs(1);
    let gateway = Gateway::with(&config, memory);
    let mut tcp = gateway.connect();
    write!(tcp, "GET /ipfs/{root}/big HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    while gateway.counters.totals().requests() == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let totals = gateway.counters.totals();
    assert_eq!((totals.broken, gateway.running.connections()), (1, 0));
}

#[test]
fn blocks_that_never_come_end_in_504_with_the_step() {
    let (memory, root) = imported(&[("a.txt", b"a"), ("many/x", b"x")]);
    let leaf = *memory.blocks.iter().find(|(_, bytes)| &bytes[..] == b"a").unwrap().0;
    memory.hanging.lock().unwrap().insert(leaf);
    let mut config = config();
    config.timeouts.resolve = Duration::from_millis(50);
    let gateway = Gateway::with(&config, memory);
    for format in ["", "?format=raw", "?format=car"] {
        let reply = gateway.get(format!("/ipfs/{root}/a.txt{format}"), &[]);
        assert_eq!((reply.status, reply.header("retry-after")), (504, Some("5")), "{format}");
        assert!(reply.text().contains("path could not be followed"));
    }
    assert_eq!(gateway.get(format!("/ipfs/{root}/many/x"), &[]).status, 200);
}

#[test]
fn no_form_waits_for_ever_for_what_its_path_leads_to() {
    let bytes: Vec<u8> = (0..750_000_u32).flat_map(u32::to_le_bytes).collect();
    let names: Vec<String> =
        (0..6_000).map(|n| format!("wide/entry {n} with a name that makes the directory large")).collect();
    let mut files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    files.push(("big.bin", &bytes));
    let (memory, root) = imported(&files);
    // Whatever is neither of the two directories on the way nor the file's own node: leaves and shards.
    let on_the_way = |path: &[&str]| {
        let trail = atoll_content::reader::trail(&memory, &root, path);
        futures_util::FutureExt::now_or_never(trail).unwrap().unwrap()
    };
    // A directory is searched for its index before it is listed.
    let known = [on_the_way(&["wide", "index.html"]), on_the_way(&["big.bin"])].concat();
    let others: Vec<_> = memory.blocks.keys().filter(|cid| !known.contains(cid)).copied().collect();
    memory.hanging.lock().unwrap().extend(others);
    let mut config = config();
    (config.timeouts.first_byte, config.timeouts.chunk) = (Duration::from_millis(50), Duration::from_millis(50));
    let gateway = Gateway::with(&config, memory);
    let get = |target: &str, headers: &[&str]| gateway.get(format!("/ipfs/{root}/{target}"), headers);
    for (target, header, step) in [
        ("big.bin", "X-None: 1", "beginning of the content"),
        ("big.bin?filename=x", "X-None: 1", "beginning of the content"),
        ("big.bin", "Range: bytes=2000000-2000010", "beginning of the content"),
        ("wide/?x", "X-None: 1", "entries of the directory"),
    ] {
        let reply = get(target, &[header]);
        assert_eq!((reply.status, reply.header("retry-after")), (504, Some("5")), "{target} {header}");
        assert!(reply.text().contains(step), "{target}: {}", reply.text());
    }
    // What begins with bytes of its own is broken off.
    for target in ["big.bin?format=car", "wide?format=car&dag-scope=entity", "big.bin?format=tar", "wide?format=tar"] {
        let reply = get(target, &[]);
        assert_eq!((reply.status, reply.complete), (200, false), "{target}");
    }
    assert_eq!(gateway.running.kept().load().waiting, 0);
}

#[test]
fn a_body_that_stops_coming_is_broken_off() {
    let (memory, root) = imported(&[("big.bin", &(0..750_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>())]);
    let first =
        memory.blocks.values().filter(|bytes| bytes.len() == 1024 * 1024).map(|bytes| bytes[0]).collect::<Vec<_>>();
    assert_eq!(first.len(), 2);
    let last = *memory.blocks.iter().find(|(_, bytes)| bytes.len() > 500_000 && bytes.len() < 1024 * 1024).unwrap().0;
    memory.hanging.lock().unwrap().insert(last);
    let mut config = config();
    config.timeouts.chunk = Duration::from_millis(50);
    let gateway = Gateway::with(&config, memory);
    for target in ["/big.bin", "?format=car"] {
        let reply = gateway.get(format!("/ipfs/{root}{target}"), &[]);
        assert_eq!((reply.status, reply.complete), (200, false), "{target}");
    }
}

#[test]
fn error_pages_hold_nothing_that_was_sent() {
    let (memory, target) = small();
    let gateway = Gateway::over(memory);
    let hostile = "%3Cscript%3Ealert(1)%3C/script%3E";
    for target in [format!("{target}/{hostile}"), format!("/{hostile}"), format!("/ipfs/{hostile}")] {
        let reply = gateway.get(&target, &["Accept: text/html"]);
        assert!(reply.status == 404 || reply.status == 400);
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(!reply.text().contains("script"), "{}", reply.text());
    }
}

#[test]
fn the_guard_stands_before_the_parser() {
    let (memory, target) = small();
    let gateway = Gateway::over(memory);
    assert_eq!(gateway.get(&target, &[]).status, 200);
    // Each of these the parser alone would take.
    for fields in [
        "X: a line feed alone\nY: z\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
    ] {
        let request = format!("POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n0\r\n\r\n");
        let refused = Reply::parse(&gateway.exchange(request), false);
        assert_eq!((refused.status, refused.header("connection")), (400, Some("close")), "{fields:?}");
    }
    assert_eq!(gateway.counters.totals().requests(), 1);
}
