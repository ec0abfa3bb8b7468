//! Parts of large objects: only what is wanted is fetched, it is fetched once, and two versions never meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use atoll_testkit::http::{Reply, request};
use atoll_testkit::origin::{Asked, Origin};
use atoll_testkit::process::Node;
use atoll_testkit::trial::{noise, until};

use crate::figure;

const LEN: usize = 40_000_000;
const SLICE: usize = 1024 * 1024;

/// A server of one large object, of which there are versions: it knows ranges and `If-Range`.
fn origin(version: &Arc<AtomicU64>, sent: &Arc<AtomicU64>) -> Origin {
    use std::io::Write as _;
    let (version, sent) = (Arc::clone(version), Arc::clone(sent));
    Origin::writing(move |asked: &Asked, tcp| {
        let number = version.load(Ordering::SeqCst);
        let (body, tag) = (noise(number, LEN), format!("\"v{number}\""));
        let fields =
            format!("ETag: {tag}\r\nAccept-Ranges: bytes\r\nCache-Control: max-age=3600\r\nConnection: close\r\n");
        let same = asked.field("if-range").is_none_or(|condition| condition == tag);
        let range = asked.field("range").filter(|_| same).map(|range| {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            first.parse::<usize>().unwrap()..last.parse::<usize>().map_or(LEN, |last| LEN.min(last + 1))
        });
        let (head, part) = match range {
            None => (format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n"), &body[..]),
            Some(range) => {
                let (len, last) = (range.len(), range.end - 1);
                let head = format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Length: {len}\r\nContent-Range: bytes {}-{last}/{LEN}\r\n",
                    range.start
                );
                (head, &body[range])
            }
        };
        if tcp.write_all(format!("{head}{fields}\r\n").as_bytes()).is_ok() {
            for piece in part.chunks(64 * 1024) {
                if tcp.write_all(piece).is_err() {
                    return;
                }
                sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
        }
    })
}

fn get(node: &Node, fields: &[&str]) -> Reply {
    request(node.gateway(), "GET", "a.example", "/film", fields)
}

fn range(node: &Node, first: usize, last: usize) -> Reply {
    let reply = get(node, &[&format!("Range: bytes={first}-{last}")]);
    assert_eq!(reply.status, 206, "{:?}", reply.headers);
    assert_eq!(reply.header("content-range").unwrap(), format!("bytes {first}-{last}/{LEN}"));
    reply
}

#[test]
fn parts_of_a_large_object_are_fetched_once_and_survive() {
    let (version, sent) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
    let origin = origin(&version, &sent);
    let mut node = Node::home(env!("CARGO_BIN_EXE_atoll"));
    node.start_as(&["front", &origin.url()]);
    let whole = noise(1, LEN);
    let at = 10 * SLICE + 17;
    assert_eq!(range(&node, at, at + 99).body, whole[at..at + 100]);
    // The whole was begun, and given up.
    assert!(sent.load(Ordering::SeqCst) < 16 << 20, "{}", sent.load(Ordering::SeqCst));
    let asked = origin.asked().len();
    let hit = range(&node, at + 5, at + 1000);
    assert!(hit.body == whole[at + 5..=at + 1000] && hit.header("cache-status").unwrap().contains("; hit"));
    assert_eq!(origin.asked().len(), asked, "it was asked for again");
    // Over the border of two slices, one of which is there.
    let border = 11 * SLICE;
    assert_eq!(range(&node, border - 10, border + 9).body, whole[border - 10..border + 10]);
    assert_eq!(origin.asked().len(), asked + 1);
    let told = origin.asked().last().unwrap().clone();
    assert_eq!(told.field("range").unwrap(), format!("bytes={border}-{}", border + SLICE - 1));
    assert_eq!(told.field("if-range").as_deref(), Some("\"v1\""));
    // The last slice is shorter; what lies behind the end is not there.
    assert_eq!(get(&node, &["Range: bytes=-5"]).body, whole[LEN - 5..]);
    assert_eq!(get(&node, &["Range: bytes=40000000-"]).status, 416);
    assert_eq!(get(&node, &["Range: bytes=0-9", "If-None-Match: \"v1\""]).status, 304);
    // After a crash they are there still.
    let asked = origin.asked().len();
    // The head and three slices.
    until("they are on disk", || figure(&node, "atoll_cache_disk_responses_total{event=\"written\"}") >= 4);
    node.kill();
    node.start_as(&["front", &origin.url()]);
    assert_eq!(range(&node, at, border + 9).body, whole[at..border + 10]);
    assert_eq!(origin.asked().len(), asked);
    // The whole is made of what is there, and of what is still fetched.
    let all = get(&node, &[]);
    assert!(all.status == 200 && all.complete && all.body == whole, "{} bytes", all.body.len());
    let slices = LEN.div_ceil(SLICE);
    assert_eq!(origin.asked().len(), asked + slices - 3);
    assert_eq!(request(node.gateway(), "HEAD", "a.example", "/film", &[]).header("content-length"), Some("40000000"));
    // A purge takes all of it.
    node.json(&["purge", "https://a.example/film"]);
    let asked = origin.asked().len();
    range(&node, at, at + 9);
    assert!(origin.asked().len() > asked);
}

#[test]
fn slices_of_two_versions_never_meet() {
    let (version, sent) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
    let mut origin = origin(&version, &sent);
    let mut node = Node::home(env!("CARGO_BIN_EXE_atoll"));
    node.start_as(&["front", &origin.url()]);
    assert_eq!(range(&node, 0, 9).body, noise(1, 10));
    version.store(2, Ordering::SeqCst);
    // What is stored is fresh, and counts; what is not is of another version, which is noticed before anything is sent.
    assert_eq!(range(&node, 0, 9).body, noise(1, 10));
    let new = noise(2, LEN);
    let reply = range(&node, 5 * SLICE, 5 * SLICE + 9);
    assert_eq!(reply.body, new[5 * SLICE..5 * SLICE + 10]);
    assert_eq!(range(&node, 0, 9).body, new[..10], "the old version is gone as a whole");
    // Many at once ask for each slice once.
    let asked = origin.asked().len();
    thread::scope(|scope| {
        for n in 0..16 {
            let (node, new) = (&node, &new);
            scope.spawn(move || {
                let first = 20 * SLICE + n;
                assert_eq!(range(node, first, first + 2 * SLICE).body, new[first..=first + 2 * SLICE]);
            });
        }
    });
    assert_eq!(origin.asked().len(), asked + 3);
    // Without the server, what is stored serves on, and what is not is its failure.
    origin.close();
    let missing = get(&node, &[&format!("Range: bytes={}-{}", 30 * SLICE, 30 * SLICE + 9)]);
    assert_eq!(missing.status, 502);
    assert_eq!(range(&node, 0, 9).body, new[..10]);
}
