//! A gateway over blocks in memory, and a client that sees every byte.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atoll_content::import::{Options, Sink, import};
use atoll_core::names::NoopNames;
use atoll_core::transport::NoopAnswer;
use atoll_core::{Block, Blocks, BoxFuture, Cid, FetchError};
use atoll_edge::guard::NoopGuard;
use atoll_edge::observe::Counters;
use atoll_edge::{Config, Running, Server, Services};
use bytes::Bytes;

/// No answer takes longer unless the server hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Blocks in memory, some of which are missing or never come.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) blocks: HashMap<Cid, Bytes>,
    pub(crate) missing: Mutex<HashSet<Cid>>,
    pub(crate) hanging: Mutex<HashSet<Cid>>,
    /// Whether blocks must be waited for, as from disk.
    pub(crate) cold: bool,
}

impl Sink for Memory {
    fn put(&mut self, block: Block) -> io::Result<()> {
        let (cid, bytes) = block.into_parts();
        self.blocks.insert(cid, bytes);
        Ok(())
    }
}

impl Memory {
    fn get(&self, cid: &Cid) -> Option<Bytes> {
        if self.missing.lock().unwrap().contains(cid) {
            return None;
        }
        self.blocks.get(cid).cloned().or_else(|| Block::inline(cid).map(|block| block.into_parts().1))
    }
}

impl Blocks for Memory {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        let here = !self.cold && !self.hanging.lock().unwrap().contains(cid);
        here.then(|| self.get(cid)).flatten()
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move {
            if self.hanging.lock().unwrap().contains(cid) {
                std::future::pending::<()>().await;
            }
            self.get(cid).ok_or(FetchError::NotFound(*cid))
        })
    }
}

/// A folder, imported.
pub(crate) fn imported(files: &[(&str, &[u8])]) -> (Memory, Cid) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    import_folder(folder.path())
}

pub(crate) fn import_folder(folder: &Path) -> (Memory, Cid) {
    let mut memory = Memory::default();
    let imported = import(folder, Options::default(), &mut memory, &mut |_| {}).unwrap();
    (memory, imported.root)
}

/// A server under test.
pub(crate) struct Gateway {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    pub(crate) counters: Arc<Counters>,
}

/// One worker on a free port of loopback.
pub(crate) fn config() -> Config {
    Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), threads: 1, ..Config::default() }
}

pub(crate) fn services(memory: Memory) -> (Services, Arc<Counters>) {
    let blocks: Arc<dyn Blocks> = Arc::new(memory);
    let counters = Arc::new(Counters::new(2));
    let services = Services {
        local: Arc::clone(&blocks),
        blocks,
        names: Arc::new(NoopNames),
        answer: Arc::new(NoopAnswer),
        observe: Arc::clone(&counters) as _,
        guard: Arc::new(NoopGuard),
    };
    (services, counters)
}

impl Gateway {
    pub(crate) fn over(memory: Memory) -> Self {
        Self::with(&config(), memory)
    }

    pub(crate) fn with(config: &Config, memory: Memory) -> Self {
        let (services, counters) = services(memory);
        Self::of(config, services, counters)
    }

    pub(crate) fn of(config: &Config, services: Services, counters: Arc<Counters>) -> Self {
        let running = Server::bind(config, services).unwrap().spawn().unwrap();
        Self { address: running.local_addr(), running, counters }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let tcp = TcpStream::connect(self.address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp
    }

    /// Sends bytes, and reads all that comes until the connection ends.
    pub(crate) fn exchange(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut tcp = self.connect();
        tcp.write_all(bytes.as_ref()).unwrap();
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).unwrap();
        answer
    }

    pub(crate) fn request(&self, method: &str, host: &str, target: &str, headers: &[&str]) -> Reply {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        Reply::parse(&self.exchange(request), method == "HEAD")
    }

    /// From the path gateway.
    pub(crate) fn get(&self, target: impl AsRef<str>, headers: &[&str]) -> Reply {
        self.request("GET", "127.0.0.1", target.as_ref(), headers)
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as its head announced.
    pub(crate) complete: bool,
}

impl Reply {
    pub(crate) fn parse(bytes: &[u8], head: bool) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
        let text = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers =
            lines.map(|line| line.split_once(": ").unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let mut reply = Self { status, headers, body: bytes[end + 4..].to_vec(), complete: true };
        if reply.header("transfer-encoding") == Some("chunked") && !head {
            (reply.body, reply.complete) = unchunk(&reply.body);
        } else if let (Some(len), false) = (reply.header("content-length"), head || status == 304) {
            reply.complete = len.parse::<usize>().unwrap() == reply.body.len();
        }
        reply
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} comes twice");
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let len = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if len == 0 {
            return (body, true);
        }
        let Some(chunk) = bytes.get(end + 2..end + 2 + len) else { break };
        body.extend_from_slice(chunk);
        bytes = bytes.get(end + 4 + len..).unwrap_or_default();
    }
    (body, false)
}
