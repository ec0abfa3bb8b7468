//! One process takes over from another, under load: no visitor is lost, and if the new one cannot start the old one goes on.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use atoll_testkit::http::{Reply, connect};
use atoll_testkit::origin::Origin;
use atoll_testkit::process::Node;
use atoll_testkit::tls::{Visitor, made};
use atoll_testkit::trial::{installed, noise, until};
use sha2::{Digest as _, Sha256};

use crate::INLINE;
use crate::http3::SCRIPT;
use crate::visits::{Site, Visits};

const FRONT: &str = "front.example";

/// A node with all that changes hands, and the certificate it shows.
fn node(origin: &Origin) -> (Node, String) {
    node_with(origin, &[])
}

/// With more settings.
fn node_with(origin: &Origin, settings: &[&str]) -> (Node, String) {
    let port = |udp: bool| match udp {
        true => std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
        false => TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
    };
    let swarm = format!("swarm.listen=/ip4/127.0.0.1/tcp/{},/ip4/127.0.0.1/udp/{}/quic-v1", port(false), port(true));
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).set(&[
        "gateway.threads=2",
        "gateway.tls.listen=127.0.0.1:0",
        "gateway.http3.listen=127.0.0.1:0",
        "swarm.public=false",
        &swarm,
    ]);
    let node = node.set(settings);
    let (certificate, key) = (node.path("cert.pem"), node.path("key.pem"));
    let (shown, its_key) = made("localhost");
    fs::write(&certificate, &shown).unwrap();
    fs::write(&key, its_key).unwrap();
    let toml = format!(
        "[certs]\nfiles = [{{ certificate = {certificate:?}, key = {key:?} }}]\n[[sites]]\nhosts = [\"{FRONT}\"]\n[[sites.origins]]\nurl = \"{}\"\n",
        origin.url()
    );
    (node.configured(&toml).started(), shown)
}

fn origin() -> Origin {
    Origin::answering(|asked| {
        let lifetime = if asked.target().starts_with("/kept") { "max-age=3600" } else { "no-store" };
        (format!("Cache-Control: {lifetime}\r\n"), noise(3, 20_000))
    })
}

fn site(node: &Node, shown: &str, host: &'static str, paths: Vec<String>) -> Site {
    Site { plain: node.gateway(), secure: node.secure(), visitor: Visitor::trusting(shown), host, paths }
}

fn http3(node: &Node, case: &str, arguments: &[&str]) -> Option<Command> {
    let mut command = Command::new(installed("ATOLL_PYTHON")?);
    command.args([SCRIPT, case, &node.http3().port().to_string()]).args(arguments);
    Some(command)
}

/// A large answer that has begun, over HTTP/1.1 or HTTP/3, and is taken when somebody says so.
struct Download {
    plain: std::net::TcpStream,
    begun: Vec<u8>,
    quic: Option<Child>,
    digest: Vec<u8>,
    /// Bytes of its head and body, once the head is there.
    len: usize,
}

impl Download {
    fn begin(node: &Node) -> Self {
        let bytes = noise(7, 16 << 20);
        let digest = Sha256::digest(&bytes).to_vec();
        let path = format!("/ipfs/{}", node.import_bytes(&bytes, "size-262144"));
        let mut plain = connect(node.gateway());
        write!(plain, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
        let mut begun = vec![0; 1];
        plain.read_exact(&mut begun).unwrap();
        let quic = http3(node, "drained", &[&path, &data_encoding::HEXLOWER.encode(&digest)]).map(|mut command| {
            let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut said = String::new();
            BufReader::new(client.stdout.take().unwrap()).read_line(&mut said).unwrap();
            assert_eq!(said, "begun\n");
            client
        });
        Self { plain, begun, quic, digest, len: usize::MAX }
    }

    fn end(mut self) {
        let mut place = [0; 64 * 1024];
        if let Some(mut quic) = self.quic.take() {
            quic.stdin.take().unwrap().write_all(b"go on\n").unwrap();
            assert!(quic.wait().unwrap().success());
        }
        // The connection stays behind it: its head is from before.
        while self.begun.len() < self.len {
            let read = self.plain.read(&mut place).unwrap();
            assert!(read > 0, "it broke off after {} bytes", self.begun.len());
            self.begun.extend_from_slice(&place[..read]);
            if let Some(end) = self.begun.windows(4).take(2048).position(|four| four == b"\r\n\r\n") {
                self.len = end + 4 + (16 << 20);
            }
        }
        let reply = Reply::parse(&self.begun, false);
        assert!(reply.complete);
        assert_eq!(Sha256::digest(&reply.body).to_vec(), self.digest);
    }
}

#[test]
fn no_visitor_is_lost_when_another_process_takes_over() {
    let origin = origin();
    let (mut node, shown) = node(&origin);
    let stored = format!("/ipfs/{}", node.import_bytes(&noise(5, 30_000), "size-262144"));
    let paths = vec![INLINE.to_owned(), stored];
    let http3 = http3(&node, "visits", &["127.0.0.1", &paths[0], &paths[1]]);
    let contents = Visits::begin(&site(&node, &shown, "127.0.0.1", paths), http3);
    let paths = vec!["/kept/1".to_owned(), "/new".to_owned()];
    let fronted = Visits::begin(&site(&node, &shown, FRONT, paths), None);
    contents.more(20);
    fronted.more(20);
    let kept = || origin.asked().iter().filter(|asked| asked.target() == "/kept/1").count();
    let (peer, kept_before) = (node.peer().to_owned(), kept());
    for _ in 0..2 {
        let download = Download::begin(&node);
        let mut before = node.takes_over();
        assert_eq!(node.peer(), peer);
        contents.more(50);
        fronted.more(50);
        // A third does not come in between.
        let refused = node.tries_to_take_over(&[]);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("still draining"), "{refused:?}");
        download.end();
        assert_eq!(before.wait().unwrap().code(), Some(0), "{}", node.log());
        // What only one process may have, the new one has.
        node.import_bytes(&noise(9, 1000), "size-262144");
        until("it hears of the end", || node.status()["ready"] == true);
    }
    assert!(kept() - kept_before <= 2 * 8, "what is stored has passed on, too: {}", kept());
    contents.end();
    fronted.end();
    assert_eq!(node.stop(), Some(0), "{}", node.log());
}

#[test]
fn a_process_that_cannot_start_gives_all_back() {
    let origin = origin();
    let (mut node, shown) = node(&origin);
    let stored = format!("/ipfs/{}", node.import_bytes(&noise(5, 30_000), "size-262144"));
    let http3 = http3(&node, "visits", &["127.0.0.1", INLINE, &stored]);
    let visits = Visits::begin(&site(&node, &shown, "127.0.0.1", vec![INLINE.to_owned(), stored]), http3);
    visits.more(20);
    // Settings that are wrong are seen before anything changes; a port that is taken only at the end.
    let wrong = node.tries_to_take_over(&["gateway.limits.connections=0"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("limits.connections"), "{wrong:?}");
    assert!(!node.log().contains("goes on"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("pinning.listen={}", taken.local_addr().unwrap());
    let failed = node.tries_to_take_over(&[&listen]);
    assert!(String::from_utf8_lossy(&failed.stderr).contains("(pinning.listen)"), "{failed:?}");
    until("it goes on", || node.log().contains("this one goes on"));
    visits.more(50);
    node.import_bytes(&noise(9, 1000), "size-262144");
    // It can still be taken over from.
    let mut before = node.takes_over();
    visits.more(50);
    visits.end();
    assert_eq!(before.wait().unwrap().code(), Some(0), "{}", node.log());
    assert_eq!(node.stop(), Some(0), "{}", node.log());
}

/// A process that wants to take over, is given all, and hangs.
const HANGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/door/hangs.py");

#[test]
fn a_process_that_hangs_with_all_in_its_hands_is_ended() {
    let Some(python) = installed("ATOLL_PYTHON") else { return };
    let origin = origin();
    let (node, shown) = node_with(&origin, &["node.takeover_timeout=1s"]);
    let visits = Visits::begin(&site(&node, &shown, "127.0.0.1", vec![INLINE.to_owned()]), None);
    visits.more(20);
    let mut hangs = Command::new(python);
    hangs.arg(HANGS).args([node.path("node/node.sock"), node.path("node/store/lock")]).stdout(Stdio::piped());
    let mut hangs = hangs.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(hangs.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "mine\n");
    assert_eq!(hangs.wait().unwrap().signal(), Some(9), "it is ended");
    until("the one before goes on", || node.log().contains("this one goes on"));
    // Whoever came meanwhile has waited, and is served.
    visits.more(50);
    visits.end();
    node.import_bytes(&noise(9, 1000), "size-262144");
    let mut node = node;
    let mut before = node.takes_over();
    assert_eq!(before.wait().unwrap().code(), Some(0), "{}", node.log());
    assert_eq!(node.stop(), Some(0), "{}", node.log());
}
