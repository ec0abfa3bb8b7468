//! The peers that turned out to have blocks of one DAG, and those that may.

use std::time::Instant;

use atoll_core::Cid;
use libp2p::PeerId;

/// The most peers of a session.
pub(crate) const MEMBERS_MAX: usize = 32;

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// The blocks of a DAG, from whoever has them.
    Root(Cid),
    /// Whatever is asked of this peer alone.
    Peer(PeerId),
}

/// A session.
pub(super) struct Session {
    members: Vec<Member>,
    /// Wants of it that are open.
    pub(super) live: usize,
    /// When a block was wanted or came last.
    pub(super) used: Instant,
}

/// A peer of a session.
pub(super) struct Member {
    pub(super) peer: PeerId,
    /// It answered something in this session.
    pub(super) heard: bool,
    /// It was asked whether it has something, and has not answered yet.
    pub(super) is_probed: bool,
    /// Blocks in a row that it lacked.
    pub(super) lacked: u32,
}

impl Session {
    pub(super) fn new(now: Instant) -> Self {
        Self { members: Vec::new(), live: 0, used: now }
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    pub(super) fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.iter_mut()
    }

    /// Adds a peer; `false` if it is there already, or nobody gives way to it. Who lacked the most gives way.
    pub(super) fn add(&mut self, peer: PeerId) -> bool {
        if self.members.iter().any(|member| member.peer == peer) {
            return false;
        }
        if self.members.len() >= MEMBERS_MAX {
            let worst = self.members.iter().enumerate().max_by_key(|(_, member)| member.lacked);
            match worst.filter(|(_, member)| member.lacked > 0).map(|(at, _)| at) {
                Some(at) => self.members.swap_remove(at),
                None => return false,
            };
        }
        self.members.push(Member { peer, heard: false, is_probed: false, lacked: 0 });
        true
    }

    /// A peer answered. Whoever has a block of a DAG belongs to its session.
    pub(super) fn heard(&mut self, key: Key, peer: PeerId, has: bool) {
        if has && matches!(key, Key::Root(_)) {
            self.add(peer);
        }
        if let Some(member) = self.members.iter_mut().find(|member| member.peer == peer) {
            (member.heard, member.is_probed) = (true, false);
            member.lacked = if has { 0 } else { member.lacked.saturating_add(1) };
        }
    }

    /// A peer did not answer.
    pub(super) fn silent(&mut self, peer: PeerId) {
        if let Some(member) = self.members.iter_mut().find(|member| member.peer == peer) {
            (member.heard, member.is_probed) = (false, false);
        }
    }
}
