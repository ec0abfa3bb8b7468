//! Ten thousand idle connections. The server is a second process: its memory is its own, and both ends together do not fit
//! the limit of open files of one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::support::{Gateway, Reply, config, imported};

const CONNECTIONS: usize = 10_000;
/// What one idle connection may cost the server, in bytes.
const BYTES_EACH_MAX: usize = 4 * 1024;
/// Set for the process of the server.
const SERVER: &str = "ATOLL_TEST_IDLE_SERVER";

/// Raises the limit of open files as far as it goes.
fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let enough = limit.maximum.is_none_or(|most| most >= CONNECTIONS as u64 + 500);
    assert!(enough, "this test needs {} open files: raise `ulimit -Hn`", CONNECTIONS + 500);
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// The process of the server: says where it listens, then, when all are connected, how much memory they cost.
fn serve() {
    let (memory, root) = imported(&[("a", b"calm")]);
    let mut config = config();
    config.limits.connections = CONNECTIONS + 10;
    config.limits.connections_per_address = CONNECTIONS + 10;
    let gateway = Gateway::with(&config, memory);
    assert_eq!(gateway.get(format!("/ipfs/{root}/a"), &[]).text(), "calm");
    let before = resident();
    println!("\nserver {} /ipfs/{root}/a", gateway.address);
    while gateway.running.connections() < CONNECTIONS {
        std::thread::yield_now();
    }
    println!("grown {}", resident().saturating_sub(before));
    // Until the other process has seen enough.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_block_nobody() {
    raise_limit();
    if std::env::var_os(SERVER).is_some() {
        return serve();
    }
    let name = "idle::ten_thousand_idle_connections_cost_little_and_block_nobody";
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(SERVER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut said = |word: &str| lines.find_map(|line| line.strip_prefix(word).map(str::to_owned)).unwrap();
    let place = said("server ");
    let (address, target) = place.split_once(' ').unwrap();

    let open: Vec<TcpStream> = (0..CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
    let each = said("grown ").parse::<usize>().unwrap() / CONNECTIONS;
    assert!(each < BYTES_EACH_MAX, "{each} bytes for each connection");
    let mut one_more = TcpStream::connect(address).unwrap();
    write!(one_more, "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    one_more.read_to_end(&mut answer).unwrap();
    assert_eq!(Reply::parse(&answer, false).text(), "calm");
    drop(open);
    server.stdin.take().unwrap().write_all(b".").unwrap();
    assert!(server.wait().unwrap().success());
}
