//! Delegated Routing V1 (specs.ipfs.tech/routing/http-routing-v1) as values: records of peers, their filters, their JSON.
//!
//! What routers send is a stranger's text: bounded here in size and count, and anything in it that is not understood is left out
//! without failing the rest. Nothing is kept.

mod filter;
mod lines;

use std::str::FromStr as _;

use multiaddr::{Multiaddr, Protocol};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::block::Cid;
use crate::id::PeerId;

pub use filter::{Filter, FilterError};
pub use lines::{LINE_BYTES_MAX, LineTooLong, Lines};

/// What every path begins with.
pub const PREFIX: &str = "/routing/v1/";
/// A whole list.
pub const JSON: &str = "application/json";
/// One record a line, as they are found ("Streaming").
pub const NDJSON: &str = "application/x-ndjson";
/// An IPNS record.
pub const IPNS_RECORD: &str = "application/vnd.ipfs.ipns-record";
/// Blocks over libp2p by Bitswap.
pub const BITSWAP: &str = "transport-bitswap";
/// Blocks over HTTP by the trustless gateway protocol.
pub const GATEWAY: &str = "transport-ipfs-gateway-http";

/// The most addresses that are read of one record; further ones are left out.
pub const ADDRESSES_MAX: usize = 32;
/// The most transfer protocols that are read of one record.
pub const PROTOCOLS_MAX: usize = 32;
/// The longest name of a transfer protocol, in bytes (IPIP-484).
pub const PROTOCOL_BYTES_MAX: usize = 63;
/// The longest text that is looked at for a peer id or a key, in bytes.
const KEY_BYTES_MAX: usize = 160;

/// A peer, as the `peer` schema writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// Who.
    pub id: PeerId,
    /// Where; empty when the router does not know.
    pub addresses: Vec<Multiaddr>,
    /// Transfer protocols, such as [`BITSWAP`]; empty when the router does not know.
    pub protocols: Vec<String>,
}

impl PeerRecord {
    /// Reads one record of a list or one line of a stream; `None` when it is of a schema without a peer, or malformed.
    ///
    /// The legacy schemas, which have one `Protocol`, are read in the same way ("Legacy Schemas"). Addresses of kinds that are
    /// not known are left out.
    pub fn parse(json: &[u8]) -> Option<Self> {
        Self::from_value(serde_json::from_slice(json).ok()?)
    }

    fn from_value(value: Value) -> Option<Self> {
        let wire: Wire = serde_json::from_value(value).ok()?;
        if !["peer", "bitswap", "graphsync-filecoinv1"].contains(&wire.schema.as_str()) {
            return None;
        }
        let id = parse_peer(&wire.id)?;
        let texts = wire.addresses.unwrap_or_default().into_iter();
        let addresses = texts.filter_map(|text| text.as_str()?.parse().ok()).take(ADDRESSES_MAX).collect();
        let named = wire.protocols.unwrap_or_default().into_iter().chain(wire.protocol);
        let named = named.filter_map(|name| name.as_str().map(str::to_owned));
        let protocols = named.filter(|name| name.len() <= PROTOCOL_BYTES_MAX).take(PROTOCOLS_MAX).collect();
        Some(Self { id, addresses, protocols })
    }

    /// Whether it says that it speaks `protocol`, or does not say what it speaks.
    pub fn may_speak(&self, protocol: &str) -> bool {
        self.protocols.is_empty() || self.protocols.iter().any(|name| name.eq_ignore_ascii_case(protocol))
    }

    /// Adds what another record says of the same peer.
    pub fn merge(&mut self, other: Self) {
        for address in other.addresses {
            if self.addresses.len() < ADDRESSES_MAX && !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
        for protocol in other.protocols {
            if self.protocols.len() < PROTOCOLS_MAX && !self.protocols.contains(&protocol) {
                self.protocols.push(protocol);
            }
        }
    }
}

/// The fields that are read. Others are ignored, as the specification asks.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wire {
    schema: String,
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Addrs")]
    addresses: Option<Vec<Value>>,
    protocols: Option<Vec<Value>>,
    protocol: Option<Value>,
}

impl Serialize for PeerRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("PeerRecord", 4)?;
        record.serialize_field("Schema", "peer")?;
        // Base58: the one form of a peer id that every client reads.
        record.serialize_field("ID", &self.id.to_base58())?;
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        record.serialize_field("Addrs", &addresses)?;
        record.serialize_field("Protocols", &self.protocols)?;
        record.end()
    }
}

/// The list in a whole answer: `{"Providers": […]}` or `{"Peers": […]}`. Records that cannot be read are left out.
///
/// The caller bounds the size of `json`.
///
/// # Errors
/// [`NotAnAnswer`] when it is anything else.
pub fn records(json: &[u8]) -> Result<Vec<PeerRecord>, NotAnAnswer> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        #[serde(alias = "Peers")]
        providers: Option<Vec<Value>>,
    }
    let answer: Answer = serde_json::from_slice(json).map_err(|_| NotAnAnswer)?;
    Ok(answer.providers.unwrap_or_default().into_iter().filter_map(PeerRecord::from_value).collect())
}

/// A text that is no answer of a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a list of providers or peers")]
pub struct NotAnAnswer;

/// Reads a peer id: a base58 multihash, or a CIDv1 of codec libp2p-key in any base.
///
/// A CIDv1 of another codec is read too: people paste those.
pub fn parse_peer(text: &str) -> Option<PeerId> {
    if text.len() > KEY_BYTES_MAX {
        return None;
    }
    let of_cid = || PeerId::from_bytes(&Cid::from_str(text).ok()?.hash().to_bytes()).ok();
    text.parse().ok().or_else(of_cid)
}

/// Reads a key of the DHT: a peer id in its text form, or a CID, which stands for its multihash.
pub fn parse_key(text: &str) -> Option<Vec<u8>> {
    if text.len() > KEY_BYTES_MAX {
        return None;
    }
    let peer = text.parse::<PeerId>().map(|peer| peer.to_bytes());
    peer.ok().or_else(|| Some(Cid::from_str(text).ok()?.hash().to_bytes()))
}

/// Whether an address is one of HTTP, as the trustless gateway protocol uses it.
pub fn is_http(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Http | Protocol::Https))
}

#[cfg(test)]
mod tests;
