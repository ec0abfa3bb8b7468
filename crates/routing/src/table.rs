//! The table of records: the newest live one of each member and site, in the order in which they changed.
//!
//! Bounded, and without I/O. What a crash loses, the log or other members tell again.

use std::collections::{BTreeMap, HashSet};

use atoll_core::envelope::payload_type;
use atoll_core::record::{Member, Placement, PurgeLog};
use atoll_core::transport::RECORDS_MAX;
use atoll_core::{Cid, Multiaddr, PeerId, Record, Signed, SiteId, Timestamp};
use bytes::Bytes;
use multiaddr::Protocol;

use crate::config::Config;
use crate::error::RouteError;
use crate::health::Health;
use atoll_core::Reach;

/// How many earlier roots of a site are remembered, so that its holders count as holders right after a deploy.
const EARLIER_ROOTS_MAX: usize = 4;

/// A checked record of any kind.
#[derive(Clone, Debug)]
pub(crate) enum Opened {
    Member(Box<Signed<Member>>, PeerId),
    Placement(Box<Signed<Placement>>),
    Purges(Box<Signed<PurgeLog>>),
}

impl Opened {
    /// Checks an envelope; slow (three signatures), so called without a lock.
    pub(crate) fn open(bytes: Bytes) -> Result<Self, RouteError> {
        match payload_type(&bytes).as_deref() {
            Some(Placement::PAYLOAD_TYPE) => return Ok(Self::Placement(Box::new(Signed::open(bytes)?))),
            Some(PurgeLog::PAYLOAD_TYPE) => return Ok(Self::Purges(Box::new(Signed::open(bytes)?))),
            _ => {}
        }
        let signed = Signed::<Member>::open(bytes)?;
        let peer = signed.record().peer_id().ok_or(atoll_core::RecordError::Bounds("peer"))?;
        Ok(Self::Member(Box::new(signed), peer))
    }
}

/// Whose record changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Member(PeerId),
    Placement(SiteId),
    Purges(SiteId),
}

/// A member, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) signed: Signed<Member>,
    pub(crate) health: Health,
    /// Those of its addresses that this node may dial.
    addresses: Vec<Multiaddr>,
    change: u64,
}

impl Peer {
    /// The address to use now.
    pub(crate) fn address(&self) -> Option<&Multiaddr> {
        self.addresses.get(self.health.address.checked_rem(self.addresses.len())?)
    }

    /// Whether it is reached over libp2p, where gossip goes round.
    pub(crate) fn hears_gossip(&self) -> bool {
        self.addresses.iter().any(|address| address.iter().any(|part| matches!(part, Protocol::P2p(_))))
    }

    /// Whether it is reached at `address`.
    pub(crate) fn is_at(&self, address: &Multiaddr) -> bool {
        self.addresses.contains(address)
    }

    /// Leaves out the addresses that are nearer than `reach`, and those of other peers.
    fn set_reach(&mut self, reach: Reach) {
        let record = self.signed.record();
        let me = record.peer_id();
        let is_own = |address: &Multiaddr| match address.iter().last() {
            Some(Protocol::P2p(peer)) => me.as_ref().is_some_and(|me| me.to_bytes() == peer.to_bytes()),
            _ => true,
        };
        self.addresses = record.addresses().filter(|address| reach.allows(address) && is_own(address)).collect();
    }
}

/// A placement, and the roots its site had before.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) signed: Signed<Placement>,
    /// The present root first, then earlier ones, newest first.
    pub(crate) roots: Vec<Cid>,
    change: u64,
}

/// The purges of a site.
#[derive(Clone, Debug)]
pub(crate) struct Purged {
    pub(crate) signed: Signed<PurgeLog>,
    change: u64,
}

/// The records.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) members: BTreeMap<PeerId, Peer>,
    pub(crate) placements: BTreeMap<SiteId, Placed>,
    pub(crate) purges: BTreeMap<SiteId, Purged>,
    known: HashSet<Bytes>,
    order: BTreeMap<u64, Key>,
    reach: Reach,
    epoch: u64,
    change: u64,
}

impl Table {
    /// An empty table; `epoch` names its order to others and must differ between runs.
    pub(crate) fn new(epoch: u64) -> Self {
        let (members, placements) = (BTreeMap::new(), BTreeMap::new());
        Self {
            members,
            placements,
            purges: BTreeMap::new(),
            known: HashSet::new(),
            order: BTreeMap::new(),
            reach: Reach::Public,
            epoch,
            change: 0,
        }
    }

    /// Sets which members' addresses may be dialled.
    pub(crate) fn set_reach(&mut self, reach: Reach) {
        self.reach = reach;
        self.members.values_mut().for_each(|peer| peer.set_reach(reach));
    }

    /// Whether these very bytes are in the table.
    pub(crate) fn is_known(&self, bytes: &Bytes) -> bool {
        self.known.contains(bytes)
    }

    /// The number of the last change.
    pub(crate) fn last_change(&self) -> u64 {
        self.change
    }

    /// Takes a checked record; `false` when it was there already.
    pub(crate) fn insert(&mut self, opened: Opened, now: Timestamp, config: &Config) -> Result<bool, RouteError> {
        match opened {
            Opened::Member(signed, peer) => self.insert_member(*signed, peer, now, config),
            Opened::Placement(signed) => self.insert_placement(*signed, now, config),
            Opened::Purges(signed) => self.insert_purges(*signed, now, config),
        }
    }

    fn insert_member(
        &mut self,
        signed: Signed<Member>,
        peer: PeerId,
        now: Timestamp,
        config: &Config,
    ) -> Result<bool, RouteError> {
        check_times(&signed, now, config.member_lifetime_max)?;
        let mut health = None;
        if let Some(old) = self.members.get(&peer) {
            if !is_newer(&signed, &old.signed)? {
                return Ok(false);
            }
            health = Some(old.health.clone());
            self.forget(&Key::Member(peer));
        } else if self.members.len() >= config.members_max {
            let longest_dead = self.members.iter().filter(|(_, other)| !other.health.live);
            let evicted = longest_dead.min_by_key(|(_, other)| other.health.changed).map(|(peer, _)| *peer);
            self.forget(&Key::Member(evicted.ok_or(RouteError::Full("members"))?));
        }
        let change = self.note(Key::Member(peer), signed.bytes());
        let health = health.unwrap_or_else(|| Health::unknown(now));
        let mut entry = Peer { signed, health, addresses: Vec::new(), change };
        entry.set_reach(self.reach);
        self.members.insert(peer, entry);
        Ok(true)
    }

    fn insert_placement(
        &mut self,
        signed: Signed<Placement>,
        now: Timestamp,
        config: &Config,
    ) -> Result<bool, RouteError> {
        check_times(&signed, now, config.placement_lifetime_max)?;
        let site = signed.site();
        let mut roots = vec![signed.record().root];
        if let Some(old) = self.placements.get(&site) {
            if !is_newer(&signed, &old.signed)? {
                return Ok(false);
            }
            roots.extend(old.roots.iter().filter(|root| **root != signed.record().root).take(EARLIER_ROOTS_MAX));
            self.forget(&Key::Placement(site));
        } else if self.placements.len() >= config.placements_max {
            return Err(RouteError::Full("placements"));
        }
        let change = self.note(Key::Placement(site), signed.bytes());
        self.placements.insert(site, Placed { signed, roots, change });
        Ok(true)
    }

    fn insert_purges(&mut self, signed: Signed<PurgeLog>, now: Timestamp, config: &Config) -> Result<bool, RouteError> {
        check_times(&signed, now, config.placement_lifetime_max)?;
        let site = signed.site();
        if let Some(old) = self.purges.get(&site) {
            if !is_newer(&signed, &old.signed)? {
                return Ok(false);
            }
            self.forget(&Key::Purges(site));
        } else if self.purges.len() >= config.placements_max {
            return Err(RouteError::Full("placements"));
        }
        let change = self.note(Key::Purges(site), signed.bytes());
        self.purges.insert(site, Purged { signed, change });
        Ok(true)
    }

    /// Removes what expired; whether there was any.
    pub(crate) fn expire(&mut self, now: Timestamp) -> bool {
        let members = self.members.iter().filter(|(_, peer)| !peer.signed.is_live(now));
        let members = members.map(|(peer, _)| Key::Member(*peer));
        let placements = self.placements.iter().filter(|(_, placed)| !placed.signed.is_live(now));
        let placements = placements.map(|(site, _)| Key::Placement(*site));
        let purges = self.purges.iter().filter(|(_, purged)| !purged.signed.is_live(now));
        let purges = purges.map(|(site, _)| Key::Purges(*site));
        let expired: Vec<Key> = members.chain(placements).chain(purges).collect();
        expired.iter().for_each(|key| self.forget(key));
        !expired.is_empty()
    }

    /// Where to go on, envelopes that changed after `since` (oldest first, at most [`RECORDS_MAX`]), and whether more follow.
    pub(crate) fn since(&self, since: u64) -> (u64, Vec<Bytes>, bool) {
        let after = since.saturating_add(1);
        let mut next = self.change;
        let mut found = Vec::new();
        for (change, key) in self.order.range(after..) {
            if found.len() == RECORDS_MAX {
                return (next, found, true);
            }
            next = *change;
            found.extend(self.envelope(key));
        }
        (self.change, found, false)
    }

    /// What this table calls its order.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// All envelopes.
    pub(crate) fn envelopes(&self) -> Vec<Bytes> {
        self.order.values().filter_map(|key| self.envelope(key)).collect()
    }

    fn envelope(&self, key: &Key) -> Option<Bytes> {
        match key {
            Key::Member(peer) => self.members.get(peer).map(|peer| peer.signed.bytes().clone()),
            Key::Placement(site) => self.placements.get(site).map(|placed| placed.signed.bytes().clone()),
            Key::Purges(site) => self.purges.get(site).map(|purged| purged.signed.bytes().clone()),
        }
    }

    /// Gives a record its place in the order.
    fn note(&mut self, key: Key, bytes: &Bytes) -> u64 {
        self.change = self.change.saturating_add(1);
        self.order.insert(self.change, key);
        self.known.insert(bytes.clone());
        self.change
    }

    /// Removes a record.
    fn forget(&mut self, key: &Key) {
        let removed = match key {
            Key::Member(peer) => self.members.remove(peer).map(|old| (old.change, old.signed.bytes().clone())),
            Key::Placement(site) => self.placements.remove(site).map(|old| (old.change, old.signed.bytes().clone())),
            Key::Purges(site) => self.purges.remove(site).map(|old| (old.change, old.signed.bytes().clone())),
        };
        if let Some((change, bytes)) = removed {
            self.order.remove(&change);
            self.known.remove(&bytes);
        }
    }
}

/// Refuses what is over, or would bind for too long.
fn check_times<R: Record>(signed: &Signed<R>, now: Timestamp, longest: std::time::Duration) -> Result<(), RouteError> {
    if !signed.is_live(now) {
        return Err(RouteError::Expired);
    }
    if Timestamp::from_secs(signed.record().expires()) > now.after(longest) {
        return Err(RouteError::TooLong(longest));
    }
    Ok(())
}

/// Whether `new` replaces `old`; `false` when they are the same.
fn is_newer<R: Record>(new: &Signed<R>, old: &Signed<R>) -> Result<bool, RouteError> {
    if new.bytes() == old.bytes() {
        return Ok(false);
    }
    if new.replaces(old) { Ok(true) } else { Err(RouteError::Older(old.record().seq())) }
}

#[cfg(test)]
mod tests;
