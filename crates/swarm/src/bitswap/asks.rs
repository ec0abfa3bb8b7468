//! What we ask of others: for each block who was asked, and who is asked next.
//!
//! Without any I/O: it is told what peers say and what time it is, and whoever writes to a peer takes what that peer is to be
//! told. Wants for the same block are one, whoever wants it. Bounded: wants, sessions, peers of a session, entries of a peer.

mod asked;
mod session;
mod want;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use atoll_core::bitswap::{Entry, Wish};
use atoll_core::{Block, Cid, TransportError};
use libp2p::PeerId;
use tokio::sync::oneshot;

use super::pace::Pace;
use asked::{Asked, TOLD_MAX};
pub(crate) use session::Key;
use session::Session;
pub(super) use want::Answer;
use want::{Question, Stage, Want};

/// The most blocks that are wanted at a time.
const WANTS_MAX: usize = 16_384;
/// The most callers that wait for one block.
const WAITING_MAX: usize = 4096;
/// The most DAGs whose peers are remembered.
const SESSIONS_MAX: usize = 1024;
/// The most peers that are remembered while nothing is asked of them.
const PEERS_MAX: usize = 4096;
/// The most connected peers that are asked whether they have what nobody of the session has.
const BROADCAST_MAX: usize = 32;
/// How long such an answer is waited for.
const PRESENCE_PATIENCE: Duration = Duration::from_secs(2);
/// When a block that was asked for is no longer waited for.
const BLOCK_PATIENCE: Duration = Duration::from_secs(10);
/// When it is asked for once more, while nobody else is there to be asked: a peer may drop a want or an answer without a word.
const REPEAT: Duration = Duration::from_secs(2);
/// A peer that lacked so many blocks in a row is asked whether it has the next, before that one is asked of it.
const LACKED_MAX: u32 = 3;
/// What it costs in the order not to be known to have a block, and to have lacked many.
const GUESS: Duration = Duration::from_millis(1);
const DOUBT: Duration = Duration::from_millis(100);

/// All that is asked.
#[derive(Default)]
pub(super) struct Asks {
    wants: HashMap<Cid, Want>,
    sessions: HashMap<Key, Session>,
    peers: HashMap<PeerId, Asked>,
    /// Wants for which everybody who might be asked was told of all that it keeps.
    full: VecDeque<Cid>,
    /// Peers that are to be told something since [`Self::woken`] was called last.
    woken: Vec<PeerId>,
}

/// Who is asked for a block next.
enum Choice {
    Peer(PeerId),
    /// Everybody has too much to do.
    Full,
    Nobody,
}

impl Asks {
    /// Those of `peers` that are of no session of this name.
    pub(super) fn strangers(&self, key: Key, peers: impl Iterator<Item = PeerId>) -> Vec<PeerId> {
        let session = self.sessions.get(&key);
        peers
            .filter(|peer| !session.is_some_and(|session| session.members().any(|member| member.peer == *peer)))
            .collect()
    }

    /// Wants a block of a session, to which `peers` belong from now on. What comes of it.
    ///
    /// # Errors
    /// [`TransportError::Refused`] when too much is wanted.
    pub(super) fn want(
        &mut self,
        key: Key,
        cid: Cid,
        peers: impl Iterator<Item = PeerId>,
        now: Instant,
    ) -> Result<oneshot::Receiver<Answer>, TransportError> {
        if self.wants.len() >= WANTS_MAX && !self.wants.contains_key(&cid) {
            return Err(TransportError::Refused);
        }
        self.join(key, peers, now)?;
        let want = self.wants.entry(cid).or_default();
        if want.waiting.len() >= WAITING_MAX {
            return Err(TransportError::Refused);
        }
        let (to, answer) = oneshot::channel();
        want.waiting.push(to);
        if !want.sessions.contains(&key) {
            want.sessions.push(key);
            if let Some(session) = self.sessions.get_mut(&key) {
                session.live = session.live.saturating_add(1);
            }
        }
        self.advance(cid, now);
        Ok(answer)
    }

    /// Adds peers to a session, which is begun if there is none. What it waits for goes to them too.
    pub(super) fn join(
        &mut self,
        key: Key,
        peers: impl Iterator<Item = PeerId>,
        now: Instant,
    ) -> Result<(), TransportError> {
        if self.sessions.len() >= SESSIONS_MAX && !self.sessions.contains_key(&key) {
            let idle = self.sessions.iter().filter(|(_, session)| session.live == 0);
            let oldest = idle.min_by_key(|(_, session)| session.used).map(|(key, _)| *key);
            self.sessions.remove(&oldest.ok_or(TransportError::Refused)?);
        }
        let session = self.sessions.entry(key).or_insert_with(|| Session::new(now));
        session.used = now;
        let new = peers.fold(false, |new, peer| session.add(peer) | new);
        if new && session.live > 0 {
            let open = self.wants.iter().filter(|(_, want)| want.sessions.contains(&key));
            let open: Vec<Cid> = open.map(|(cid, _)| *cid).collect();
            open.into_iter().for_each(|cid| self.advance(cid, now));
        }
        Ok(())
    }

    /// Somebody does not wait any more.
    pub(super) fn give_up(&mut self, cid: &Cid) {
        let Some(want) = self.wants.get_mut(cid) else { return };
        want.waiting.retain(|to| !to.is_closed());
        if want.waiting.is_empty()
            && let Some(want) = self.wants.remove(cid)
        {
            self.end(want, *cid, None);
        }
    }

    /// A block came. `false` if nobody asked this peer for it.
    pub(super) fn block(&mut self, peer: PeerId, block: &Block, now: Instant) -> bool {
        let cid = *block.cid();
        let asked = self.peers.entry(peer).or_default();
        let expected = asked.told.remove(&cid).is_some() || asked.forget_cancelled(&cid);
        let Some(mut want) = self.wants.remove(&cid) else { return expected };
        if let Some(at) = want.asked.iter().position(|question| question.peer == peer) {
            let question = want.asked.swap_remove(at);
            if matches!(question.stage, Stage::Block | Stage::Late) {
                asked.pace.arrived(question.since, now);
            }
            if question.is_repeated {
                // The second question may not be answered yet.
                asked.cancel(cid);
                self.woken.push(peer);
            }
        }
        self.credit(&want, peer, now);
        for to in want.waiting.drain(..) {
            // Whoever waited may have gone.
            let _ = to.send(Ok(block.clone()));
        }
        self.end(want, cid, None);
        self.refill(now);
        expected
    }

    /// A peer sent what nobody asked it for.
    pub(super) fn wrong(&mut self, peer: PeerId, now: Instant) {
        if let Some(asked) = self.peers.get_mut(&peer) {
            asked.pace.failed(now);
        }
    }

    /// A peer says whether it has a block.
    pub(super) fn presence(&mut self, peer: PeerId, cid: Cid, has: bool, now: Instant) {
        let Some(want) = self.wants.get_mut(&cid) else { return };
        let Some(question) = want.asked.iter_mut().find(|question| question.peer == peer) else { return };
        match (has, question.stage) {
            // That it has what it was asked for goes without saying.
            (true, Stage::Block | Stage::Late) => return,
            (true, _) => question.stage = Stage::Has,
            (false, stage) => {
                question.stage = Stage::Lacks;
                if matches!(stage, Stage::Block | Stage::Late)
                    && let Some(asked) = self.peers.get_mut(&peer)
                {
                    asked.pace.end();
                }
            }
        }
        for key in &want.sessions {
            if let Some(session) = self.sessions.get_mut(key) {
                session.heard(*key, peer, has);
            }
        }
        self.advance(cid, now);
    }

    /// A peer is connected.
    pub(super) fn came(&mut self, peer: PeerId) {
        if self.peers.len() >= PEERS_MAX {
            self.peers.retain(|_, asked| asked.is_connected || !asked.told.is_empty());
        }
        let asked = self.peers.entry(peer).or_default();
        (asked.is_connected, asked.is_deaf) = (true, false);
    }

    /// A peer is not connected any more.
    pub(super) fn went(&mut self, peer: PeerId, now: Instant) {
        if let Some(asked) = self.peers.get_mut(&peer) {
            (asked.is_connected, asked.was_asked) = (false, false);
            self.lost(peer, &TransportError::Broken("the connection is closed".to_owned()), now);
        }
    }

    /// A peer cannot be told anything: what was asked of it goes to others.
    pub(super) fn lost(&mut self, peer: PeerId, error: &TransportError, now: Instant) {
        let Some(asked) = self.peers.get_mut(&peer) else { return };
        asked.is_deaf |= *error == TransportError::Refused;
        asked.outbox.clear();
        asked.cancels.clear();
        asked.pace.reset();
        let told = std::mem::take(&mut asked.told);
        if !told.is_empty() {
            asked.pace.failed(now);
        }
        for cid in told.into_keys() {
            let Some(want) = self.wants.get_mut(&cid) else { continue };
            if let Some(question) = want.asked.iter_mut().find(|question| question.peer == peer) {
                // Whoever was only asked whether it has it is nobody that was counted on.
                if question.stage != Stage::Presence {
                    want.error = Some(error.clone());
                }
                question.stage = Stage::Failed;
            }
            for key in &want.sessions {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.silent(peer);
                }
            }
            self.advance(cid, now);
        }
    }

    /// Moves on what takes too long.
    pub(super) fn tick(&mut self, now: Instant) {
        let mut moved = Vec::new();
        for (cid, want) in &mut self.wants {
            let is_alone = !want.has(Stage::Block);
            for question in &mut want.asked {
                let age = now.saturating_duration_since(question.since);
                let next = match question.stage {
                    Stage::Block if age >= question.patience => Stage::Late,
                    Stage::Late if age >= BLOCK_PATIENCE => Stage::Failed,
                    Stage::Presence if age >= PRESENCE_PATIENCE => Stage::Failed,
                    Stage::Late if age >= REPEAT && is_alone && !question.is_repeated => {
                        question.is_repeated = true;
                        if self.peers.get_mut(&question.peer).is_some_and(|asked| asked.repeat(*cid)) {
                            self.woken.push(question.peer);
                        }
                        continue;
                    }
                    _ => continue,
                };
                if let Some(asked) = self.peers.get_mut(&question.peer).filter(|_| question.stage != Stage::Presence) {
                    asked.pace.failed(now);
                    if next == Stage::Failed {
                        asked.pace.end();
                        want.error = Some(TransportError::TimedOut(BLOCK_PATIENCE.as_secs() * 1000));
                    }
                }
                if question.stage == Stage::Presence {
                    for key in &want.sessions {
                        if let Some(session) = self.sessions.get_mut(key) {
                            session.silent(question.peer);
                        }
                    }
                }
                tracing::debug!(peer = %question.peer, %cid, ?next, ms = age.as_millis(), "a peer takes long to answer");
                question.stage = next;
                moved.push(*cid);
            }
        }
        moved.into_iter().for_each(|cid| self.advance(cid, now));
        self.refill(now);
    }

    /// What a peer is to be told next, at most `most` entries.
    pub(super) fn take(&mut self, peer: PeerId, most: usize) -> Vec<Entry> {
        self.peers.get_mut(&peer).map_or_else(Vec::new, |asked| asked.take(most))
    }

    /// Whether a peer is to be told something.
    pub(super) fn has_work(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|asked| !asked.outbox.is_empty())
    }

    /// Whether a peer was asked for a block since it connected, so that it may send some.
    pub(super) fn may_send(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|asked| asked.was_asked)
    }

    /// Whether a peer ever gave a block.
    pub(super) fn has_given(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|asked| asked.pace.has_given())
    }

    /// Whether nothing is wanted.
    pub(super) fn is_idle(&self) -> bool {
        self.wants.is_empty()
    }

    /// The peers that are to be told something new.
    pub(super) fn woken(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.woken)
    }

    /// Asks whoever is best, if nobody is asked for the block now; gives up when nobody is left.
    fn advance(&mut self, cid: Cid, now: Instant) {
        let Some(mut want) = self.wants.remove(&cid) else { return };
        if !want.has(Stage::Block) {
            let waits = match self.choose(&want, now) {
                Choice::Peer(peer) => {
                    self.tell(&mut want, cid, peer, Wish::Block, now);
                    self.probe(&mut want, cid, now);
                    true
                }
                Choice::Full => {
                    self.full.push_back(cid);
                    true
                }
                Choice::Nobody => {
                    self.broadcast(&mut want, cid, now);
                    want.is_open()
                }
            };
            if !waits {
                let error = want.error.take().unwrap_or(TransportError::NotFound);
                return self.end(want, cid, Some(error));
            }
        }
        self.wants.insert(cid, want);
    }

    /// Whoever is likely to give the block first, of those who may have it.
    fn choose(&self, want: &Want, now: Instant) -> Choice {
        let (mut best, mut full) = (None, false);
        for member in want.sessions.iter().filter_map(|key| self.sessions.get(key)).flat_map(Session::members) {
            let stage = want.stage(member.peer);
            if !matches!(stage, None | Some(Stage::Presence | Stage::Has)) {
                continue;
            }
            let asked = self.peers.get(&member.peer);
            if asked.is_some_and(|asked| asked.told.len() >= TOLD_MAX) {
                full = true;
                continue;
            }
            let handicap = match stage {
                Some(Stage::Has) => Duration::ZERO,
                _ if member.heard && member.lacked < LACKED_MAX => GUESS,
                _ => DOUBT,
            };
            let unknown = Pace::default();
            let expected = asked.map_or(&unknown, |asked| &asked.pace).expected(now).saturating_add(handicap);
            if best.is_none_or(|(least, _)| expected < least) {
                best = Some((expected, member.peer));
            }
        }
        match best {
            Some((_, peer)) => Choice::Peer(peer),
            None if full => Choice::Full,
            None => Choice::Nobody,
        }
    }

    /// Asks others of the session whether they have a block: all of them when the first who was asked had it not, else those
    /// of whom nothing is known.
    fn probe(&mut self, want: &mut Want, cid: Cid, now: Instant) {
        let is_retry = want.asked.len() > 1;
        let mut others = Vec::new();
        for key in &want.sessions {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            for member in session.members_mut().filter(|member| want.stage(member.peer).is_none()) {
                if is_retry || (!member.heard && !member.is_probed) {
                    member.is_probed = true;
                    others.push(member.peer);
                }
            }
        }
        for peer in others {
            self.tell(want, cid, peer, Wish::Have, now);
        }
    }

    /// Asks connected peers of no session whether they have a block, those first that ever gave one.
    fn broadcast(&mut self, want: &mut Want, cid: Cid, now: Instant) {
        if want.was_broadcast || !want.sessions.iter().any(|key| matches!(key, Key::Root(_))) {
            return;
        }
        want.was_broadcast = true;
        let others = self.peers.iter().filter(|(peer, asked)| {
            asked.is_connected && !asked.is_deaf && asked.told.len() < TOLD_MAX && want.stage(**peer).is_none()
        });
        let mut others: Vec<(bool, PeerId)> = others.map(|(peer, asked)| (!asked.pace.has_given(), *peer)).collect();
        others.sort_by_key(|(unproven, _)| *unproven);
        for (_, peer) in others.into_iter().take(BROADCAST_MAX) {
            self.tell(want, cid, peer, Wish::Have, now);
        }
    }

    fn tell(&mut self, want: &mut Want, cid: Cid, peer: PeerId, wish: Wish, now: Instant) {
        let asked = self.peers.entry(peer).or_default();
        if asked.told.len() >= TOLD_MAX && !asked.told.contains_key(&cid) {
            return;
        }
        let (stage, patience) = match wish {
            Wish::Block => (Stage::Block, asked.pace.begin()),
            _ => (Stage::Presence, PRESENCE_PATIENCE),
        };
        asked.was_asked = true;
        asked.tell(cid, wish);
        want.asked.retain(|question| question.peer != peer);
        want.asked.push(Question { peer, stage, since: now, patience, is_repeated: false });
        self.woken.push(peer);
    }

    /// Takes a want back from all who were told, and answers whoever still waits with `error`.
    fn end(&mut self, want: Want, cid: Cid, error: Option<TransportError>) {
        for question in want.asked {
            let Some(asked) = self.peers.get_mut(&question.peer) else { continue };
            if matches!(question.stage, Stage::Block | Stage::Late) {
                asked.pace.end();
            }
            if asked.told.remove(&cid).is_some_and(|told| told.is_known) {
                asked.cancel(cid);
                self.woken.push(question.peer);
            }
        }
        for key in &want.sessions {
            if let Some(session) = self.sessions.get_mut(key) {
                session.live = session.live.saturating_sub(1);
            }
        }
        for to in want.waiting {
            // Whoever waited may have gone.
            let _ = to.send(Err(error.clone().unwrap_or(TransportError::NotFound)));
        }
    }

    /// A peer had a block of these sessions.
    fn credit(&mut self, want: &Want, peer: PeerId, now: Instant) {
        for key in &want.sessions {
            if let Some(session) = self.sessions.get_mut(key) {
                session.used = now;
                session.heard(*key, peer, true);
            }
        }
    }

    /// Somebody has room again.
    fn refill(&mut self, now: Instant) {
        // One came, and so there is room for one; the second is for one that was given up meanwhile.
        for _ in 0..self.full.len().min(2) {
            if let Some(cid) = self.full.pop_front() {
                self.advance(cid, now);
            }
        }
    }
}

#[cfg(test)]
mod tests;
