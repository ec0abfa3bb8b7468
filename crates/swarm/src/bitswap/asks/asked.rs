//! One peer, as far as it was asked something: what it has been told, and what it is told next.

use std::collections::{HashMap, HashSet, VecDeque};

use atoll_core::Cid;
use atoll_core::bitswap::{Entry, Wish};

use crate::bitswap::pace::Pace;

/// The most wants that one peer is told of: it keeps 1,024 (as other implementations).
pub(super) const TOLD_MAX: usize = 1000;
/// Cancelled blocks of a peer that are remembered: they may still be on their way.
const CANCELLED_MAX: usize = 256;

/// One peer, as far as it was asked something.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) is_connected: bool,
    /// It speaks no Bitswap.
    pub(super) is_deaf: bool,
    /// It was asked for a block since it connected.
    pub(super) was_asked: bool,
    /// What it is to have on its list of ours.
    pub(super) told: HashMap<Cid, Told>,
    /// What it is still to be told.
    pub(super) outbox: VecDeque<Entry>,
    /// What of it is to be taken back: a want that comes before that makes it void.
    pub(super) cancels: HashSet<Cid>,
    pub(super) cancelled: VecDeque<Cid>,
    pub(super) pace: Pace,
}

pub(super) struct Told {
    wish: Wish,
    /// It stands in the outbox.
    is_due: bool,
    /// The peer has a want for this block on its list, this one or an earlier.
    pub(super) is_known: bool,
}

impl Asked {
    /// What it is to be told next, at most `most` entries.
    pub(super) fn take(&mut self, most: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        while entries.len() < most
            && let Some(entry) = self.outbox.pop_front()
        {
            match (entry.wish, self.told.get_mut(&entry.cid)) {
                (Wish::Cancel, _) if self.cancels.remove(&entry.cid) => entries.push(entry),
                (wish, Some(told)) if told.wish == wish && told.is_due => {
                    (told.is_due, told.is_known) = (false, true);
                    entries.push(entry);
                }
                // Taken back, or asked for in another way, before it was told.
                _ => {}
            }
        }
        entries
    }

    /// Has it told of a want.
    pub(super) fn tell(&mut self, cid: Cid, wish: Wish) {
        // Of a block that stands twice in one message, some peers heed only that it is taken back.
        let was_to_be_cancelled = self.cancels.remove(&cid);
        let was_known = self.told.get(&cid).is_some_and(|told| told.is_known);
        self.told.insert(cid, Told { wish, is_due: true, is_known: was_known || was_to_be_cancelled });
        self.put_out(Entry { cid, priority: 1, wish, send_dont_have: true });
    }

    fn put_out(&mut self, entry: Entry) {
        // What was taken back before it was told stays in line until then, or until there is too much of it.
        if self.outbox.len() >= 4 * TOLD_MAX {
            let (told, cancels, mut seen) = (&self.told, &self.cancels, HashSet::new());
            self.outbox.retain(|entry| {
                let holds = match entry.wish {
                    Wish::Cancel => cancels.contains(&entry.cid),
                    wish => told.get(&entry.cid).is_some_and(|told| told.wish == wish && told.is_due),
                };
                holds && seen.insert(entry.cid)
            });
        }
        self.outbox.push_back(entry);
    }

    /// Asks for a block that it was asked for, once more; `false` if it is not told of it any more, or not yet.
    pub(super) fn repeat(&mut self, cid: Cid) -> bool {
        let Some(told) = self.told.get_mut(&cid).filter(|told| told.wish == Wish::Block && !told.is_due) else {
            return false;
        };
        told.is_due = true;
        self.put_out(Entry { cid, priority: 1, wish: Wish::Block, send_dont_have: true });
        true
    }

    /// Takes a want back that it was told of.
    pub(super) fn cancel(&mut self, cid: Cid) {
        if self.cancels.insert(cid) {
            self.put_out(Entry { cid, priority: 0, wish: Wish::Cancel, send_dont_have: false });
        }
        if self.cancelled.len() >= CANCELLED_MAX {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back(cid);
    }

    /// Whether it was taken back lately, so that the block may have been on its way.
    pub(super) fn forget_cancelled(&mut self, cid: &Cid) -> bool {
        let Some(at) = self.cancelled.iter().position(|cancelled| cancelled == cid) else { return false };
        self.cancelled.remove(at).is_some()
    }
}
