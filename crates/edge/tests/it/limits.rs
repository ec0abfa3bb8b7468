//! Admission, and the end of a server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use atoll_edge::{Passed, ServeError, Server};

use crate::support::{Gateway, Reply, config, imported, services};

fn read_all(mut tcp: TcpStream) -> Reply {
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    Reply::parse(&answer, false)
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_address_has_so_many_connections() {
    let (memory, root) = imported(&[("a", b"a")]);
    let mut config = config();
    config.limits.connections_per_address = 2;
    let gateway = Gateway::with(&config, memory);
    let first = gateway.connect();
    let _second = gateway.connect();
    wait_for(|| gateway.running.connections() == 2);
    let refused = read_all(gateway.connect());
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("5")));
    assert!(refused.complete);
    drop(first);
    wait_for(|| gateway.running.connections() == 1);
    assert_eq!(gateway.get(format!("/ipfs/{root}/a"), &[]).status, 200);
}

#[test]
fn an_address_has_so_many_requests_in_flight() {
    let (memory, root) = imported(&[("a.txt", b"a"), ("b.txt", b"b")]);
    let leaf = *memory.blocks.iter().find(|(_, bytes)| &bytes[..] == b"a").unwrap().0;
    memory.hanging.lock().unwrap().insert(leaf);
    let mut config = config();
    config.limits.requests_per_address = 1;
    let gateway = Gateway::with(&config, memory);
    let mut hanging = gateway.connect();
    write!(hanging, "GET /ipfs/{root}/a.txt HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    let other = format!("/ipfs/{root}/b.txt");
    wait_for(|| gateway.get(&other, &[]).status == 429);
    // A client that gives up frees its place.
    drop(hanging);
    wait_for(|| gateway.get(&other, &[]).status == 200);
}

#[test]
fn when_all_connections_are_taken_the_idle_ones_make_room() {
    let (memory, root) = imported(&[("a", b"a")]);
    let mut config = config();
    config.limits.connections = 2;
    let gateway = Gateway::with(&config, memory);
    let mut idle = [gateway.connect(), gateway.connect()];
    wait_for(|| gateway.running.connections() == 2);
    // Not before they were idle for a second; until then others are told to come back.
    let refused = read_all(gateway.connect());
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    wait_for(|| gateway.get(format!("/ipfs/{root}/a"), &[]).status == 200);
    assert!(idle.iter_mut().any(|tcp| tcp.read(&mut [0]).unwrap() == 0));
}

#[test]
fn draining_finishes_what_is_in_flight_and_closes_the_rest() {
    let (memory, root) = imported(&[("big", &vec![1; 20_000_000])]);
    let gateway = Gateway::with(&config(), memory);
    let address = gateway.address;
    let mut busy = gateway.connect();
    write!(busy, "GET /ipfs/{root}/big HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    // Its answer has begun, and cannot end before it is read.
    let mut begun = [0; 1];
    busy.read_exact(&mut begun).unwrap();
    let mut idle = gateway.connect();
    wait_for(|| gateway.running.connections() == 2);
    let draining = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(gateway.running.drain())
    });
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    wait_for(|| TcpStream::connect(address).is_err());
    let mut rest = Vec::new();
    busy.read_to_end(&mut rest).unwrap();
    let reply = Reply::parse(&[&begun[..], &rest].concat(), false);
    assert_eq!((reply.status, reply.complete), (200, true));
    assert_eq!(draining.join().unwrap(), 0);
}

#[test]
fn draining_has_an_end() {
    let (memory, root) = imported(&[("a.txt", b"a")]);
    let leaf = *memory.blocks.iter().find(|(_, bytes)| &bytes[..] == b"a").unwrap().0;
    memory.hanging.lock().unwrap().insert(leaf);
    let mut config = config();
    config.timeouts.drain = Duration::from_millis(100);
    let gateway = Gateway::with(&config, memory);
    let mut hanging = gateway.connect();
    write!(hanging, "GET /ipfs/{root}/a.txt HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    wait_for(|| gateway.running.in_flight() == 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(gateway.running.drain()), 1);
}

#[test]
fn an_address_in_use_is_an_error_even_if_it_could_be_shared() {
    let (memory, _) = imported(&[("a", b"a")]);
    let gateway = Gateway::over(memory);
    let (memory, _) = imported(&[("a", b"a")]);
    let mut config = config();
    config.listen = gateway.address;
    let error = Server::bind(&config, services(memory).0, &mut Passed::default()).err().unwrap();
    assert!(matches!(error, ServeError::Bind { address, .. } if address == gateway.address), "{error}");
}

#[test]
fn a_wrong_configuration_is_refused_whole() {
    let (memory, _) = imported(&[("a", b"a")]);
    let mut config = config();
    config.limits.connections = 0;
    config.timeouts.chunk = Duration::ZERO;
    let error = Server::bind(&config, services(memory).0, &mut Passed::default()).err().unwrap();
    assert!(matches!(&error, ServeError::Config(problems) if problems.len() == 2), "{error}");
}

#[test]
fn slow_readers_of_large_answers_leave_memory_for_others() {
    let (memory, root) = imported(&[("big", &vec![1; 30_000_000]), ("small", b"small")]);
    let mut config = config();
    config.limits.sending_mib = 1;
    let gateway = Gateway::with(&config, memory);
    let big = format!("/ipfs/{root}/big");
    let mut slow = gateway.connect();
    write!(slow, "GET {big} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    slow.read_exact(&mut [0]).unwrap();
    // What it is sent is over all that there is for an address, which is told so; what is small is not counted.
    let refused = gateway.get(&big, &[]);
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("5")));
    assert_eq!(gateway.get(format!("/ipfs/{root}/small"), &[]).status, 200);
    assert_eq!(gateway.request("HEAD", "127.0.0.1", &big, &[]).status, 200);
    // It is over all that there is in total, so that the slow reader is cut off.
    wait_for(|| gateway.counters.totals().broken == 1);
    assert!(gateway.get(&big, &[]).complete);
}

#[test]
fn so_many_requests_wait_and_say_for_how_long() {
    let (mut memory, root) = imported(&[("a.txt", b"a"), ("b.txt", b"b")]);
    memory.cold = true;
    let leaf = *memory.blocks.iter().find(|(_, bytes)| &bytes[..] == b"a").unwrap().0;
    memory.hanging.lock().unwrap().insert(leaf);
    let mut config = config();
    config.limits.waiting = 1;
    let gateway = Gateway::with(&config, memory);
    let other = format!("/ipfs/{root}/b.txt");
    let waited = gateway.get(&other, &[]);
    assert_eq!(waited.status, 200);
    assert!(waited.header("server-timing").unwrap().starts_with("resolve;dur="), "{waited:?}");
    let mut hanging = gateway.connect();
    write!(hanging, "GET /ipfs/{root}/a.txt HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    wait_for(|| gateway.running.kept().load().waiting == 1);
    let refused = gateway.get(format!("{other}?cold"), &[]);
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("5")));
    drop(hanging);
    wait_for(|| gateway.get(format!("{other}?cold"), &[]).status == 200);
}
