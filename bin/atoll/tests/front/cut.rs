//! A server that breaks off inside its answer: a real client (curl) sees that what it got is not the whole, over HTTP/1.1 in the plain and
//! with TLS, and over HTTP/2; and what was cut is not shown to the next one.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use atoll_testkit::http::connect;
use atoll_testkit::origin::{Asked, Origin};
use rustix::net::sockopt::set_socket_linger;

use crate::with_certificate;

/// What is said before it breaks off, and whether that is by a reset.
fn cases(target: &str) -> Option<(&'static str, bool)> {
    let how = target.trim_start_matches('/');
    let (how, reset) = how.strip_suffix("-reset").map_or((how, false), |how| (how, true));
    let said = match how {
        "in-a-chunk" => "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n100\r\nand",
        "between-chunks" => "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "in-a-size" => "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10",
        "in-the-last" => "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "of-a-length" => "Content-Length: 100\r\n\r\nhello",
        _ => return None,
    };
    Some((said, reset))
}

const TARGETS: [&str; 7] = [
    "in-a-chunk",
    "between-chunks",
    "in-a-size",
    "in-the-last",
    "of-a-length",
    "in-a-chunk-reset",
    "of-a-length-reset",
];

/// curl's codes for what it takes for a part: of a body, of what was to be received, of a stream.
const PARTIAL: [i32; 3] = [18, 56, 92];

#[test]
fn what_is_cut_looks_cut() {
    let origin = Origin::writing(|asked: &Asked, tcp: &mut TcpStream| {
        let Some((said, reset)) = cases(asked.target()) else { return };
        let _ = tcp.write_all(format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{said}").as_bytes());
        if reset {
            set_socket_linger(&tcp, Some(std::time::Duration::ZERO)).unwrap();
        }
    });
    let (front, toml, _) = with_certificate();
    let certificate = front.path("cert.pem");
    let mut front = front.configured(&toml);
    front.start_as(&["front", &origin.url(), "--host", "shop.example"]);
    let (plain, secure) = (front.gateway(), front.secure());
    for target in TARGETS {
        for (version, scheme, to) in
            [("--http1.1", "http", plain), ("--http1.1", "https", secure), ("--http2", "https", secure)]
        {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", version, "--max-time", "20", "--cacert"]).arg(&certificate);
            curl.args(["--resolve", &format!("shop.example:{}:127.0.0.1", to.port())]);
            let output = curl.arg(format!("{scheme}://shop.example:{}/{target}", to.port())).output().unwrap();
            let code = output.status.code().unwrap();
            let why = String::from_utf8_lossy(&output.stderr);
            // What broke off before anything was passed on may be an error page instead.
            let told = code == 0 && !output.stdout.starts_with(b"hello");
            assert!(PARTIAL.contains(&code) || told, "{target} {scheme} {version}: {code} {why}");
            assert!(b"helloand".starts_with(&output.stdout[..]) || told, "{target}: {:?}", output.stdout);
        }
        let asked = format!("GET /{target} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
        let mut tcp = connect(plain);
        tcp.write_all(asked.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A reset is as good as an end.
        let _ = tcp.read_to_end(&mut answer);
        assert!(!answer.ends_with(b"0\r\n\r\n"), "{target}: it ends as if it were whole");
    }
    // Nothing of it was stored: each time the server was asked.
    assert_eq!(origin.asked().len(), TARGETS.len() * 4);
}
