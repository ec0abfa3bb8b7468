//! Connections that rest between requests: nothing is kept of them but the socket, and their clients notice nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Gateway, imported};

fn resting(gateway: &Gateway, count: usize) {
    while gateway.running.kept().load().resting != count {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads one answer that ends with `text`.
fn answered(tcp: &mut TcpStream, text: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(text.as_bytes()) {
        let mut part = [0; 1024];
        let len = tcp.read(&mut part).unwrap();
        assert!(len > 0, "closed after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..len]);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn whoever_rested_is_answered_on() {
    let (memory, root) = imported(&[("a", b"calm")]);
    let gateway = Gateway::over(memory);
    let mut tcp = gateway.connect();
    for _ in 0..3 {
        write!(tcp, "GET /ipfs/{root}/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
        let answer = answered(&mut tcp, "calm").to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 200") && !answer.contains("connection: close"), "{answer}");
        resting(&gateway, 1);
    }
    // A request in two parts, and two in one.
    write!(tcp, "GET /ipfs/{root}/a HTT").unwrap();
    resting(&gateway, 0);
    write!(tcp, "P/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    answered(&mut tcp, "calm");
    resting(&gateway, 1);
    let one = format!("GET /ipfs/{root}/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    write!(tcp, "{one}{one}").unwrap();
    let both = answered(&mut tcp, "calm");
    if both.matches("HTTP/1.1 200").count() == 1 {
        answered(&mut tcp, "calm");
    }
    resting(&gateway, 1);
    // What is not HTTP is told so after a rest, too.
    write!(tcp, "GET / HTTP/1.1\nHost: 127.0.0.1\n\n").unwrap();
    let mut end = String::new();
    tcp.read_to_string(&mut end).unwrap();
    assert!(end.starts_with("HTTP/1.1 400"), "{end}");
    resting(&gateway, 0);
}

#[test]
fn rest_ends_with_the_client_and_with_the_server() {
    let (memory, root) = imported(&[("a", b"calm")]);
    let gateway = Gateway::over(memory);
    let mut clients = [gateway.connect(), gateway.connect()];
    for tcp in &mut clients {
        write!(tcp, "GET /ipfs/{root}/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
        answered(tcp, "calm");
    }
    resting(&gateway, 2);
    let [gone, mut left] = clients;
    drop(gone);
    resting(&gateway, 1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(gateway.running.drain()), 0, "none had to be cut");
    assert_eq!(left.read(&mut [0; 16]).unwrap(), 0);
}
