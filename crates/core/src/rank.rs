//! Rank: which members hold a site, computed by every node alike, with no coordinator.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::id::{PublicKey, SiteId};
use crate::record::{Member, Placement};

/// The score of a member for a site: SHA-256 of `"atoll-place-1"`, site id and peer id bytes. Highest comes first.
pub fn score(site: &SiteId, peer: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(b"atoll-place-1").chain_update(site.0).chain_update(peer).finalize().into()
}

/// The members that may hold `site`, in rank order: the best of each operator first, repeats after them. The first
/// [`Placement::n`] of them hold.
///
/// `members` are the live ones; whether each accepts is checked here. One that holds the site already accepts it
/// whatever it has free, which `holds` tells.
pub fn rank<'a>(
    site: &SiteId,
    placement: &Placement,
    members: impl Iterator<Item = &'a Member>,
    holds: impl Fn(&Member) -> bool,
) -> Vec<&'a Member> {
    let may_hold = |member: &&Member| {
        let needed = if holds(member) { 0 } else { placement.quota };
        placement.allows(member.peer_bytes()) && member.accepts(site, needed)
    };
    let mut scored: Vec<_> = members.filter(may_hold).map(|m| (score(site, m.peer_bytes()), m)).collect();
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let mut seen: HashSet<PublicKey> = HashSet::new();
    let (first, repeats): (Vec<_>, Vec<_>) =
        scored.into_iter().map(|(_, member)| member).partition(|member| seen.insert(member.operator.key));
    first.into_iter().chain(repeats).collect()
}
