//! The other way round: a server whose answers are in doubt. No visitor gets what another was meant to, nor an answer that can be read
//! in two ways.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use atoll_testkit::http::{connect, request};
use atoll_testkit::process::Node;

use super::rest;

/// An answer that nobody asked for.
const HIDDEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden";
const GOOD: &str = "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 4\r\n\r\ngood";

/// Heads and bodies of answers.
fn cases() -> Vec<String> {
    let of = |fields: &str| format!("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n{fields}\r\n");
    let mut cases: Vec<String> = [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 5\r\nX : y\r\n",
        "Content-Length: 5\r\nX: y\0z\r\n",
        "Content-Length: 5\r\nX: y\r\n z\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 5\nX: y\r\n",
    ]
    .map(|fields| of(fields) + "abcde")
    .into();
    let chunked = [
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n",
        "Transfer-Encoding: chunked\r\nConnection: content-length\r\nContent-Length: 3\r\n",
    ];
    cases.extend(chunked.map(|fields| of(fields) + "5\r\nabcde\r\n0\r\n\r\n"));
    let bodies = [
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "5\nabcde\r\n0\r\n\r\n",
        "5\r\nabcdeXX0\r\n\r\n",
        "ffffffffffffffff5\r\nabcde\r\n0\r\n\r\n",
    ];
    cases.extend(bodies.map(|body| of("Transfer-Encoding: chunked\r\n") + body));
    let lines = [
        "204 No Content",
        "304 Not Modified",
        "205 Reset Content",
        "100 Continue",
        "103 Early Hints",
        "199 Odd",
        "101 Switching Protocols",
    ];
    cases.extend(lines.map(|line| format!("HTTP/1.1 {line}\r\nContent-Length: 5\r\n\r\nabcde")));
    cases.extend(
        ["HTTP/1.10 200 OK", "HTTP/2.0 200 OK", "HTTP/1.1 2000 OK", "HTTP/1.1  200 OK", "XTTP/1.1 200 OK"]
            .map(|line| format!("{line}\r\nContent-Length: 0\r\n\r\n")),
    );
    cases
}

/// Answers `/N` with a case and what nobody asked for, and everything else well. Keeps connections.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cases = Arc::new(cases());
    // Ends with the process.
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let cases = Arc::clone(&cases);
            thread::spawn(move || serve(tcp.unwrap(), &cases));
        }
    });
    url
}

fn serve(mut tcp: TcpStream, cases: &[String]) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count) = tcp.read(&mut buffer) {
        if count == 0 {
            return;
        }
        bytes.extend_from_slice(&buffer[..count]);
        if !bytes.ends_with(b"\r\n\r\n") {
            continue;
        }
        let head = String::from_utf8(std::mem::take(&mut bytes)).unwrap();
        let number = head.split(' ').nth(1).and_then(|target| target.strip_prefix('/')?.parse::<usize>().ok());
        let answer = number.map_or_else(|| GOOD.to_owned(), |number| cases[number].clone() + HIDDEN);
        if tcp.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads one answer and no more; whether it is one.
fn is_one(answer: &str, head: bool) -> bool {
    let Some((lines, body)) = answer.split_once("\r\n\r\n") else { return false };
    let lines = lines.to_ascii_lowercase();
    let of = |name: &str| lines.lines().filter_map(|line| line.strip_prefix(name)).map(str::trim).collect::<Vec<_>>();
    let bodiless = head || lines.starts_with("http/1.1 204") || lines.starts_with("http/1.1 304");
    match (&of("content-length:")[..], &of("transfer-encoding:")[..]) {
        _ if bodiless => body.is_empty(),
        // What broke off is known by that.
        ([length], []) => length.parse().is_ok_and(|length: usize| body.len() <= length),
        ([], ["chunked"]) => !body.contains("HTTP/1"),
        // To the end of the connection.
        ([], []) => true,
        _ => false,
    }
}

#[test]
fn no_visitor_gets_what_was_not_meant_for_him() {
    let url = server();
    let site = format!("[[sites]]\nhosts = [\"*\"]\ntimeouts.idle = \"500ms\"\n[[sites.origins]]\nurl = {url:?}\n");
    let front = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&site).started();
    for (number, case) in cases().iter().enumerate() {
        for method in ["GET", "HEAD", "POST"] {
            let asked = format!("{method} /{number} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
            let mut tcp = connect(front.gateway());
            tcp.write_all(asked.as_bytes()).unwrap();
            let (answer, ended) = rest(&mut tcp);
            assert!(!ended || is_one(&answer, method == "HEAD"), "{method} {case:?}: {answer}");
            for _ in 0..2 {
                let next = request(front.gateway(), "GET", "a.example", "/next", &[]);
                assert_eq!((next.status, next.text()), (200, "good"), "{method} {case:?}");
            }
        }
    }
}
