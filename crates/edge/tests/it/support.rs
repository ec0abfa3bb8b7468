//! A gateway over blocks in memory, and a client that sees every byte.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use atoll_content::import::{Options, Sink, import};
use atoll_core::names::NoopNames;
use atoll_core::policy::NoopDeny;
use atoll_core::transport::NoopAnswer;
use atoll_core::{Block, Blocks, BoxFuture, Cid, FetchError};
use atoll_edge::front::Fronts;
use atoll_edge::observe::Counters;
use atoll_edge::{Config, Passed, Running, Server, Services};
use atoll_testkit::http::{connect, exchange, request};
use bytes::Bytes;

pub(crate) use atoll_testkit::http::Reply;

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
        earlier: Arc::new(atoll_core::earlier::NoopEarlier),
        local: Arc::clone(&blocks),
        blocks,
        names: Arc::new(NoopNames),
        deny: Arc::new(NoopDeny),
        answer: Arc::new(NoopAnswer),
        observe: Arc::clone(&counters) as _,
        fronts: Arc::new(Fronts::none()),
        certificates: Arc::new(atoll_certs::Store::default()),
        signer: None,
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
        let running = Server::bind(config, services, &mut Passed::default()).unwrap().spawn().unwrap();
        Self { address: running.local_addr(), running, counters }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Sends bytes, and reads all that comes until the connection ends.
    pub(crate) fn exchange(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        exchange(self.address, bytes.as_ref())
    }

    pub(crate) fn request(&self, method: &str, host: &str, target: &str, headers: &[&str]) -> Reply {
        request(self.address, method, host, target, headers)
    }

    /// From the path gateway.
    pub(crate) fn get(&self, target: impl AsRef<str>, headers: &[&str]) -> Reply {
        self.request("GET", "127.0.0.1", target.as_ref(), headers)
    }
}
