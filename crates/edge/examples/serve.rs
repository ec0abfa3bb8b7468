//! Serves a folder from memory, for measuring the listener alone: `serve FOLDER ADDRESS THREADS`.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use atoll_content::import::{Options, Sink, import};
use atoll_core::names::NoopNames;
use atoll_core::policy::NoopDeny;
use atoll_core::transport::NoopAnswer;
use atoll_core::{Block, Blocks, BoxFuture, Cid, FetchError};
use atoll_edge::front::Fronts;
use atoll_edge::observe::Counters;
use atoll_edge::{Config, Passed, Server, Services};
use bytes::Bytes;

#[derive(Default)]
struct Memory(HashMap<Cid, Bytes>);

impl Sink for Memory {
    fn put(&mut self, block: Block) -> io::Result<()> {
        let (cid, bytes) = block.into_parts();
        self.0.insert(cid, bytes);
        Ok(())
    }
}

impl Blocks for Memory {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        self.0.get(cid).cloned()
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move { self.cached(cid).ok_or(FetchError::NotFound(*cid)) })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: serve FOLDER ADDRESS THREADS");
    let (folder, address, threads) = (next()?, next()?, next()?);
    let mut memory = Memory::default();
    let imported = import(Path::new(&folder), Options::default(), &mut memory, &mut |_| {})?;
    let blocks: Arc<dyn Blocks> = Arc::new(memory);
    let config = Config { listen: address.parse()?, threads: threads.parse()?, ..Config::default() };
    let services = Services {
        earlier: Arc::new(atoll_core::earlier::NoopEarlier),
        local: Arc::clone(&blocks),
        blocks,
        names: Arc::new(NoopNames),
        deny: Arc::new(NoopDeny),
        answer: Arc::new(NoopAnswer),
        observe: Arc::new(Counters::new(config.workers())),
        fronts: Arc::new(Fronts::none()),
        certificates: Arc::new(atoll_certs::Store::default()),
        signer: None,
    };
    let running = Server::bind(&config, services, &mut Passed::default())?.spawn()?;
    println!("http://{}/ipfs/{}/", running.local_addr(), imported.root);
    loop {
        std::thread::park();
    }
}
