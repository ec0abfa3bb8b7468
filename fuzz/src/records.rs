//! Signed records, and the ids and keys in them.

use std::sync::LazyLock;

use atoll_core::envelope::{ENVELOPE_BYTES_MAX, Record, payload_type};
use atoll_core::id::{PublicKey, SiteId};
use atoll_core::keys::{AnswerKey, SecretKey};
use atoll_core::record::{Member, Placement, ProbeAnswer, PurgeAnswer, PurgeLog};
use atoll_core::{PeerId, Signed};
use bytes::Bytes;

/// An envelope, and a payload as if its signature had been right: no fuzzer signs.
pub fn record(data: &[u8]) {
    envelope::<Member>(data);
    envelope::<Placement>(data);
    envelope::<ProbeAnswer>(data);
    envelope::<PurgeLog>(data);
    envelope::<PurgeAnswer>(data);
    let _ = payload_type(data);
}

fn envelope<R: Record + PartialEq + std::fmt::Debug>(data: &[u8]) {
    if let Ok(signed) = Signed::<R>::open(Bytes::copy_from_slice(data)) {
        assert!(data.len() <= ENVELOPE_BYTES_MAX);
        assert_eq!(signed.bytes(), data);
        assert_eq!(payload_type(data).as_deref(), Some(R::PAYLOAD_TYPE));
    }
    let Ok(payload) = serde_ipld_dagcbor::from_slice::<R>(data) else { return };
    if payload.check(&KEY.public()).is_ok() {
        // What passes every rule can be signed, unless it is too long, and is then read as the same.
        static_key::<R>(payload);
    }
}

fn static_key<R: Record + PartialEq + std::fmt::Debug>(payload: R) {
    let key = SecretKey::<R::Signer>::from_seed(&SEED);
    if let Ok(signed) = Signed::seal(payload, &key) {
        let read = Signed::<R>::open(signed.bytes().clone());
        assert_eq!(read.as_ref().map(Signed::record), Ok(signed.record()));
    }
}

const SEED: [u8; 32] = [7; 32];
static KEY: LazyLock<SecretKey<atoll_core::keys::Site>> = LazyLock::new(|| SecretKey::from_seed(&SEED));

/// Ids and keys as text and as bytes.
pub fn id(data: &[u8]) {
    if let Some(key) = PublicKey::from_protobuf(data) {
        assert_eq!(key.to_protobuf(), data);
        if let Some(peer) = key.to_peer_id() {
            assert_eq!(PublicKey::from_peer_id(&peer), Some(key));
        }
    }
    if let Ok(peer) = PeerId::from_bytes(data) {
        let _ = PublicKey::from_peer_id(&peer);
    }
    if let Ok(key) = SecretKey::<atoll_core::keys::Site>::from_libp2p(data) {
        assert_eq!(
            SecretKey::<atoll_core::keys::Site>::from_libp2p(&key.to_libp2p()).map(|key| key.public()),
            Ok(key.public())
        );
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(id) = text.parse::<SiteId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    let _ = SecretKey::<atoll_core::keys::Site>::from_pem(text);
    let _ = AnswerKey::from_pem(text);
}
