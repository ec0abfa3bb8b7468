//! What is asked for again and again is sent from a sealed file: the same bytes, however they are asked for.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use atoll_core::Cid;

use crate::support::{Gateway, Memory, Reply, config, imported};

/// Over the bytes from which on a body is sealed, in one leaf.
const ONE_LEAF: usize = 300_000;
/// In several leaves, and more than a socket takes at once.
const LEAVES: usize = 7_500_001;
/// More requests than it takes to have a body sealed.
const ROUNDS: usize = 6;

fn noise(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|at| ((at + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

fn site() -> (Memory, Cid) {
    imported(&[("one", &noise(ONE_LEAF, 1)), ("leaves", &noise(LEAVES, 2)), ("small", b"small")])
}

/// A gateway whose large files are sealed.
fn sealed() -> (Gateway, Cid) {
    let (memory, root) = site();
    let mut config = config();
    config.hot.body_mib = 8;
    let gateway = Gateway::with(&config, memory);
    for (count, (file, bytes)) in [("one", noise(ONE_LEAF, 1)), ("leaves", noise(LEAVES, 2))].into_iter().enumerate() {
        for _ in 0..ROUNDS {
            let reply = gateway.get(format!("/ipfs/{root}/{file}"), &[]);
            assert_eq!(reply.status, 200);
            assert!(reply.body == bytes, "{file}");
        }
        assert_eq!(gateway.running.kept().load().sealed, count + 1);
    }
    (gateway, root)
}

#[test]
fn what_is_small_is_not_sealed() {
    let (memory, root) = site();
    let gateway = Gateway::over(memory);
    for _ in 0..ROUNDS {
        assert_eq!(gateway.get(format!("/ipfs/{root}/small"), &[]).body, b"small");
    }
    assert_eq!(gateway.running.kept().load().sealed, 0);
}

#[test]
fn ranges_and_heads_are_of_the_same_bytes() {
    let (gateway, root) = sealed();
    let bytes = noise(LEAVES, 2);
    let target = format!("/ipfs/{root}/leaves");
    for (from, to) in [(0, 0), (0, 70_000), (4095, 4097), (262_143, 3_000_000), (LEAVES - 1, LEAVES - 1)] {
        let reply = gateway.get(&target, &[&format!("Range: bytes={from}-{to}")]);
        assert_eq!(reply.status, 206);
        assert!(reply.body == bytes[from..=to], "{from}-{to}");
    }
    let head = gateway.request("HEAD", "127.0.0.1", &target, &[]);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("7500001"), 0));
    let etag = head.header("etag").unwrap().to_owned();
    assert_eq!(gateway.get(&target, &[&format!("If-None-Match: {etag}")]).status, 304);
}

#[test]
fn pipelined_requests_get_their_own_bytes() {
    let (gateway, root) = sealed();
    let files = ["one", "small", "leaves", "one", "one", "leaves", "small", "small", "leaves"];
    let mut client = gateway.connect();
    let request = |file: &str, more: &str| format!("GET /ipfs/{root}/{file} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n");
    let mut requests: String = files.iter().map(|file| request(file, "")).collect();
    requests += &request("small", "Connection: close\r\n");
    client.write_all(requests.as_bytes()).unwrap();
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).unwrap();
    let mut rest = answers.as_slice();
    for file in files.iter().chain(&["small"]) {
        let bytes = match *file {
            "one" => noise(ONE_LEAF, 1),
            "leaves" => noise(LEAVES, 2),
            _ => b"small".to_vec(),
        };
        let head = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let (answer, after) = rest.split_at(head + bytes.len());
        let reply = Reply::parse(answer, false);
        assert_eq!(reply.status, 200);
        assert!(reply.body == bytes, "{file}");
        rest = after;
    }
    assert!(rest.is_empty());
}

#[test]
fn what_is_forgotten_while_it_is_sent_still_comes_whole() {
    let (gateway, root) = sealed();
    let mut clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = gateway.connect();
            let request = format!("GET /ipfs/{root}/leaves HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
            client.write_all(request.as_bytes()).unwrap();
            // The answer has begun.
            client.peek(&mut [0]).unwrap();
            client
        })
        .collect();
    gateway.running.kept().forget();
    // Other bytes take the memory, if it is free to be taken.
    let other = imported(&[("other", &noise(LEAVES, 3))]);
    let others = Gateway::over(other.0);
    for _ in 0..ROUNDS {
        assert!(others.get(format!("/ipfs/{}/other", other.1), &[]).body == noise(LEAVES, 3));
    }
    for client in &mut clients {
        let mut answer = Vec::new();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.read_to_end(&mut answer).unwrap();
        assert!(Reply::parse(&answer, false).body == noise(LEAVES, 2));
    }
    assert_eq!(gateway.running.kept().load().sealed, 0);
}
