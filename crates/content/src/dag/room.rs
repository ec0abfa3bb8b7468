//! How many blocks all walks together remember to visit. One wide DAG is little; hundreds at a time, each asked for again
//! and again, would be all of a small machine's memory. In memory only.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What each walk may remember without asking: more than any file and most directories need.
const FREE: usize = 4096;
/// What all walks may remember beside that: some 250 MB.
pub const PENDING_ALL_MAX: usize = 2_097_152;

/// The room that walks share.
static SHARED: Room = Room::new(PENDING_ALL_MAX);

/// A number of places.
#[derive(Debug)]
struct Room {
    max: usize,
    taken: AtomicUsize,
}

/// The places of one walk; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Places {
    room: &'static Room,
    taken: usize,
}

impl Room {
    const fn new(max: usize) -> Self {
        Self { max, taken: AtomicUsize::new(0) }
    }
}

impl Places {
    pub(crate) fn shared() -> Self {
        Self { room: &SHARED, taken: 0 }
    }

    /// Has room for a walk that remembers `len` blocks from now on; `false` when others have taken it. Takes in steps, and
    /// gives back in steps, so that a walk seldom asks.
    pub(crate) fn hold(&mut self, len: usize) -> bool {
        let wanted = len.saturating_sub(FREE).next_multiple_of(FREE);
        if wanted > self.taken {
            let more = wanted - self.taken;
            let before = self.room.taken.fetch_add(more, Ordering::Relaxed);
            if before.saturating_add(more) > self.room.max {
                self.room.taken.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        } else if wanted < self.taken {
            self.room.taken.fetch_sub(self.taken - wanted, Ordering::Relaxed);
        }
        self.taken = wanted;
        true
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_share_their_room_and_give_it_back() {
        static ROOM: Room = Room::new(4 * FREE);
        let walk = || Places { room: &ROOM, taken: 0 };
        let (mut one, mut two) = (walk(), walk());
        assert!(one.hold(FREE) && one.taken == 0);
        assert!(one.hold(3 * FREE + 1) && one.taken == 3 * FREE);
        assert!(two.hold(2 * FREE) && !two.hold(2 * FREE + 1));
        assert!(one.hold(FREE + 1));
        assert!(two.hold(2 * FREE + 1));
        drop((one, two));
        assert_eq!(ROOM.taken.load(Ordering::Relaxed), 0);
    }
}
