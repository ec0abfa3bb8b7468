//! Which sites this node holds, worked out from the table alone: the same on every node that sees the same members live.

use atoll_core::rank::rank;
use atoll_core::record::Member;
use atoll_core::{PeerId, SiteId, Timestamp};

use crate::table::{Peer, Placed, Table};

/// Where members stand with regard to one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The live members of the rank, best first; the first [`Standing::n`] hold.
    pub(crate) ranked: Vec<PeerId>,
    /// How many hold.
    pub(crate) n: usize,
    /// Since when nobody who decides about `of` has come or gone.
    pub(crate) stable_since: Timestamp,
}

impl Standing {
    /// Works it out for `site`, as seen by `of`.
    pub(crate) fn of(table: &Table, site: &SiteId, placed: &Placed, of: &PeerId) -> Self {
        let placement = placed.signed.record();
        let holds = |member: &Member| peer(table, member).is_some_and(|peer| peer.health.holds_any(&placed.roots));
        let live = table.members.values().filter(|peer| peer.health.live).map(|peer| peer.signed.record());
        let all = table.members.values().map(|peer| peer.signed.record());
        let ranked: Vec<PeerId> = rank(site, placement, live, holds).into_iter().filter_map(Member::peer_id).collect();
        let possible: Vec<PeerId> = rank(site, placement, all, holds).into_iter().filter_map(Member::peer_id).collect();
        // Whoever stands before this node now, or would if it lived, decides whether this node holds.
        let deciding = up_to(&ranked, of).iter().chain(up_to(&possible, of));
        let changed = deciding.filter_map(|peer| table.members.get(peer)).map(|peer| peer.health.changed);
        let stable_since = changed.max().unwrap_or_default();
        Self { ranked, n: usize::try_from(placement.n).unwrap_or(usize::MAX), stable_since }
    }

    /// The members that hold.
    pub(crate) fn holders(&self) -> &[PeerId] {
        self.ranked.get(..self.n).unwrap_or(&self.ranked)
    }

    /// Whether `peer` is one of the holders.
    pub(crate) fn is_holder(&self, peer: &PeerId) -> bool {
        self.holders().contains(peer)
    }
}

/// The list up to and with `peer`, or all of it.
fn up_to<'a>(list: &'a [PeerId], peer: &PeerId) -> &'a [PeerId] {
    let end = list.iter().position(|other| other == peer).map_or(list.len(), |index| index.saturating_add(1));
    list.get(..end).unwrap_or(list)
}

/// The table's entry of a member.
fn peer<'a>(table: &'a Table, member: &Member) -> Option<&'a Peer> {
    table.members.get(&member.peer_id()?)
}
