//! A fetch whose candidates are still being found.

use std::collections::HashMap;

use atoll_core::block::RAW;
use atoll_core::providers::ProviderStream;
use atoll_core::transport::{ByteStream, Request, Response};
use atoll_core::{Block, Providers};
use tokio::sync::mpsc;

use super::*;
use crate::TokioClock;
use crate::found::Found;

/// Some have the block, some never answer, all others are not there.
struct Fakes(HashMap<Multiaddr, Option<Bytes>>);

impl Transport for Fakes {
    fn request<'a>(&'a self, _: &'a Multiaddr, _: &'a Request) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(async { Err(TransportError::Refused) })
    }

    fn block<'a>(&'a self, to: &'a Multiaddr, _cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, TransportError>> {
        Box::pin(async move {
            match self.0.get(to) {
                Some(Some(bytes)) => Ok(bytes.clone()),
                Some(None) => pending().await,
                None => Err(TransportError::NotFound),
            }
        })
    }

    fn probe<'a>(&'a self, _: &'a [Multiaddr]) -> BoxFuture<'a, Result<Multiaddr, TransportError>> {
        Box::pin(async { Err(TransportError::Refused) })
    }

    fn car<'a>(&'a self, _: &'a Multiaddr, _: &'a Cid) -> BoxFuture<'a, Result<ByteStream, TransportError>> {
        Box::pin(async { Err(TransportError::NotFound) })
    }
}

/// Finds what the test sends.
struct Sent(Mutex<Option<mpsc::UnboundedReceiver<Multiaddr>>>);

impl Providers for Sent {
    fn find(&self, _cid: &Cid) -> ProviderStream {
        let sent = self.0.lock().unwrap().take().unwrap();
        Box::pin(futures_util::stream::unfold(sent, |mut sent| async { sent.recv().await.map(|one| (one, sent)) }))
    }
}

fn address(port: u16) -> Multiaddr {
    format!("/ip4/127.0.0.1/tcp/{port}/http").parse().unwrap()
}

/// Times that only a fault would reach.
fn fetcher(transport: Fakes) -> Arc<Fetcher> {
    let long = Duration::from_secs(600);
    let config = FetchConfig { block_timeout: long, total_timeout: long, candidates_max: 2, ..FetchConfig::default() };
    let parts = (Arc::new(transport) as _, Arc::new(TokioClock) as _);
    Arc::new(Fetcher::new(parts, config, (long, long), Box::new(|_, _| {}), [7; 32]))
}

#[tokio::test]
async fn who_is_found_later_is_asked_beside_those_who_hang_or_lack_it() {
    let block = Block::sha2_256(RAW, "calm water".into()).unwrap();
    let (cid, bytes) = (*block.cid(), block.bytes().clone());
    let transport = Fakes(HashMap::from([(address(1), None), (address(9), Some(bytes.clone()))]));
    let (sender, sent) = mpsc::unbounded_channel();
    let found = Found::new(Arc::new(Sent(Mutex::new(Some(sent)))), Arc::new(TokioClock));
    let fetcher = fetcher(transport);
    // More than `routing.fetch.candidates_max` who lack it, one who hangs, and at last the one who has it.
    (1..=9).for_each(|port| sender.send(address(port)).unwrap());
    let fetched = fetcher.fetch(cid, vec![address(20), address(1)], Some(found.search(&cid))).await;
    assert_eq!(fetched.unwrap(), bytes);
}

#[tokio::test]
async fn a_fetch_ends_with_its_search_when_nobody_has_the_block() {
    let cid = *Block::sha2_256(RAW, "calm water".into()).unwrap().cid();
    let (sender, sent) = mpsc::unbounded_channel();
    let found = Found::new(Arc::new(Sent(Mutex::new(Some(sent)))), Arc::new(TokioClock));
    let fetcher = fetcher(Fakes(HashMap::new()));
    sender.send(address(2)).unwrap();
    drop(sender);
    let nobody = fetcher.fetch(cid, Vec::new(), Some(found.search(&cid))).await;
    assert!(matches!(nobody, Err(FetchError::NotFound(_))), "{nobody:?}");
    // Remembered, so that those who ask again at once cost nobody anything.
    let again = fetcher.fetch(cid, vec![address(2)], None).await;
    assert!(matches!(again, Err(FetchError::NotFound(_))), "{again:?}");
}
