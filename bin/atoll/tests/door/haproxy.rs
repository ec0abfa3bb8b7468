//! haproxy before a node: whose connections it passes on, and that it finds the node well.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

use atoll_testkit::http::Reply;
use atoll_testkit::origin::Origin;
use atoll_testkit::process::Node;
use atoll_testkit::tls::{Visitor, made};
use atoll_testkit::trial::{installed, until};
use socket2::{Domain, Socket, Type};

/// It ends with this value.
struct Balancer {
    process: Child,
    /// Over IPv4 and IPv6 to the node's HTTP, over IPv4 to its HTTPS.
    fronts: [SocketAddr; 3],
    statistics: std::path::PathBuf,
}

impl Balancer {
    fn before(node: &Node) -> Option<Self> {
        let program = installed("ATOLL_HAPROXY")?;
        let listen: [IpAddr; 3] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        let fronts = listen.map(|ip| TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap());
        let (settings, statistics) = (node.path("haproxy.cfg"), node.path("haproxy.sock"));
        let server = |name: &str, to: SocketAddr| {
            format!("backend {name}\n  server {name} {to} send-proxy-v2 check inter 100ms\n")
        };
        let toml = format!(
            "global\n  stats socket {} level user\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
             frontend plain\n  bind {}\n  bind {}\n  default_backend http\nfrontend secure\n  bind {}\n  default_backend https\n{}  option httpchk\n  \
             http-check send meth GET uri /ipfs/bafkqaaa hdr Host localhost\n{}",
            statistics.display(),
            fronts[0],
            fronts[1],
            fronts[2],
            server("http", node.gateway()),
            server("https", node.secure()),
        );
        fs::write(&settings, toml).unwrap();
        let process = Command::new(program).arg("-db").arg("-f").arg(settings).spawn().unwrap();
        Some(Self { process, fronts, statistics })
    }

    /// What it thinks of the node by a name: `UP`, and what the last look found.
    fn opinion(&self, name: &str) -> Option<(String, String)> {
        let mut socket = UnixStream::connect(&self.statistics).ok()?;
        socket.write_all(b"show stat\n").ok()?;
        let mut said = String::new();
        socket.read_to_string(&mut said).ok()?;
        let mut lines = said.lines();
        let names: Vec<_> = lines.next()?.trim_start_matches("# ").split(',').collect();
        let row: Vec<_> = lines.map(|line| line.split(',').collect::<Vec<_>>()).find(|row| row[..2] == [name, name])?;
        let field = |name: &str| row[names.iter().position(|known| *known == name).unwrap()].to_owned();
        Some((field("status"), field("check_status")))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asks from an address of this machine.
fn ask(from: IpAddr, to: SocketAddr) -> Reply {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let mut tcp: std::net::TcpStream = socket.into();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    Reply::parse(&answer, false)
}

#[test]
fn what_haproxy_passes_on_is_the_visitors() {
    let origin = Origin::answering(|_| ("Cache-Control: no-store\r\n".to_owned(), b"ok".to_vec()));
    let node = Node::home(env!("CARGO_BIN_EXE_atoll"))
        .set(&["gateway.proxy_protocol=127.0.0.0/8", "gateway.tls.listen=127.0.0.1:0"]);
    let (certificate, key) = (node.path("cert.pem"), node.path("key.pem"));
    let (shown, its_key) = made("site.example");
    fs::write(&certificate, &shown).unwrap();
    fs::write(&key, its_key).unwrap();
    let toml = format!(
        "[certs]\nfiles = [{{ certificate = {certificate:?}, key = {key:?} }}]\n\
         [[sites]]\nhosts = [\"site.example\"]\n[[sites.origins]]\nurl = \"{}\"\n",
        origin.url()
    );
    let node = node.configured(&toml).started();
    let Some(balancer) = Balancer::before(&node) else { return };
    // It looks by connections of its own, of which the header says LOCAL.
    let looked = |name: &str, found: &str| balancer.opinion(name) == Some(("UP".to_owned(), found.to_owned()));
    until("the node is well over HTTP", || looked("http", "L7OK"));
    until("the node is well over HTTPS", || looked("https", "L4OK"));
    let visitors = [IpAddr::from(Ipv4Addr::new(127, 0, 0, 5)), Ipv6Addr::LOCALHOST.into()];
    for (visitor, front) in visitors.into_iter().zip(balancer.fronts) {
        assert_eq!(ask(visitor, front).status, 200, "{visitor}");
        let asked = origin.asked().pop().unwrap();
        assert_eq!(asked.field("x-forwarded-for"), Some(visitor.to_string()));
        let quoted = if visitor.is_ipv6() { format!("\"[{visitor}]\"") } else { visitor.to_string() };
        let forwarded = asked.field("forwarded").unwrap();
        assert!(forwarded.contains(&format!("for={quoted}")), "{forwarded}");
    }
    let (reply, _) = Visitor::trusting(&shown).get(balancer.fronts[2], "site.example", "/").unwrap();
    assert_eq!(reply.status, 200);
    let asked = origin.asked().pop().unwrap();
    assert_eq!(asked.field("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(origin.asked().len(), 3, "haproxy's own looks are not the server's business");
}
