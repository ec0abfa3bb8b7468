//! The server as any client sees it: statuses, types, headers, limits.

use std::io::{Read as _, Write as _};

use atoll_testkit::http::Reply;
use atoll_testkit::trial::until;

use crate::node::{RECORD, import, put, record, route, start};

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.header(name).unwrap_or_else(|| panic!("no {name} in {:?}", reply.headers))
}

const NOBODY: &str = "/routing/v1/providers/bafkreidcd7frenco2m6ch7mny63wztgztv3q6fctaffgowkro6kljre5ei";

#[test]
fn lists_and_streams_say_what_the_specification_asks() {
    let node = start(&["delegated.listen=127.0.0.1:0"]);
    let root = import(&node, b"held here");
    let path = format!("/routing/v1/providers/{root}");
    let list = route(&node, "GET", &path, &[]);
    assert_eq!((list.status, header(&list, "content-type")), (200, "application/json"));
    let cache = "public, max-age=300, stale-while-revalidate=172800, stale-if-error=172800";
    assert_eq!((header(&list, "cache-control"), header(&list, "vary")), (cache, "Accept"));
    assert!(header(&list, "last-modified").ends_with(" GMT"));
    assert_eq!(header(&list, "access-control-allow-origin"), "*");
    let said: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(said["Providers"][0]["ID"], node.peer());
    assert_eq!(said["Providers"][0]["Protocols"], serde_json::json!(["transport-ipfs-gateway-http"]));
    let stream = route(&node, "GET", &path, &["Accept: application/x-ndjson"]);
    assert_eq!((header(&stream, "content-type"), header(&stream, "cache-control")), ("application/x-ndjson", cache));
    let line: serde_json::Value = serde_json::from_slice(&stream.body).unwrap();
    assert_eq!(line, said["Providers"][0]);
    for (accept, body) in [("*/*", &b"{\"Providers\":[]}"[..]), ("application/x-ndjson", b"")] {
        let empty = route(&node, "GET", NOBODY, &[&format!("Accept: {accept}")]);
        assert_eq!((empty.status, &*empty.body), (200, body));
        assert!(header(&empty, "cache-control").starts_with("public, max-age=15, stale-while-revalidate=172800"));
    }
    let peer = route(&node, "GET", &format!("/routing/v1/peers/{}", node.peer()), &[]);
    let said: serde_json::Value = serde_json::from_slice(&peer.body).unwrap();
    assert_eq!(said["Peers"][0]["ID"], node.peer());
    assert_eq!(route(&node, "HEAD", &path, &[]).status, 200);
    assert_eq!(node.status()["delegated"][0], node.router());
}

#[test]
fn what_is_asked_wrongly_is_told_why() {
    let node = start(&["delegated.listen=127.0.0.1:0", "delegated.publish=false"]);
    let name = "/routing/v1/ipns/k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8";
    let record = "Accept: application/vnd.ipfs.ipns-record";
    for (method, path, headers, status) in [
        ("GET", "/routing/v1/providers/x", &[][..], 422),
        ("GET", "/routing/v1/peers/x", &[], 422),
        ("GET", "/routing/v1/dht/closest/peers/x", &[], 422),
        ("GET", &format!("{NOBODY}?filter-addrs={}", "x".repeat(100)), &[], 422),
        ("GET", NOBODY, &["Accept: text/html"], 406),
        ("GET", "/routing/v1/dht/closest/peers/bafkqaaa", &[], 501),
        ("GET", "/routing/v1/elsewhere/x", &[], 400),
        ("GET", "/", &[], 400),
        ("POST", NOBODY, &[], 501),
        ("PUT", "/routing/v1/providers/", &[], 400),
        ("PUT", NOBODY, &[], 501),
        ("PUT", name, &["Content-Type: application/vnd.ipfs.ipns-record"], 501),
        ("GET", name, &[], 406),
        ("GET", name, &["Accept: text/html"], 406),
        ("GET", "/routing/v1/ipns/example.org", &[record], 400),
        ("OPTIONS", NOBODY, &["Access-Control-Request-Method: GET", "Origin: http://page.example"], 204),
    ] {
        let reply = route(&node, method, path, headers);
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        assert_eq!(header(&reply, "access-control-allow-origin"), "*", "{method} {path}");
        assert!(header(&reply, "access-control-allow-methods").contains("GET"), "{method} {path}");
        assert!(status == 204 || !reply.text().trim().is_empty(), "{method} {path} says nothing");
    }
    let unknown = route(&node, "GET", name, &[record]);
    assert_eq!((unknown.status, header(&unknown, "content-type")), (200, "text/plain; charset=utf-8"));
    assert!(header(&unknown, "cache-control").starts_with("public, max-age=15,"));
}

#[test]
fn a_record_is_put_and_comes_back_with_its_times() {
    let node = start(&["delegated.listen=127.0.0.1:0"]);
    let (name, newer) = record("/ipfs/bafkqaaa", 3, (3600, 300));
    let path = format!("/routing/v1/ipns/{name}");
    let put = |path: &str, kind: &str, bytes: &[u8]| put(&node, path, kind, bytes);
    assert_eq!(put(&path, "application/octet-stream", &newer), 406);
    assert_eq!(put(&path, RECORD, &newer[1..]), 400);
    assert_eq!(put(&path, RECORD, &vec![0; 11 * 1024]), 400);
    assert_eq!(
        put("/routing/v1/ipns/k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8", RECORD, &newer),
        400
    );
    assert_eq!(put(&path, RECORD, &newer), 200);
    assert_eq!(put(&path, RECORD, &newer), 200);
    assert_eq!(put(&path, RECORD, &record("/ipfs/bafkqaaa", 2, (3600, 300)).1), 409);
    let got = route(&node, "GET", &path, &["Accept: application/vnd.ipfs.ipns-record"]);
    assert_eq!((got.status, header(&got, "content-type")), (200, RECORD));
    assert!(got.body == newer);
    let cache = header(&got, "cache-control");
    assert!(cache.starts_with("public, max-age=300, stale-while-revalidate=32"), "{cache}");
    assert!(header(&got, "expires").ends_with(" GMT") && header(&got, "last-modified").ends_with(" GMT"));
    let known = format!("If-None-Match: {}", header(&got, "etag"));
    let again = route(&node, "GET", &path, &["Accept: application/vnd.ipfs.ipns-record", &known]);
    assert_eq!((again.status, again.body.len()), (304, 0));
}

#[test]
fn one_address_has_so_many_connections() {
    let node = start(&["delegated.listen=127.0.0.1:0", "delegated.connections_per_address=2"]);
    let address = node.router().strip_prefix("http://").unwrap().parse().unwrap();
    let held: Vec<_> = (0..2).map(|_| atoll_testkit::http::connect(address)).collect();
    let answer = || {
        let mut stream = atoll_testkit::http::connect(address);
        let mut answer = Vec::new();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    // The third is closed without an answer, and there is a place for it once another has gone.
    until("a third connection is closed", || answer().is_empty());
    drop(held);
    until("there is room again", || answer().starts_with(b"HTTP/1.1 400"));
}
