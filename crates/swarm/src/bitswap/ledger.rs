//! What one peer wants of us: what is to be answered, and what it may still get when the block arrives later.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use atoll_core::Cid;
use atoll_core::bitswap::{Entry, Wish};
use atoll_core::block::Multihash;
use libp2p::PeerId;

use super::lacking::Lacking;

/// The most wants of one peer that are kept (as other implementations).
pub(super) const WANTS_MAX: usize = 1024;
/// The most blocks that are looked up for one reply.
const BLOCKS_AT_ONCE: usize = 256;

/// The wants of a peer.
pub(super) struct Ledger {
    peer: PeerId,
    wants: HashMap<Cid, Wanted>,
    /// What of them is to be answered; some of it may have been taken back since.
    presences: VecDeque<Cid>,
    blocks: VecDeque<Cid>,
    lacking: Arc<Lacking>,
}

struct Wanted {
    wish: Wish,
    send_dont_have: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is in line to be answered.
    Queued,
    /// We do not have it.
    Lacking,
    /// We have it, as it was told.
    Answered,
}

/// A want that is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) cid: Cid,
    pub(super) wish: Wish,
    pub(super) send_dont_have: bool,
}

impl Ledger {
    pub(super) fn new(peer: PeerId, lacking: Arc<Lacking>) -> Self {
        let (presences, blocks) = (VecDeque::new(), VecDeque::new());
        Self { peer, wants: HashMap::new(), presences, blocks, lacking }
    }

    /// Takes a list of wants, all of them or what changed.
    pub(super) fn receive(&mut self, full: bool, mut entries: Vec<Entry>) {
        if full {
            self.clear();
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.priority));
        for entry in entries {
            self.want(entry);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        let lacked: Vec<Cid> =
            self.wants.iter().filter(|(_, want)| want.state == State::Lacking).map(|(cid, _)| *cid).collect();
        lacked.iter().for_each(|cid| self.lacking.remove(cid.hash(), self.peer));
        self.wants.clear();
        self.presences.clear();
        self.blocks.clear();
    }

    /// Whether there is something to answer.
    pub(super) fn has_work(&self) -> bool {
        !self.presences.is_empty() || !self.blocks.is_empty()
    }

    /// What is to be answered next.
    pub(super) fn take(&mut self) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some(cid) = self.presences.pop_front() {
            due.extend(self.due(cid, Wish::Have));
        }
        let blocks = due.len();
        while due.len() < blocks.saturating_add(BLOCKS_AT_ONCE)
            && let Some(cid) = self.blocks.pop_front()
        {
            due.extend(self.due(cid, Wish::Block));
        }
        due
    }

    fn due(&mut self, cid: Cid, wish: Wish) -> Option<Due> {
        let want = self.wants.get_mut(&cid).filter(|want| want.wish == wish && want.state == State::Queued)?;
        want.state = State::Answered;
        Some(Due { cid, wish, send_dont_have: want.send_dont_have })
    }

    /// What did not fit into a reply comes first in the next.
    pub(super) fn put_back(&mut self, due: &[Due]) {
        for due in due.iter().rev() {
            if let Some(want) = self.wants.get_mut(&due.cid).filter(|want| want.state == State::Answered) {
                want.state = State::Queued;
                if want.wish == Wish::Block { &mut self.blocks } else { &mut self.presences }.push_front(due.cid);
            }
        }
    }

    /// A block is on its way.
    pub(super) fn served(&mut self, cid: &Cid) {
        self.remove(cid);
    }

    /// We do not have it: it stays wanted.
    pub(super) fn lack(&mut self, cid: &Cid) {
        if let Some(want) = self.wants.get_mut(cid).filter(|want| want.state == State::Answered) {
            want.state = State::Lacking;
            self.lacking.add(cid.hash(), self.peer);
        }
    }

    /// A block arrived that it may want.
    pub(super) fn arrived(&mut self, hash: &Multihash) {
        let wanted = self.wants.iter_mut().filter(|(cid, want)| want.state == State::Lacking && cid.hash() == hash);
        for (cid, want) in wanted {
            want.state = State::Queued;
            if want.wish == Wish::Block { &mut self.blocks } else { &mut self.presences }.push_back(*cid);
        }
    }

    fn want(&mut self, Entry { cid, wish, send_dont_have, .. }: Entry) {
        if wish == Wish::Cancel {
            return self.remove(&cid);
        }
        match self.wants.get(&cid) {
            // It asked for the block before: that it has it says the block itself.
            Some(known) if known.state == State::Queued && (known.wish == wish || known.wish == Wish::Block) => return,
            Some(_) => self.remove(&cid),
            None if self.wants.len() >= WANTS_MAX => {
                // What we lack was answered, and gives way.
                let lacked = self.wants.iter().find(|(_, want)| want.state == State::Lacking).map(|(cid, _)| *cid);
                let Some(lacked) = lacked else { return };
                self.remove(&lacked);
            }
            None => {}
        }
        self.wants.insert(cid, Wanted { wish, send_dont_have, state: State::Queued });
        let wants = &self.wants;
        let line = if wish == Wish::Block { &mut self.blocks } else { &mut self.presences };
        if line.len() >= 2 * WANTS_MAX {
            let mut seen = HashSet::new();
            line.retain(|cid| wants.get(cid).is_some_and(|want| want.wish == wish) && seen.insert(*cid));
        }
        line.push_back(cid);
    }

    fn remove(&mut self, cid: &Cid) {
        if self.wants.remove(cid).is_some_and(|want| want.state == State::Lacking) {
            self.lacking.remove(cid.hash(), self.peer);
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::Block;
    use atoll_core::block::RAW;

    use super::*;

    fn cid(n: usize) -> Cid {
        *Block::sha2_256(RAW, n.to_be_bytes().to_vec().into()).unwrap().cid()
    }

    fn want(n: usize, wish: Wish) -> Entry {
        Entry { cid: cid(n), priority: 1, wish, send_dont_have: true }
    }

    fn due(n: usize, wish: Wish) -> Due {
        Due { cid: cid(n), wish, send_dont_have: true }
    }

    fn ledger() -> (Ledger, Arc<Lacking>) {
        let lacking = Arc::new(Lacking::default());
        (Ledger::new(PeerId::random(), Arc::clone(&lacking)), lacking)
    }

    fn take_all(ledger: &mut Ledger) -> Vec<Due> {
        std::iter::from_fn(|| Some(ledger.take()).filter(|due| !due.is_empty())).flatten().collect()
    }

    #[test]
    fn wants_are_kept_up_to_a_limit_and_what_we_lack_gives_way() {
        let (mut ledger, lacking) = ledger();
        ledger.receive(false, (0..=WANTS_MAX).map(|n| want(n, Wish::Block)).collect());
        assert_eq!(take_all(&mut ledger).len(), WANTS_MAX);
        // What it was told that we have stays until it is served, cancelled, or replaced by a full list.
        ledger.receive(false, vec![want(WANTS_MAX, Wish::Block)]);
        assert!(!ledger.has_work());
        ledger.lack(&cid(5));
        ledger.receive(false, vec![want(WANTS_MAX, Wish::Have)]);
        assert_eq!((take_all(&mut ledger), lacking.len()), (vec![due(WANTS_MAX, Wish::Have)], 0));
        ledger.receive(true, vec![want(7, Wish::Block)]);
        assert_eq!((take_all(&mut ledger), ledger.wants.len()), (vec![due(7, Wish::Block)], 1));
    }

    #[test]
    fn a_million_wants_for_what_we_lack_take_the_room_of_a_thousand() {
        let (mut ledger, lacking) = ledger();
        for round in 0..100 {
            ledger.receive(false, (0..10_000).map(|n| want(round * 10_000 + n, Wish::Have)).collect());
            take_all(&mut ledger).iter().for_each(|due| ledger.lack(&due.cid));
            assert!(ledger.wants.len() <= WANTS_MAX && lacking.len() <= WANTS_MAX);
        }
        assert!(ledger.presences.capacity() <= 8 * WANTS_MAX);
        drop(ledger);
        assert_eq!(lacking.len(), 0);
    }

    #[test]
    fn asking_and_taking_back_without_end_takes_no_room() {
        let (mut ledger, _) = ledger();
        for n in 0..100_000 {
            ledger.receive(false, vec![want(n, Wish::Block)]);
            ledger.receive(false, vec![want(n, Wish::Cancel)]);
        }
        assert!(ledger.wants.is_empty() && ledger.blocks.len() <= 2 * WANTS_MAX);
        assert_eq!(take_all(&mut ledger), []);
    }

    #[test]
    fn the_most_wanted_come_first_and_what_does_not_fit_comes_next() {
        let (mut ledger, _) = ledger();
        let urgent = Entry { priority: 9, ..want(2, Wish::Block) };
        ledger.receive(false, vec![want(1, Wish::Block), urgent, want(3, Wish::Block), want(4, Wish::Have)]);
        let first = ledger.take();
        assert_eq!(first[..2], [due(4, Wish::Have), due(2, Wish::Block)]);
        ledger.put_back(&first[2..]);
        assert_eq!(ledger.take(), first[2..]);
    }

    #[test]
    fn what_arrives_later_is_answered_again() {
        let (mut ledger, lacking) = ledger();
        ledger.receive(false, vec![want(1, Wish::Block), want(2, Wish::Have), want(3, Wish::Block)]);
        take_all(&mut ledger).iter().for_each(|due| ledger.lack(&due.cid));
        ledger.receive(false, vec![want(3, Wish::Cancel)]);
        for n in 1..=3 {
            assert_eq!(lacking.take(cid(n).hash()).len(), usize::from(n < 3));
            ledger.arrived(cid(n).hash());
        }
        assert_eq!(take_all(&mut ledger), [due(2, Wish::Have), due(1, Wish::Block)]);
        // From whether it is there to the block itself, and never back.
        ledger.receive(false, vec![want(2, Wish::Block), want(2, Wish::Have)]);
        assert_eq!(take_all(&mut ledger), [due(2, Wish::Block)]);
    }
}
