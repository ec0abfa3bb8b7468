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
}

impl Standing {
    /// Works it out for `site`.
    pub(crate) fn of(table: &Table, site: &SiteId, placed: &Placed) -> Self {
        let n = usize::try_from(placed.signed.record().n).unwrap_or(usize::MAX);
        Self { ranked: ranked(table, site, placed, |peer| peer.health.live), n }
    }

    /// Since when nobody has come or gone who decides whether `me` holds: those who stand before it, or would if they lived.
    pub(crate) fn stable_since(&self, table: &Table, site: &SiteId, placed: &Placed, me: &PeerId) -> Timestamp {
        let possible = ranked(table, site, placed, |_| true);
        let deciding = up_to(&self.ranked, me).iter().chain(up_to(&possible, me));
        let changed = deciding.filter_map(|peer| table.members.get(peer)).map(|peer| peer.health.changed);
        changed.max().unwrap_or_default()
    }

    /// The members that hold.
    pub(crate) fn holders(&self) -> &[PeerId] {
        self.ranked.get(..self.n).unwrap_or(&self.ranked)
    }

    /// The holders and as many more, who would hold if those died.
    pub(crate) fn near(&self) -> &[PeerId] {
        self.ranked.get(..self.n.saturating_mul(2)).unwrap_or(&self.ranked)
    }

    /// Whether `peer` is one of the holders.
    pub(crate) fn is_holder(&self, peer: &PeerId) -> bool {
        self.holders().contains(peer)
    }
}

/// The rank among the members that `counts` lets through.
fn ranked(table: &Table, site: &SiteId, placed: &Placed, counts: impl Fn(&Peer) -> bool) -> Vec<PeerId> {
    let holds = |member: &Member| peer(table, member).is_some_and(|peer| peer.health.holds_any(&placed.roots));
    let members = table.members.values().filter(|peer| counts(peer)).map(|peer| peer.signed.record());
    rank(site, placed.signed.record(), members, holds).into_iter().filter_map(Member::peer_id).collect()
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
