//! Sites whose content comes from a server elsewhere.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use atoll_edge::front::{CacheConfig, Degree, Fronts, OriginConfig, Outcome, Published, Purge, SiteConfig};
use atoll_testkit::origin::{Asked, Origin};
use atoll_testkit::trial::until;

use crate::support::{Gateway, Memory, Reply, config, services};

/// A gateway before an origin, for every host.
fn before(origin: &Origin, change: impl FnOnce(&mut SiteConfig)) -> (Gateway, Arc<Fronts>) {
    let mut site = SiteConfig {
        hosts: vec!["*".to_owned()],
        origins: vec![OriginConfig { url: origin.url(), ..OriginConfig::default() }],
        ..SiteConfig::default()
    };
    change(&mut site);
    let cache = CacheConfig { memory_mib: 16, object_mib: 1, ..CacheConfig::default() };
    let fronts = Arc::new(Fronts::open(&[site], &cache, ("atoll-test", None), None).unwrap());
    let (mut services, counters) = services(Memory::default());
    services.fronts = Arc::clone(&fronts);
    (Gateway::of(&config(), services, counters), fronts)
}

fn get(gateway: &Gateway, target: &str, fields: &[&str]) -> Reply {
    gateway.request("GET", "shop.example", target, fields)
}

fn status(reply: &Reply) -> &str {
    reply.header("cache-status").unwrap_or_default()
}

/// An origin whose every answer has these fields, and says how often it was asked before.
fn counting(fields: &'static str) -> Origin {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Origin::answering(move |_: &Asked| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        (format!("{fields}\r\n"), n.to_string().into_bytes())
    })
}

/// A gate that many wait at until it is opened.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap());
    }
}

#[test]
fn what_is_fresh_is_asked_for_once() {
    let origin = counting("Cache-Control: max-age=60\r\nETag: \"a\"");
    let (gateway, _) = before(&origin, |_| {});
    let first = get(&gateway, "/a", &[]);
    assert_eq!((first.status, first.text(), first.header("age")), (200, "0", None));
    assert!(status(&first).starts_with("atoll-test; fwd=uri-miss; ttl=") && status(&first).ends_with("; stored"));
    until("it is stored", || status(&get(&gateway, "/a", &[])).starts_with("atoll-test; hit"));
    let second = get(&gateway, "/a", &[]);
    assert_eq!((second.text(), second.header("age")), ("0", Some("0")));
    assert_eq!(get(&gateway, "/a", &["If-None-Match: \"a\""]).status, 304);
    let part = get(&gateway, "/a", &["Range: bytes=0-0"]);
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 0-0/1")));
    assert_eq!(get(&gateway, "/a", &["Range: bytes=7-"]).status, 416);
    let head = gateway.request("HEAD", "shop.example", "/a", &["Range: bytes=0-0"]);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("1"), 0));
    assert_eq!(origin.asked().len(), 1);
    assert_eq!(get(&gateway, "/b", &[]).text(), "1");
    assert_eq!(gateway.request("GET", "other.example", "/a", &[]).text(), "2");
}

#[test]
fn a_stampede_on_one_cold_object_asks_once() {
    const CLIENTS: usize = 100;
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::answering(move |_: &Asked| {
        held.wait();
        ("Cache-Control: max-age=60\r\n".to_owned(), vec![7; 200_000])
    });
    let (gateway, fronts) = before(&origin, |_| {});
    let replies: Vec<Reply> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| get(&gateway, "/cold", &[]))).collect();
        until("all wait", || gateway.running.kept().load().waiting == CLIENTS);
        gate.open();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.complete && reply.body == vec![7; 200_000]));
    assert_eq!(origin.asked().len(), 1);
    assert_eq!(replies.iter().filter(|reply| status(reply).contains("collapsed")).count(), CLIENTS - 1);
    let counted = |outcome| fronts.tally().of(outcome);
    assert_eq!((counted(Outcome::Stored), counted(Outcome::Collapsed)), (1, CLIENTS as u64 - 1));
}

#[test]
fn what_is_for_one_is_shared_with_nobody() {
    for fields in ["Cache-Control: private, max-age=60", "Cache-Control: max-age=60\r\nSet-Cookie: a=b", "Vary: *"] {
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        let count = std::sync::atomic::AtomicUsize::new(0);
        let origin = Origin::answering(move |_: &Asked| {
            held.wait();
            let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            (format!("{fields}\r\n"), n.to_string().into_bytes())
        });
        let (gateway, _) = before(&origin, |_| {});
        let mut bodies: Vec<String> = thread::scope(|scope| {
            let clients: Vec<_> = (0..10).map(|_| scope.spawn(|| get(&gateway, "/mine", &[]))).collect();
            until("all wait", || gateway.running.kept().load().waiting == 10);
            gate.open();
            clients.into_iter().map(|client| client.join().unwrap().text().to_owned()).collect()
        });
        bodies.sort();
        bodies.dedup();
        assert_eq!((bodies.len(), origin.asked().len()), (10, 10), "{fields}");
    }
}

#[test]
fn what_is_stale_answers_while_it_is_validated() {
    let origin = counting("Age: 100\r\nCache-Control: max-age=60, stale-while-revalidate=1000");
    let (gateway, _) = before(&origin, |_| {});
    assert_eq!(get(&gateway, "/a", &[]).text(), "0");
    assert_eq!(get(&gateway, "/a", &[]).text(), "0");
    until("it is validated", || get(&gateway, "/a", &[]).text() != "0");
}

#[test]
fn what_is_stale_answers_when_the_origin_does_not() {
    let mut origin = counting("Age: 100\r\nCache-Control: max-age=60, stale-if-error=1000");
    let (gateway, _) = before(&origin, |site| site.cache.stale_if_error = Duration::ZERO);
    assert_eq!(get(&gateway, "/a", &[]).text(), "0");
    assert_eq!(get(&gateway, "/a", &[]).text(), "1");
    origin.close();
    let stale = get(&gateway, "/a", &[]);
    assert_eq!((stale.status, stale.text()), (200, "1"));
    assert!(status(&stale).starts_with("atoll-test; fwd=stale; ttl=-"), "{}", status(&stale));
    // It is the request that is at fault here, and its sender is to hear of that.
    assert_eq!(get(&gateway, "/a", &["CDN-Loop: atoll-test"]).status, 508);
    let nothing = get(&gateway, "/b", &["Accept: text/html"]);
    assert_eq!((nothing.status, nothing.header("retry-after")), (502, Some("5")));
    assert!(nothing.text().contains("The server that this site comes from cannot be reached"));
}

#[test]
fn the_origin_is_told_who_asks_and_no_lies() {
    let origin = counting("X-Own: 1\r\nKeep-Alive: timeout=9\r\nConnection: x-own");
    let (gateway, _) = before(&origin, |_| {});
    let fields = ["X-Forwarded-For: 10.9.8.7", "X-Own: 1", "Connection: close, x-own", "Accept: a", "TE: trailers"];
    let head: String = fields.map(|field| format!("{field}\r\n")).concat();
    let raw = format!("GET /?q HTTP/1.1\r\nHost: Shop.example\r\n{head}\r\n");
    let reply = Reply::parse(&gateway.exchange(raw), false);
    assert_eq!(
        (reply.header("via"), reply.header("x-own"), reply.header("keep-alive")),
        (Some("1.1 atoll"), None, None)
    );
    let asked = origin.asked().remove(0);
    assert_eq!(asked.target(), "/?q");
    let expected = [
        ("host", origin.url().strip_prefix("http://").map(str::to_owned)),
        ("x-forwarded-for", Some("127.0.0.1".to_owned())),
        ("x-forwarded-host", Some("Shop.example".to_owned())),
        ("x-forwarded-proto", Some("http".to_owned())),
        ("via", Some("1.1 atoll".to_owned())),
        ("cdn-loop", Some("atoll-test".to_owned())),
        ("x-own", None),
        ("accept", Some("a".to_owned())),
        ("te", Some("trailers".to_owned())),
    ];
    for (name, value) in expected {
        assert_eq!(asked.field(name), value, "{name}");
    }
    let looped = get(&gateway, "/", &["CDN-Loop: atoll-test"]);
    assert_eq!((looped.status, origin.asked().len()), (508, 1));
}

#[test]
fn a_change_is_seen_at_once() {
    let origin = counting("Cache-Control: max-age=60\r\nCache-Groups: \"g\"\r\nLocation: /b");
    let (gateway, fronts) = before(&origin, |_| {});
    let now = |target: &str| get(&gateway, target, &[]).text().to_owned();
    assert_eq!((now("/a"), now("/b"), now("/a")), ("0".to_owned(), "1".to_owned(), "0".to_owned()));
    let posted = Reply::parse(
        &gateway
            .exchange("POST /a HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"),
        false,
    );
    assert_eq!((posted.text(), origin.asked()[2].body.as_slice()), ("2", &b"abc"[..]));
    assert_eq!((now("/a"), now("/b")), ("3".to_owned(), "4".to_owned()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let purge = |what: Purge, degree| runtime.block_on(fronts.purge(&what, degree)).unwrap();
    purge(Purge::of("https://shop.example/a", false, None).unwrap(), Degree::Hard);
    assert_eq!((now("/a"), now("/b")), ("5".to_owned(), "4".to_owned()));
    purge(Purge::of("https://shop.example/", false, Some("g")).unwrap(), Degree::Soft);
    assert_eq!((now("/a"), now("/b")), ("6".to_owned(), "7".to_owned()));
    purge(Purge::Everything, Degree::Hard);
    assert_eq!(now("/a"), "8");
}

#[test]
fn bodies_stream_both_ways() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::writing(move |_, tcp| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n5\r\nfirst\r\n";
        tcp.write_all(head.as_bytes()).unwrap();
        held.wait();
        tcp.write_all(b"4\r\nlast\r\n0\r\nx-sum: 9\r\n\r\n").unwrap();
    });
    let (gateway, _) = before(&origin, |_| {});
    let mut tcp = gateway.connect();
    let upload =
        "POST /up HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    tcp.write_all(upload.as_bytes()).unwrap();
    tcp.write_all(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // The first part is here while the last is not yet there.
    while !answer.windows(5).any(|five| five == b"first") {
        read_some(&mut tcp, &mut answer);
    }
    gate.open();
    tcp.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8(answer).unwrap();
    assert!(text.contains("last") && text.ends_with("0\r\nx-sum: 9\r\n\r\n"), "{text}");
    let body = String::from_utf8(origin.asked().remove(0).body).unwrap();
    assert!(body.contains("abc") && body.ends_with("0\r\n\r\n"), "{body}");
}

fn read_some(tcp: &mut TcpStream, into: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    let count = tcp.read(&mut buffer).unwrap();
    assert!(count > 0, "the answer ended: {}", String::from_utf8_lossy(into));
    into.extend_from_slice(&buffer[..count]);
}

#[test]
fn what_is_too_large_is_passed_on_or_refused() {
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let body = large.clone();
    let origin = Origin::writing(move |_, tcp| {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: max-age=60\r\n\r\n";
        // Nobody says how long it is.
        let _ = tcp.write_all(&[head.as_bytes(), &body].concat());
    });
    let (gateway, fronts) = before(&origin, |site| site.upload_mib = 1);
    for _ in 0..2 {
        let reply = get(&gateway, "/large", &[]);
        assert!(reply.complete && reply.body == large, "{} bytes", reply.body.len());
    }
    assert_eq!(origin.asked().len(), 2);
    assert!(fronts.stores()[0].weight() < 1_000_000);
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1048577\r\n\r\n";
    assert_eq!(Reply::parse(&gateway.exchange(upload), false).status, 413);
}

#[test]
fn an_answer_that_breaks_off_is_no_whole() {
    let origin = Origin::writing(|_, tcp| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nCache-Control: max-age=60\r\n\r\nhalf";
        let _ = tcp.write_all(head.as_bytes());
    });
    let (gateway, fronts) = before(&origin, |_| {});
    let reply = get(&gateway, "/", &[]);
    assert_eq!((reply.body.as_slice(), reply.complete), (&b"half"[..], false));
    until("it is forgotten", || fronts.stores()[0].is_empty());
}

#[test]
fn an_origin_that_says_nothing_is_given_up() {
    let origin = Origin::writing(|_, tcp| {
        // Until the other side gives up.
        let _ = tcp.read(&mut [0; 1]);
    });
    let (gateway, _) = before(&origin, |site| site.timeouts.first_byte = Duration::from_millis(50));
    assert_eq!(get(&gateway, "/", &[]).status, 504);
    assert_eq!(get(&gateway, "/", &["Cache-Control: only-if-cached"]).status, 504);
    assert_eq!(gateway.request("TRACE", "a", "/", &[]).status, 405);
}

#[test]
fn the_next_origin_is_asked_when_one_cannot_be_reached() {
    let mut gone = counting("");
    gone.close();
    let origin = counting("Cache-Control: max-age=60");
    let (gateway, _) = before(&gone, |site| {
        site.origins.push(OriginConfig {
            url: origin.url(),
            host: "named.example".to_owned(),
            ..OriginConfig::default()
        });
    });
    assert_eq!(get(&gateway, "/", &[]).status, 200);
    assert_eq!(origin.asked()[0].field("host").as_deref(), Some("named.example"));
}

#[test]
fn those_who_wait_hear_of_a_failure_at_once() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    // Goes away without an answer.
    let origin = Origin::writing(move |_, _| held.wait());
    let (gateway, _) = before(&origin, |_| {});
    let replies: Vec<Reply> = thread::scope(|scope| {
        let clients: Vec<_> = (0..20).map(|_| scope.spawn(|| get(&gateway, "/", &[]))).collect();
        until("all wait", || gateway.running.kept().load().waiting == 20);
        gate.open();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(replies.iter().all(|reply| reply.status == 502));
    assert_eq!(origin.asked().len(), 1);
}

#[test]
fn a_leader_that_goes_away_is_followed_by_one() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::answering(move |_: &Asked| {
        held.wait();
        ("Cache-Control: max-age=60\r\n".to_owned(), b"body".to_vec())
    });
    let (gateway, _) = before(&origin, |_| {});
    let mut leader = gateway.connect();
    leader.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    until("the leader asks", || origin.asked().len() == 1);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..10).map(|_| scope.spawn(|| get(&gateway, "/", &[]))).collect();
        until("all wait", || gateway.running.kept().load().waiting == 11);
        drop(leader);
        until("another asks", || origin.asked().len() == 2);
        gate.open();
        assert!(clients.into_iter().all(|client| client.join().unwrap().text() == "body"));
    });
    assert_eq!(origin.asked().len(), 2);
}

#[test]
fn a_condition_of_one_is_none_of_all() {
    let origin = counting("Cache-Control: max-age=60\r\nETag: \"a\"");
    let (gateway, _) = before(&origin, |_| {});
    let first = get(&gateway, "/", &["If-None-Match: \"a\""]);
    assert_eq!((first.status, first.header("etag"), first.body.len()), (304, Some("\"a\""), 0));
    assert_eq!(origin.asked()[0].field("if-none-match"), None);
    assert_eq!(get(&gateway, "/", &[]).text(), "0");
}

#[test]
fn a_kept_connection_that_is_closed_costs_no_answer() {
    // Keeps each connection for one answer, and takes the next request on it without one.
    let origin = Origin::writing(|_, tcp| {
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: no-store\r\n\r\nok");
        let _ = tcp.read(&mut [0; 4096]);
    });
    let (gateway, _) = before(&origin, |_| {});
    for _ in 0..10 {
        assert_eq!(get(&gateway, "/", &[]).text(), "ok");
    }
}

#[test]
fn a_part_of_what_can_be_stored_is_made_of_the_whole() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::writing(move |asked, tcp| {
        let (large, store) = (asked.target() == "/large", asked.target() != "/own");
        let cache = if store { "max-age=60" } else { "no-store" };
        let whole: Vec<u8> = (0..if large { 2_000_000_u32 } else { 100_000 }).map(|n| (n % 251) as u8).collect();
        let (line, body) = match asked.field("range") {
            Some(_) => ("206 Partial Content\r\nContent-Range: bytes 5-9/9", &whole[5..10]),
            None => ("200 OK", &whole[..]),
        };
        let len = body.len();
        let head =
            format!("HTTP/1.1 {line}\r\nConnection: close\r\nCache-Control: {cache}\r\nContent-Length: {len}\r\n\r\n");
        let (early, late) = body.split_at(len / 2);
        let _ = tcp.write_all(&[head.as_bytes(), early].concat());
        if len > 10 && !large {
            held.wait();
        }
        let _ = tcp.write_all(late);
    });
    let (gateway, _) = before(&origin, |_| {});
    let range = ["Range: bytes=5-9"];
    // It is here before the whole is.
    let part = get(&gateway, "/a", &range);
    assert_eq!((part.status, part.body.as_slice()), (206, &[5, 6, 7, 8, 9][..]));
    assert_eq!(part.header("content-range"), Some("bytes 5-9/100000"));
    gate.open();
    assert_eq!(get(&gateway, "/a", &[]).body.len(), 100_000);
    assert_eq!((origin.asked().len(), origin.asked()[0].field("range")), (1, None));
    // What is not stored is asked for in parts, from the second time on at once.
    for (target, requests) in [("/own", 2), ("/large", 2), ("/own", 1), ("/large", 1)] {
        let before = origin.asked().len();
        let part = get(&gateway, target, &range);
        assert_eq!((part.status, part.body.as_slice()), (206, &[5, 6, 7, 8, 9][..]), "{target}");
        assert_eq!(origin.asked().len() - before, requests, "{target}");
        assert_eq!(origin.asked().last().unwrap().field("range").as_deref(), Some("bytes=5-9"));
    }
}

#[test]
fn what_is_asked_for_again_and_again_is_sealed_and_stays_the_same() {
    let noise: Vec<u8> = (0..300_000_u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    let sent = noise.clone();
    let origin = Origin::answering(move |asked: &Asked| {
        let body = if asked.target() == "/small" { b"small".to_vec() } else { sent.clone() };
        ("Cache-Control: max-age=60\r\nContent-Type: application/octet-stream\r\n".to_owned(), body)
    });
    let (gateway, fronts) = before(&origin, |_| {});
    let sealed = || gateway.running.kept().load().sealed;
    for _ in 0..6 {
        assert!(get(&gateway, "/large", &[]).body == noise);
        assert_eq!(get(&gateway, "/small", &[]).text(), "small");
    }
    until("it is sealed", || sealed() == 1);
    for (from, to) in [(0, 0), (4095, 70_000), (0, 299_999), (299_999, 299_999)] {
        let part = get(&gateway, "/large", &[&format!("Range: bytes={from}-{to}")]);
        assert_eq!(part.status, 206);
        assert!(part.body == noise[from..=to], "{from}-{to}");
    }
    let whole = get(&gateway, "/large", &[]);
    assert!(whole.body == noise && status(&whole).starts_with("atoll-test; hit"));
    let head = gateway.request("HEAD", "shop.example", "/large", &[]);
    assert_eq!((head.header("content-length"), head.body.len()), (Some("300000"), 0));
    assert_eq!(origin.asked().len(), 2);
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(fronts.purge(&Purge::Everything, Degree::Hard))
        .unwrap();
    assert_eq!(sealed(), 0);
    assert!(get(&gateway, "/large", &[]).body == noise);
    assert_eq!(origin.asked().len(), 3);
}

#[test]
fn what_is_sent_coded_again_and_again_is_sealed_coded() {
    // Compresses to about a half, and that is large enough to be sealed.
    let words: String = (0..20_000_u64).map(|at| format!("{:016x}", at.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
    let sent = words.clone().into_bytes();
    let origin = Origin::answering(move |_: &Asked| {
        ("Cache-Control: max-age=60\r\nContent-Type: text/plain\r\n".to_owned(), sent.clone())
    });
    let (gateway, _fronts) = before(&origin, |_| {});
    let sealed = || gateway.running.kept().load().sealed;
    // The first of them is the plain body.
    for (coding, count) in [("br", 2), ("zstd", 3), ("gzip", 4)] {
        let coded = || get(&gateway, "/words", &[&format!("Accept-Encoding: {coding}")]);
        let is_coded = |reply: &Reply| reply.header("content-encoding") == Some(coding);
        until("it is coded", || is_coded(&coded()));
        let first = coded();
        assert!(first.body.len() < words.len() * 9 / 10 && first.body.len() > 100_000, "{}", first.body.len());
        until("the coded body is sealed", || coded().body == first.body && sealed() == count);
        let again = coded();
        assert!(is_coded(&again) && again.body == first.body, "{coding}");
        assert_eq!(again.header("content-length"), Some(&*first.body.len().to_string()));
        let mut read = Vec::new();
        match coding {
            "zstd" => read = zstd::decode_all(&again.body[..]).unwrap(),
            "br" => drop(brotli::Decompressor::new(&again.body[..], 4096).read_to_end(&mut read).unwrap()),
            _ => drop(flate2::read::GzDecoder::new(&again.body[..]).read_to_end(&mut read).unwrap()),
        }
        assert!(read == words.as_bytes(), "{coding}: {} bytes", read.len());
    }
    assert_eq!(origin.asked().len(), 1);
}

#[test]
fn only_so_many_servers_that_strangers_named_have_figures() {
    let origin = counting("Cache-Control: no-store");
    let (_gateway, fronts) = before(&origin, |_| {});
    let two = "[[origins]]\nurl = \"https://a.example\"\n[[origins]]\nurl = \"https://b.example\"\n";
    let two = Published::parse(format!("version = 1\n{two}").as_bytes()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    ["c.example", "a.example", "b.example"].iter().for_each(|name| fronts.publish(name, Some(&two)).unwrap());
    let counts = |most: usize| -> Vec<(String, usize)> {
        fronts.published_origins(most).into_iter().map(|(name, views)| (name, views.len())).collect()
    };
    let expected = |counts: &[(&str, usize)]| -> Vec<(String, usize)> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    assert_eq!(counts(0), []);
    assert_eq!(counts(3), expected(&[("a.example", 2), ("b.example", 1)]));
    assert_eq!(counts(256), expected(&[("a.example", 2), ("b.example", 2), ("c.example", 2)]));
    fronts.publish("a.example", None).unwrap();
    assert_eq!(counts(3), expected(&[("b.example", 2), ("c.example", 1)]));
}
