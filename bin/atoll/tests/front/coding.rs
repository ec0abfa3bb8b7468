//! Text that the server sends plain: who takes it compressed gets it so, made once, and what else is said about it stays true.

use std::io::Write as _;
use std::process::{Command, Stdio};

use atoll_testkit::http::{Reply, request};
use atoll_testkit::origin::{Asked, Origin};
use atoll_testkit::process::Node;
use atoll_testkit::trial::until;

fn text() -> Vec<u8> {
    (0..2000).map(|n| format!("line {n} of calm water\n")).collect::<String>().into_bytes()
}

fn get(node: &Node, target: &str, fields: &[&str]) -> Reply {
    request(node.gateway(), "GET", "a.example", target, fields)
}

/// What `gzip` reads.
fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    gzip.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = gzip.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn text_is_compressed_once_for_who_takes_it() {
    let origin = Origin::answering(|asked: &Asked| {
        let more = match asked.target() {
            "/kept" => ", no-transform",
            _ => "",
        };
        let kind = if asked.target() == "/picture" { "image/png" } else { "text/html; charset=utf-8" };
        (
            format!(
                "Cache-Control: max-age=3600{more}\r\nContent-Type: {kind}\r\nETag: \"1\"\r\n\
                 Last-Modified: Fri, 27 Nov 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n"
            ),
            text(),
        )
    });
    let mut front = Node::home(env!("CARGO_BIN_EXE_atoll"));
    front.start_as(&["front", &origin.url()]);
    let first = get(&front, "/", &["Accept-Encoding: gzip"]);
    assert_eq!((first.body == text(), first.header("vary")), (true, Some("accept-encoding")));
    for (accepted, coding) in [("gzip", "gzip"), ("gzip, br", "br"), ("gzip, deflate, br, zstd", "zstd"), ("*", "zstd")]
    {
        let field = format!("Accept-Encoding: {accepted}");
        let coded = || get(&front, "/", &[&field]);
        until(coding, || coded().header("content-encoding") == Some(coding));
        let reply = coded();
        assert!(reply.complete && reply.body.len() < text().len() / 4, "{coding}: {} bytes", reply.body.len());
        assert_eq!((reply.header("etag"), reply.header("vary")), (Some("W/\"1\""), Some("accept-encoding")));
        assert_eq!((reply.header("accept-ranges"), reply.header("content-type").is_some()), (None, true));
        assert!(reply.header("cache-status").unwrap().contains("; hit"));
        if coding == "gzip" {
            assert_eq!(unzipped(&reply.body), text());
        }
        let head = request(front.gateway(), "HEAD", "a.example", "/", &[&field]);
        assert_eq!(head.header("content-length"), reply.header("content-length"));
    }
    // Who does not take it gets it plain, and so do parts.
    let plain = get(&front, "/", &[]);
    assert_eq!(
        (plain.body == text(), plain.header("etag"), plain.header("content-encoding")),
        (true, Some("\"1\""), None)
    );
    let part = get(&front, "/", &["Accept-Encoding: gzip", "Range: bytes=5-9"]);
    assert_eq!((part.status, &part.body[..]), (206, &text()[5..10]));
    // Of which coding a date is nobody knows.
    let dated = ["Accept-Encoding: gzip", "Range: bytes=5-9", "If-Range: Fri, 27 Nov 2026 00:00:00 GMT"];
    assert_eq!(get(&front, "/", &dated).status, 200);
    let weak = get(&front, "/", &["Accept-Encoding: gzip", "If-None-Match: W/\"1\""]);
    assert_eq!((weak.status, weak.header("vary")), (304, Some("accept-encoding")));
    assert_eq!(origin.asked().len(), 1);
    for target in ["/kept", "/picture"] {
        for _ in 0..3 {
            let reply = get(&front, target, &["Accept-Encoding: gzip"]);
            assert_eq!((reply.body == text(), reply.header("vary")), (true, None), "{target}");
        }
    }
    let plainly = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&format!(
        "[[sites]]\nhosts = [\"*\"]\n[[sites.origins]]\nurl = \"{}\"\n[sites.cache]\ncompress = false\n",
        origin.url()
    ));
    let plainly = plainly.started();
    for _ in 0..3 {
        assert_eq!(get(&plainly, "/", &["Accept-Encoding: gzip"]).header("vary"), None);
    }
}
