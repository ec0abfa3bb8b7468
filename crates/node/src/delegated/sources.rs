//! Where answers come from: this node, the members it knows, and the DHT, in this order, each peer once.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use atoll_core::delegated::{BITSWAP, GATEWAY, PeerRecord, is_http};
use atoll_core::{Cid, Deny as _, Multiaddr, PeerId, Reach, Subject};
use atoll_swarm::{Located, Swarm};
use futures_util::stream::{self, Stream, StreamExt as _};
use multiaddr::Protocol;

use crate::node::Inner;

/// Records as they are found.
pub(super) type Records = Pin<Box<dyn Stream<Item = PeerRecord> + Send>>;

/// Who provides a block. What is denied here has no providers.
pub(super) async fn providers(node: &Arc<Inner>, reach: Reach, cid: Cid) -> Records {
    if node.deny.decide(Subject::Block(&cid)).is_some() {
        return Box::pin(stream::empty());
    }
    let mut known = Vec::new();
    let store = node.local.store().clone();
    let held = tokio::task::spawn_blocking(move || store.has(cid.hash())).await;
    if matches!(held, Ok(Ok(true))) {
        known.push(own(node));
    }
    known.extend(node.router.members_with(&cid).into_iter().map(|(peer, addresses)| member(peer, addresses)));
    let found = match &node.swarm {
        Some(swarm) => {
            let located = swarm.locate(&cid).await;
            stream::unfold(located, |mut located| async { located.recv().await.map(|found| (found, located)) }).boxed()
        }
        None => stream::empty().boxed(),
    };
    let mut seen = HashSet::new();
    let all = stream::iter(known).chain(found.map(unspecific));
    Box::pin(all.filter_map(move |record| {
        let new = seen.insert(record.id).then_some(record).and_then(|record| within(record, reach));
        std::future::ready(new)
    }))
}

/// Where a peer is: one record, or none.
pub(super) async fn peer(node: &Arc<Inner>, reach: Reach, peer: PeerId) -> Records {
    if peer == node.router.me() {
        return Box::pin(stream::iter(within(own(node), reach)));
    }
    let mut record = member(peer, node.router.member(&peer).unwrap_or_default());
    if let Some(swarm) = &node.swarm {
        let is_member = !record.protocols.is_empty();
        let located = member(peer, swarm.find_peer(peer).await);
        // Of others it is not known what they speak.
        let protocols = if is_member { located.protocols } else { Vec::new() };
        record.merge(PeerRecord { protocols, ..located });
    }
    let is_known = !record.addresses.is_empty();
    Box::pin(stream::iter(is_known.then_some(record).and_then(|record| within(record, reach))))
}

/// The peers nearest to a key, the nearest first.
pub(super) async fn closest(swarm: &Swarm, reach: Reach, key: Vec<u8>) -> Records {
    let located = swarm.closest(key).await;
    Box::pin(stream::iter(located.into_iter().map(unspecific).filter_map(move |record| within(record, reach))))
}

/// This node: by Bitswap where it has a swarm, over HTTP where others are told of its gateway.
fn own(node: &Inner) -> PeerRecord {
    let listens = node.swarm.as_ref().map(Swarm::addresses).unwrap_or_default();
    member(node.router.me(), [node.router.addresses(), listens].concat())
}

/// A member, which serves by each kind of address that it has.
fn member(id: PeerId, addresses: Vec<Multiaddr>) -> PeerRecord {
    let mut record = PeerRecord { id, addresses: Vec::new(), protocols: Vec::new() };
    for mut address in addresses {
        if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
            address.pop();
        }
        let protocol = if is_http(&address) { GATEWAY } else { BITSWAP };
        record.merge(PeerRecord { id, addresses: vec![address], protocols: vec![protocol.to_owned()] });
    }
    record
}

/// The DHT does not say what a peer speaks.
fn unspecific(located: Located) -> PeerRecord {
    PeerRecord { id: located.peer, addresses: located.addresses, protocols: Vec::new() }
}

/// The record with the addresses that may be told; `None` when it had some and none may.
fn within(mut record: PeerRecord, reach: Reach) -> Option<PeerRecord> {
    let had_some = !record.addresses.is_empty();
    record.addresses.retain(|address| reach.allows(address));
    (!had_some || !record.addresses.is_empty()).then_some(record)
}
