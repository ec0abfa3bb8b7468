//! What the swarm counts, for whoever watches the node. Lost with the process, as scraped figures are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libp2p::core::ConnectedPoint;
use libp2p::kad::QueryResult;
use multiaddr::{Multiaddr, Protocol};

/// The ways of a connection, a stream or a block: to us, and from us.
pub const WAYS: [&str; 2] = ["in", "out"];
/// What connections go over.
pub const TRANSPORTS: [&str; 3] = ["tcp", "quic", "other"];
/// Questions to the DHT.
pub const QUERIES: [&str; 5] = ["closest", "providers", "get_record", "put_record", "bootstrap"];
/// What became of news of others: passed on, known or of no use, or wrong.
pub const VERDICTS: [&str; 3] = ["accepted", "ignored", "rejected"];

/// All counts since the start, and how many connections there are. Where there are several of a kind, they are in the order of
/// the names above.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections that are open, by transport and way.
    pub connections: [[AtomicU64; 2]; 3],
    /// Connections that did not come about, by way.
    pub failed: [AtomicU64; 2],
    /// Streams of Bitswap that were opened, by way.
    pub streams: [AtomicU64; 2],
    /// Blocks, and their bytes, by way; of those that came, the ones that were asked for.
    pub blocks: [AtomicU64; 2],
    /// Their bytes.
    pub bytes: [AtomicU64; 2],
    /// Blocks that came and were not asked for.
    pub unasked: AtomicU64,
    /// Entries of want-lists, those taken back included, by way.
    pub wants: [AtomicU64; 2],
    /// News of others, by verdict.
    pub news: [AtomicU64; 3],
    /// News of ours that went to somebody.
    pub told: AtomicU64,
    /// Questions to the DHT that came to their end.
    pub queries: [AtomicU64; 5],
    /// How long they took in all, in microseconds.
    pub query_us: [AtomicU64; 5],
}

/// One more.
pub(crate) fn one(count: &AtomicU64) {
    many(count, 1);
}

/// So many more.
pub(crate) fn many(count: &AtomicU64, more: usize) {
    count.fetch_add(more as u64, Ordering::Relaxed);
}

impl Counts {
    /// The connections like that one.
    fn like(&self, end: &ConnectedPoint) -> &AtomicU64 {
        let [tcp, quic, other] = &self.connections;
        let [to_us, from_us] = match transport_of(end.get_remote_address()) {
            "tcp" => tcp,
            "quic" => quic,
            _ => other,
        };
        if end.is_dialer() { from_us } else { to_us }
    }

    pub(crate) fn opened(&self, end: &ConnectedPoint) {
        one(self.like(end));
    }

    pub(crate) fn closed(&self, end: &ConnectedPoint) {
        self.like(end).fetch_sub(1, Ordering::Relaxed);
    }

    /// A question to the DHT came to its end.
    pub(crate) fn asked(&self, result: &QueryResult, took: Option<Duration>) {
        let kind = match result {
            QueryResult::GetClosestPeers(_) => 0,
            QueryResult::GetProviders(_) => 1,
            QueryResult::GetRecord(_) => 2,
            QueryResult::PutRecord(_) => 3,
            QueryResult::Bootstrap(_) => 4,
            _ => return,
        };
        if let (Some(count), Some(us)) = (self.queries.get(kind), self.query_us.get(kind)) {
            one(count);
            many(us, usize::try_from(took.unwrap_or_default().as_micros()).unwrap_or(usize::MAX));
        }
    }
}

/// What a connection to `address` goes over, one of [`TRANSPORTS`].
fn transport_of(address: &Multiaddr) -> &'static str {
    let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
    if has(|part| matches!(part, Protocol::QuicV1 | Protocol::Quic)) {
        "quic"
    } else if has(|part| matches!(part, Protocol::Tcp(_))) {
        "tcp"
    } else {
        "other"
    }
}
