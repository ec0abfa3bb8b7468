//! What a node tells others of itself: where it is reached, and what it holds for them. Keeps nothing.

use std::net::SocketAddr;

use atoll_core::record::{Accept, MEMBER_ADDRESSES_MAX};
use atoll_core::{Multiaddr, Reach, SiteId};
use atoll_swarm::Swarm;

use crate::address;
use crate::config::{Accept as AcceptSetting, AcceptWord, Config};

/// The addresses that the node tells others: those of its gateway, then those of its swarm that reach farthest.
pub(super) fn announced(config: &Config, bound: SocketAddr, swarm: Option<&Swarm>) -> Vec<Multiaddr> {
    let mut told: Vec<Multiaddr> = config.node.announce.iter().filter_map(|text| text.parse().ok()).collect();
    let peers = swarm.map_or(Vec::new(), Swarm::addresses);
    if told.is_empty() && !bound.ip().is_unspecified() {
        told.push(address::of_socket(bound));
    } else if told.is_empty() && peers.is_empty() {
        tracing::warn!("gateway.listen is a wildcard: set node.announce, or no member can reach this node");
    }
    let farthest = peers.iter().map(Reach::of).max();
    told.extend(peers.into_iter().filter(|address| Some(Reach::of(address)) == farthest));
    told.truncate(MEMBER_ADDRESSES_MAX);
    told
}

/// Which placements it accepts, as its member record says it.
pub(super) fn accept(setting: &AcceptSetting) -> Accept {
    match setting {
        AcceptSetting::Word(AcceptWord::Any) => Accept::Any,
        AcceptSetting::Word(AcceptWord::None) => Accept::None,
        AcceptSetting::Sites(sites) => {
            Accept::List(sites.iter().filter_map(|site| site.parse::<SiteId>().ok()).collect())
        }
    }
}
