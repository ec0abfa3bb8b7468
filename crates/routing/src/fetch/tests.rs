//! A fetch whose candidates are still being found.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use atoll_core::block::RAW;
use atoll_core::exchange::NoopExchange;
use atoll_core::providers::ProviderStream;
use atoll_core::transport::{ByteStream, Request, Response};
use atoll_core::{Block, Providers};
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::TokioClock;
use crate::found::Found;

/// Some have the block, some never answer, all others are not there.
struct Fakes(HashMap<Multiaddr, Option<Block>>);

impl Transport for Fakes {
    fn request<'a>(&'a self, _: &'a Multiaddr, _: &'a Request) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(async { Err(TransportError::Refused) })
    }

    fn block<'a>(&'a self, to: &'a Multiaddr, _cid: &'a Cid) -> BoxFuture<'a, Result<Block, TransportError>> {
        Box::pin(async move {
            match self.0.get(to) {
                Some(Some(block)) => Ok(block.clone()),
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

fn candidates(addresses: Vec<Multiaddr>) -> Candidates {
    Candidates::new(None, addresses)
}

/// Times that only a fault would reach.
fn fetcher(transport: Fakes) -> Arc<Fetcher> {
    fetcher_with(transport, Arc::new(NoopExchange))
}

fn fetcher_with(transport: Fakes, exchange: Arc<dyn Exchange>) -> Arc<Fetcher> {
    let long = Duration::from_secs(600);
    let config = FetchConfig { block_timeout: long, total_timeout: long, candidates_max: 2, ..FetchConfig::default() };
    let means = Means { transport: Arc::new(transport), exchange, clock: Arc::new(TokioClock) };
    Arc::new(Fetcher::new(means, config, (long, long), Box::new(|_, _| {}), [7; 32]))
}

#[tokio::test]
async fn who_is_found_later_is_asked_beside_those_who_hang_or_lack_it() {
    let block = Block::sha2_256(RAW, "calm water".into()).unwrap();
    let cid = *block.cid();
    let transport = Fakes(HashMap::from([(address(1), None), (address(9), Some(block.clone()))]));
    let (sender, sent) = mpsc::unbounded_channel();
    let found = Found::new(Arc::new(Sent(Mutex::new(Some(sent)))), Arc::new(TokioClock));
    let fetcher = fetcher(transport);
    // More than `routing.fetch.candidates_max` who lack it, one who hangs, and at last the one who has it.
    (1..=9).for_each(|port| sender.send(address(port)).unwrap());
    let fetched = fetcher.fetch(cid, candidates(vec![address(20), address(1)]), Some(found.search(&cid))).await;
    assert_eq!(fetched.unwrap(), block);
}

/// An exchange whose only peer joins late. It waits for that one, or says that nobody has the block.
struct Late {
    block: Block,
    waits: bool,
    asked: AtomicUsize,
    joined: Notify,
}

impl Exchange for Late {
    fn block<'a>(
        &'a self,
        _root: &'a Cid,
        _cid: &'a Cid,
        peers: &'a [Multiaddr],
    ) -> BoxFuture<'a, Result<Block, TransportError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            if peers.is_empty() {
                self.joined.notified().await;
            }
            let has = self.waits || !peers.is_empty();
            if has { Ok(self.block.clone()) } else { Err(TransportError::NotFound) }
        })
    }

    fn join(&self, _root: &Cid, _peers: &[Multiaddr]) {
        self.joined.notify_one();
    }
}

#[tokio::test]
async fn the_exchange_is_asked_before_anybody_is_known_and_anew_only_if_it_has_answered() {
    let block = Block::sha2_256(RAW, "calm water".into()).unwrap();
    let cid = *block.cid();
    for (waits, asked) in [(true, 1), (false, 2)] {
        let late = Arc::new(Late { block: block.clone(), waits, asked: AtomicUsize::new(0), joined: Notify::new() });
        let fetcher = fetcher_with(Fakes(HashMap::new()), Arc::clone(&late) as _);
        let (sender, sent) = mpsc::unbounded_channel();
        let found = Found::new(Arc::new(Sent(Mutex::new(Some(sent)))), Arc::new(TokioClock));
        let fetching = fetcher.fetch(cid, Candidates::new(Some(cid), Vec::new()), Some(found.search(&cid)));
        let finding = async {
            while late.asked.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            sender.send("/p2p/12D3KooWJabCa3dzr2RbJZro1JCKzY1XFnwU3kNthN3sWbf3t7M6".parse().unwrap()).unwrap();
        };
        let (fetched, ()) = tokio::join!(fetching, finding);
        assert_eq!(fetched.unwrap(), block);
        assert_eq!(late.asked.load(Ordering::SeqCst), asked);
    }
}

#[test]
fn who_was_overtaken_is_asked_later_for_a_while() {
    let peers = Peers::new([7; 32]);
    let [slow, quick] = [1, 2].map(|port| Source::At(address(port)));
    let now = Timestamp::from_millis(1_000_000);
    for (source, ms) in [(&slow, 1), (&quick, 20)] {
        let _running = peers.begin(source.clone());
        peers.succeeded(source, 1, Duration::from_millis(ms));
    }
    let first = |now| peers.order(vec![slow.clone(), quick.clone()], 1, now).remove(0);
    let mostly = |source: &Source, now| (0..100).filter(|_| first(now) == *source).count() > 80;
    assert!(mostly(&slow, now));
    peers.overtaken(std::slice::from_ref(&slow), now);
    // Not even at random.
    assert!((0..100).all(|_| first(now) == quick));
    assert!(mostly(&slow, now.after(Duration::from_secs(60))));
}

#[tokio::test]
async fn a_fetch_ends_with_its_search_when_nobody_has_the_block() {
    let cid = *Block::sha2_256(RAW, "calm water".into()).unwrap().cid();
    let (sender, sent) = mpsc::unbounded_channel();
    let found = Found::new(Arc::new(Sent(Mutex::new(Some(sent)))), Arc::new(TokioClock));
    let fetcher = fetcher(Fakes(HashMap::new()));
    sender.send(address(2)).unwrap();
    drop(sender);
    let nobody = fetcher.fetch(cid, candidates(Vec::new()), Some(found.search(&cid))).await;
    assert!(matches!(nobody, Err(FetchError::NotFound(_))), "{nobody:?}");
    // Remembered, so that those who ask again at once cost nobody anything.
    let again = fetcher.fetch(cid, candidates(vec![address(2)]), None).await;
    assert!(matches!(again, Err(FetchError::NotFound(_))), "{again:?}");
}
