//! What members say to each other, and how it travels: a trait, so that libp2p can replace HTTP, and a simulation both.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::block::{Block, BlockError, Cid};
use crate::blocks::BoxFuture;

/// The most records in one message; with envelopes of 4 KiB that is 1 MiB.
pub const RECORDS_MAX: usize = 256;
/// The most IPNS records in one message; with records of 10 KiB that is 640 KiB.
pub const NAMES_MAX: usize = 64;
/// The largest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024 + 64 * 1024;

/// A question to a member, as dag-cbor (`docs/formats.md`, "Messages").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// The records that changed since a place in the member's own order.
    Records {
        /// What the member named its order at the last answer; zero at first.
        epoch: u64,
        /// The place up to which the asker has them.
        since: u64,
    },
    /// Envelopes that the asker believes to be news.
    Announce {
        /// Signed envelopes.
        records: Vec<ByteBuf>,
    },
    /// Are you there, and which of these do you hold?
    Probe {
        /// Fresh randomness.
        #[serde(with = "serde_bytes")]
        nonce: [u8; 32],
        /// At most [`crate::record::PROBE_ROOTS_MAX`] roots.
        roots: Vec<Cid>,
    },
    /// How far do you obey the purges of this site?
    Purged {
        /// Fresh randomness.
        #[serde(with = "serde_bytes")]
        nonce: [u8; 32],
        /// The site's id.
        #[serde(with = "serde_bytes")]
        site: [u8; 32],
    },
    /// What is your record of this IPNS name? The member answers from what it keeps and asks nobody.
    Name {
        /// The name's multihash.
        name: ByteBuf,
    },
    /// IPNS records that the asker believes to be news.
    Names {
        /// At most [`NAMES_MAX`].
        records: Vec<NamedRecord>,
    },
}

/// An IPNS record and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedRecord {
    /// The name's multihash.
    pub name: ByteBuf,
    /// The record's protobuf, at most [`crate::ipns::RECORD_BYTES_MAX`].
    pub record: ByteBuf,
}

/// A member's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// To [`Request::Records`].
    Records {
        /// Names the member's order; another one after each restart.
        epoch: u64,
        /// Where to go on asking.
        next: u64,
        /// Signed envelopes, oldest change first.
        records: Vec<ByteBuf>,
        /// Whether more follow at `next` already.
        more: bool,
    },
    /// To [`Request::Announce`].
    Announced {
        /// How many were news.
        accepted: u64,
    },
    /// To [`Request::Name`].
    Name {
        /// The record's protobuf, if there is a live one.
        record: Option<ByteBuf>,
    },
    /// To [`Request::Names`].
    Named {
        /// How many were news.
        accepted: u64,
    },
    /// To [`Request::Purged`]: an envelope with a [`crate::record::PurgeAnswer`].
    Purged {
        /// The signed envelope.
        answer: ByteBuf,
    },
    /// To [`Request::Probe`]: an envelope with a [`crate::record::ProbeAnswer`].
    Probe {
        /// The signed envelope.
        answer: ByteBuf,
    },
}

/// Encodes a message.
///
/// # Errors
/// [`TransportError::Malformed`] never in practice.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, TransportError> {
    serde_ipld_dagcbor::to_vec(message).map_err(|_| TransportError::Malformed)
}

/// Decodes a message of at most [`MESSAGE_BYTES_MAX`].
///
/// # Errors
/// [`TransportError::Malformed`] when it is anything else.
pub fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, TransportError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(TransportError::Malformed);
    }
    serde_ipld_dagcbor::from_slice(bytes).map_err(|_| TransportError::Malformed)
}

/// A stream of bytes that ends early with an error, never silently.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>;

/// How to reach a member. Of what comes back only blocks are verified.
pub trait Transport: Send + Sync + 'static {
    /// Asks the member at `to`.
    fn request<'a>(
        &'a self,
        to: &'a Multiaddr,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Response, TransportError>>;

    /// One block, which was hashed once on its way: [`TransportError::Block`] says that it was not what was asked for.
    fn block<'a>(&'a self, to: &'a Multiaddr, cid: &'a Cid) -> BoxFuture<'a, Result<Block, TransportError>>;

    /// Tries a stranger, who is said to be at all of `addresses`; the address by which it is then asked for blocks.
    fn probe<'a>(&'a self, addresses: &'a [Multiaddr]) -> BoxFuture<'a, Result<Multiaddr, TransportError>>;

    /// The whole DAG under `root` as a CARv1, depth first, without duplicates, unverified.
    fn car<'a>(&'a self, to: &'a Multiaddr, root: &'a Cid) -> BoxFuture<'a, Result<ByteStream, TransportError>>;

    /// The last round trip to the member at `to` that the transport has measured by itself, if it does.
    fn round_trip(&self, _to: &Multiaddr) -> Option<Duration> {
        None
    }
}

/// Reaches nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopTransport;

impl Transport for NoopTransport {
    fn request<'a>(
        &'a self,
        _to: &'a Multiaddr,
        _request: &'a Request,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(async { Err(TransportError::Refused) })
    }

    fn block<'a>(&'a self, _to: &'a Multiaddr, _cid: &'a Cid) -> BoxFuture<'a, Result<Block, TransportError>> {
        Box::pin(async { Err(TransportError::NotFound) })
    }

    fn probe<'a>(&'a self, _addresses: &'a [Multiaddr]) -> BoxFuture<'a, Result<Multiaddr, TransportError>> {
        Box::pin(async { Err(TransportError::Refused) })
    }

    fn car<'a>(&'a self, _to: &'a Multiaddr, _root: &'a Cid) -> BoxFuture<'a, Result<ByteStream, TransportError>> {
        Box::pin(async { Err(TransportError::NotFound) })
    }
}

/// How to tell all members at once. What is said is passed on by those who take it for news.
pub trait Gossip: Send + Sync + 'static {
    /// Says a [`Request::Announce`] or [`Request::Names`]; whether somebody is there to hear it.
    fn publish<'a>(&'a self, news: &'a Request) -> BoxFuture<'a, bool>;

    /// Where connected peers that speak as members do can be asked.
    fn neighbours(&self) -> Vec<Multiaddr>;

    /// Waits until more neighbours were met than `so_far`; how many, since the start.
    fn met(&self, so_far: u64) -> BoxFuture<'_, u64>;
}

/// Is heard by nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopGossip;

impl Gossip for NoopGossip {
    fn publish<'a>(&'a self, _news: &'a Request) -> BoxFuture<'a, bool> {
        Box::pin(async { false })
    }

    fn neighbours(&self) -> Vec<Multiaddr> {
        Vec::new()
    }

    fn met(&self, _so_far: u64) -> BoxFuture<'_, u64> {
        Box::pin(std::future::pending())
    }
}

/// The other side of a [`Transport`]: answers what members ask.
pub trait Answer: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>>;
}

/// Belongs to nobody: refuses every question.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopAnswer;

impl Answer for NoopAnswer {
    fn answer(&self, _request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async { Err(TransportError::Refused) })
    }
}

/// Why a member gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// The deadline passed.
    #[error("no answer within {0} ms")]
    TimedOut(u64),
    /// It answered that it has none.
    #[error("not found")]
    NotFound,
    /// It answered that it will not, or not now.
    #[error("refused")]
    Refused,
    /// An HTTP status that fits no question of ours.
    #[error("status {0}")]
    Status(u16),
    /// Too large, too deep, or not the expected codec.
    #[error("malformed answer")]
    Malformed,
    /// The bytes of a block are not what its name says.
    #[error("{0}")]
    Block(#[from] BlockError),
    /// The connection broke within a body.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// An address that this transport cannot dial.
    #[error("address {0} is not of a kind that can be dialled")]
    Address(Multiaddr),
}
