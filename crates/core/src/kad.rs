//! The messages of the IPFS DHT that this node writes and reads itself (`/ipfs/kad/1.0.0`; specs.ipfs.tech/routing/kad-dht,
//! "RPC messages"): that it provides a key, and who else says so. All others are libp2p's work.
//!
//! Every message has its length before it, as a varint. The decoder reads hostile bytes: nothing is reserved on a peer's
//! word, and what is no peer id is left out.

use bytes::Bytes;
use multiaddr::Multiaddr;
use prost::Message as _;

use crate::id::PeerId;

/// The largest message that is read, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The most peers that are read of one list; the others are left out.
pub const PEERS_MAX: usize = 256;
/// The most addresses of this node that are told with each key.
pub const ADDRESSES_MAX: usize = 8;

/// `ADD_PROVIDER`, with its length before it: `me`, at `addresses`, provides `key`. There is no answer to it.
pub fn add_provider(key: &[u8], me: &PeerId, addresses: &[Multiaddr]) -> Vec<u8> {
    let addresses = addresses.iter().take(ADDRESSES_MAX).map(|address| address.to_vec().into()).collect();
    let provider = wire::Peer { id: me.to_bytes().into(), addresses, connection: wire::CONNECTED };
    let message =
        wire::Message { kind: wire::ADD_PROVIDER, key: Bytes::copy_from_slice(key), providers: vec![provider] };
    message.encode_length_delimited_to_vec()
}

/// `GET_PROVIDERS`, with its length before it.
pub fn get_providers(key: &[u8]) -> Vec<u8> {
    let message = wire::Message { kind: wire::GET_PROVIDERS, key: Bytes::copy_from_slice(key), providers: Vec::new() };
    message.encode_length_delimited_to_vec()
}

/// The providers that an answer names, or that a message tells of, at most [`PEERS_MAX`]; without the length before it.
///
/// # Errors
/// [`KadError`] when it is too large or no such message.
pub fn providers(bytes: Bytes) -> Result<Vec<PeerId>, KadError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(KadError::TooLarge(bytes.len()));
    }
    let message = wire::Message::decode(bytes)?;
    if message.kind != wire::GET_PROVIDERS && message.kind != wire::ADD_PROVIDER {
        return Err(KadError::Kind(message.kind));
    }
    let peers = message.providers.iter().take(PEERS_MAX);
    Ok(peers.filter_map(|peer| PeerId::from_bytes(&peer.id).ok()).collect())
}

/// Why bytes are not the message that was waited for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KadError {
    /// Over [`MESSAGE_BYTES_MAX`].
    #[error("a message of {0} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    TooLarge(usize),
    /// Another kind of message.
    #[error("a message of type {0} has no providers")]
    Kind(i32),
    /// No protobuf.
    #[error("{0}")]
    Wire(#[from] prost::DecodeError),
}

/// The messages as protobuf has them.
mod wire {
    use bytes::Bytes;

    pub(super) const ADD_PROVIDER: i32 = 2;
    pub(super) const GET_PROVIDERS: i32 = 3;
    pub(super) const CONNECTED: i32 = 1;

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Message {
        #[prost(int32, tag = "1")]
        pub(super) kind: i32,
        #[prost(bytes = "bytes", tag = "2")]
        pub(super) key: Bytes,
        #[prost(message, repeated, tag = "9")]
        pub(super) providers: Vec<Peer>,
    }

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Peer {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) id: Bytes,
        #[prost(bytes = "bytes", repeated, tag = "2")]
        pub(super) addresses: Vec<Bytes>,
        #[prost(int32, tag = "3")]
        pub(super) connection: i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::IdentityKey;

    fn without_length(mut bytes: Vec<u8>) -> Bytes {
        let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        bytes.drain(..end);
        bytes.into()
    }

    #[test]
    fn a_message_is_written_byte_by_byte_as_the_specification_has_it() {
        let me = IdentityKey::from_seed(&[1; 32]).peer_id();
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
        let message = add_provider(b"key", &me, std::slice::from_ref(&address));
        let (id, address) = (me.to_bytes(), address.to_vec());
        let peer = [&[0x0a, 38][..], &id, &[0x12, 8], &address, &[0x18, 1]].concat();
        let body = [&[0x08, 2, 0x12, 3][..], b"key", &[0x4a, 52], &peer].concat();
        assert_eq!(message, [&[u8::try_from(body.len()).unwrap()], &body[..]].concat());
        assert_eq!(providers(body.into()), Ok(vec![me]));
        assert_eq!(get_providers(b"key"), [7, 0x08, 3, 0x12, 3, b'k', b'e', b'y']);
    }

    #[test]
    fn other_messages_and_other_bytes_are_refused() {
        assert!(matches!(providers(vec![0; MESSAGE_BYTES_MAX + 1].into()), Err(KadError::TooLarge(_))));
        assert_eq!(providers(Bytes::from_static(&[0x08, 4])), Err(KadError::Kind(4)));
        assert!(matches!(providers(Bytes::from_static(&[0x4a, 9])), Err(KadError::Wire(_))));
        // A peer that is none is left out.
        assert_eq!(providers(Bytes::from_static(&[0x08, 3, 0x4a, 2, 0x0a, 0])), Ok(vec![]));
        assert_eq!(providers(without_length(get_providers(b"key"))), Ok(vec![]));
    }
}
