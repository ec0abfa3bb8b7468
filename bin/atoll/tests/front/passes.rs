//! What passes through byte by byte: answers before the answer (1xx), and connections that go on in another protocol.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use atoll_testkit::http::{connect, exchange};
use atoll_testkit::origin::Origin;
use atoll_testkit::process::Node;
use atoll_testkit::trial::until;

fn before(url: &str, more: &str) -> Node {
    let site = format!("[[sites]]\nhosts = [\"shop.example\"]\n{more}\n[[sites.origins]]\nurl = \"{url}\"\n");
    Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&site).started()
}

/// Reads to the end of the next head.
fn head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(tcp.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn early_hints_reach_the_visitor_before_the_answer() {
    let (go_on, goes_on) = mpsc::channel();
    let goes_on = Mutex::new(goes_on);
    let origin = Origin::writing(move |asked, tcp| {
        let early = b"HTTP/1.1 102 Processing\r\n\r\n\
            HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Other: 1\r\n\r\n";
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        if asked.target() == "/together" {
            return tcp.write_all(&[&early[..], answer].concat()).unwrap();
        }
        tcp.write_all(early).unwrap();
        goes_on.lock().unwrap().recv().unwrap();
        tcp.write_all(answer).unwrap();
    });
    let front = before(&origin.url(), "");
    let mut visitor = connect(front.gateway());
    visitor.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    assert_eq!(head(&mut visitor), "HTTP/1.1 102 Processing\r\n\r\n");
    assert_eq!(head(&mut visitor), "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nx-other: 1\r\n\r\n");
    go_on.send(()).unwrap();
    assert!(head(&mut visitor).starts_with("HTTP/1.1 200 OK\r\n"));
    let mut body = [0; 2];
    visitor.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"ok");
    // The connection goes on; whoever speaks HTTP/1.0 knows no such thing.
    visitor.write_all(b"GET /2 HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    assert!(head(&mut visitor).starts_with("HTTP/1.1 102 "));
    assert!(head(&mut visitor).starts_with("HTTP/1.1 103 "));
    go_on.send(()).unwrap();
    assert!(head(&mut visitor).starts_with("HTTP/1.1 200 "));
    visitor.read_exact(&mut body).unwrap();
    // What comes at once with the answer is passed on too.
    visitor.write_all(b"GET /together HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    for line in ["HTTP/1.1 102 ", "HTTP/1.1 103 ", "HTTP/1.1 200 "] {
        assert!(head(&mut visitor).starts_with(line));
    }
    visitor.read_exact(&mut body).unwrap();
    go_on.send(()).unwrap();
    let old = exchange(front.gateway(), b"GET /3 HTTP/1.0\r\nHost: shop.example\r\n\r\n");
    assert!(old.starts_with(b"HTTP/1.0 200 OK\r\n") || old.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[test]
fn the_server_says_whether_it_wants_the_body() {
    let origin = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", origin.local_addr().unwrap());
    let front = before(&url, "");
    let ask = |target: &str| {
        let mut visitor = connect(front.gateway());
        let fields = "Host: shop.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n";
        visitor.write_all(format!("PUT {target} HTTP/1.1\r\n{fields}\r\n").as_bytes()).unwrap();
        let (mut tcp, _) = origin.accept().unwrap();
        let asked = head(&mut tcp).to_ascii_lowercase();
        assert!(
            asked.starts_with(&format!("put {target} ")) && asked.contains("\r\nexpect: 100-continue\r\n"),
            "{asked}"
        );
        (visitor, tcp)
    };
    let (mut visitor, mut tcp) = ask("/taken");
    tcp.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    assert_eq!(head(&mut visitor), "HTTP/1.1 100 Continue\r\n\r\n");
    visitor.write_all(b"body").unwrap();
    let mut body = [0; 4];
    tcp.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"body");
    tcp.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    assert!(head(&mut visitor).starts_with("HTTP/1.1 201 "));
    // One that does not want it is not sent it, and the visitor is not asked for it.
    let (mut visitor, mut tcp) = ask("/refused");
    tcp.write_all(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    assert!(head(&mut visitor).starts_with("HTTP/1.1 417 "));
    let mut rest = Vec::new();
    tcp.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    // One that knows nothing of it is sent the body all the same, after a while.
    let (mut visitor, mut tcp) = ask("/silent");
    assert_eq!(head(&mut visitor), "HTTP/1.1 100 Continue\r\n\r\n");
    visitor.write_all(b"body").unwrap();
    tcp.read_exact(&mut body).unwrap();
}

const UPGRADE: &str =
    "GET /chat HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Own: 1\r\n\r\n";

#[test]
fn a_slow_visitor_slows_the_server_down_and_gets_every_byte() {
    const TOTAL: u64 = 64 << 20;
    let written = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&written);
    let origin = Origin::writing(move |asked, tcp| {
        assert_eq!(asked.field("upgrade").as_deref(), Some("WebSocket"));
        assert_eq!(asked.field("connection").as_deref(), Some("upgrade"));
        tcp.write_all(SWITCHED).unwrap();
        let part = [7; 64 << 10];
        while count.load(Ordering::SeqCst) < TOTAL {
            tcp.write_all(&part).unwrap();
            count.fetch_add(part.len() as u64, Ordering::SeqCst);
        }
    });
    let front = before(&origin.url(), "");
    let mut visitor = connect(front.gateway());
    visitor.write_all(UPGRADE.as_bytes()).unwrap();
    let answer = head(&mut visitor).to_ascii_lowercase();
    for field in ["http/1.1 101 ", "\r\nupgrade: websocket\r\n", "\r\nconnection: upgrade\r\n", "\r\nx-own: 1\r\n"] {
        assert!(answer.contains(field), "{answer}");
    }
    let mut before = u64::MAX;
    until("the server is held up", || {
        let now = written.load(Ordering::SeqCst);
        now > 0 && std::mem::replace(&mut before, now) == now
    });
    assert!(written.load(Ordering::SeqCst) < TOTAL / 2, "{before}");
    assert_eq!(front.status()["sites"][0]["origins"][0]["in_flight"], 1);
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match visitor.read(&mut buffer).unwrap() {
            0 => break,
            count => bytes += count as u64,
        }
    }
    assert_eq!(bytes, TOTAL);
    drop(visitor);
    until("it is over", || front.status()["sites"][0]["origins"][0]["in_flight"] == 0);
}

#[test]
fn silence_ends_it_and_only_what_was_asked_for_is_agreed_to() {
    let origin = Origin::writing(|asked, tcp| match asked.target() {
        "/chat" => {
            tcp.write_all(SWITCHED).unwrap();
            // Until the other side ends it.
            assert_eq!(tcp.read(&mut [0; 16]).unwrap_or(0), 0);
        }
        "/other" => tcp.write_all(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n").unwrap(),
        "/refused" => {
            tcp.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").unwrap();
        }
        _ => {
            let text = format!("{:?}", asked.field("upgrade"));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
            tcp.write_all(format!("{head}{text}").as_bytes()).unwrap();
        }
    });
    let front = before(&origin.url(), "switched_idle = \"200ms\"");
    let mut visitor = connect(front.gateway());
    visitor.write_all(UPGRADE.as_bytes()).unwrap();
    assert!(head(&mut visitor).starts_with("HTTP/1.1 101 "));
    assert_eq!(visitor.read(&mut [0; 16]).unwrap(), 0);
    let asked = |from: &str, to: &str| {
        let request = UPGRADE.replace(from, to).replace("keep-alive", "close");
        String::from_utf8_lossy(&exchange(front.gateway(), request.as_bytes())).into_owned()
    };
    assert!(asked("/chat", "/other").starts_with("HTTP/1.1 502 "));
    let refused = asked("/chat", "/refused");
    assert!(refused.starts_with("HTTP/1.1 403 ") && refused.ends_with("no"), "{refused}");
    // HTTP again would pass by all that is looked at here; other methods and bodies do not go on either.
    let again = UPGRADE.replace("WebSocket", "h2c").replace("/chat", "/plain").replace("keep-alive", "close");
    let again = exchange(front.gateway(), again.as_bytes());
    assert!(again.starts_with(b"HTTP/1.1 200 ") && again.ends_with(b"None"));
    // A server that goes on although nobody asked it to has failed.
    assert!(asked("WebSocket", "h2c").starts_with("HTTP/1.1 502 "));
    let plain = asked("/chat", "/plain").to_ascii_lowercase();
    assert!(plain.starts_with("http/1.1 200 ") && plain.ends_with("some(\"websocket\")"), "{plain}");
    let posted = asked("GET /chat", "POST /plain");
    assert!(posted.ends_with("None"), "{posted}");
}
