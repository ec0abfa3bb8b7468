//! Whether a member lives, as this node saw it: a small state machine without I/O. Lost upon a restart, and measured anew.

use std::collections::BTreeMap;

use atoll_core::record::PROBE_ROOTS_MAX;
use atoll_core::{Cid, Timestamp};

use crate::nearness::RoundTrip;

/// The most roots that are remembered of one member.
const HOLDS_MAX: usize = 16 * PROBE_ROOTS_MAX;

/// What this node knows of a member from its own experience.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    /// Whether it counts for ranks.
    pub(crate) live: bool,
    /// When `live` last changed, or when the member was first heard of.
    pub(crate) changed: Timestamp,
    /// The last answer that verified.
    pub(crate) seen: Option<Timestamp>,
    /// The last probe that was begun.
    pub(crate) probed: Option<Timestamp>,
    /// Whether a probe is under way.
    pub(crate) probing: bool,
    /// Failed probes in a row.
    pub(crate) missed: u32,
    /// How near it is.
    pub(crate) round_trip: Option<RoundTrip>,
    /// Roots it holds; each was verified by a random block, at the time given.
    pub(crate) holds: BTreeMap<Cid, Timestamp>,
    /// Which of its addresses is used; counts on, so taken modulo their number.
    pub(crate) address: usize,
    /// How often it lied.
    pub(crate) lies: u32,
    /// Why and until when it is left alone.
    pub(crate) dropped: Option<Dropped>,
    /// What its last failed probe died of.
    pub(crate) trouble: Option<String>,
}

/// A member that sent wrong bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) reason: String,
    pub(crate) until: Timestamp,
}

impl Health {
    /// Of a member that was just heard of: not live until it answers.
    pub(crate) fn unknown(now: Timestamp) -> Self {
        Self {
            live: false,
            changed: now,
            seen: None,
            probed: None,
            probing: false,
            missed: 0,
            round_trip: None,
            holds: BTreeMap::new(),
            address: 0,
            lies: 0,
            dropped: None,
            trouble: None,
        }
    }

    /// Whether it may be asked anything at `now`.
    pub(crate) fn is_trusted(&self, now: Timestamp) -> bool {
        self.dropped.as_ref().is_none_or(|dropped| dropped.until <= now)
    }

    /// Whether it was seen to hold one of `roots`.
    pub(crate) fn holds_any(&self, roots: &[Cid]) -> bool {
        roots.iter().any(|root| self.holds.contains_key(root))
    }

    /// The node's clock was set, and says `now`: what it noted by the old one is no later than that.
    pub(crate) fn clock_was_set(&mut self, now: Timestamp) {
        self.changed = self.changed.min(now);
        self.seen = self.seen.map(|seen| seen.min(now));
        self.probed = None;
        if let Some(dropped) = &mut self.dropped {
            dropped.until = dropped.until.min(now);
        }
    }

    /// It answered a probe about `asked`; of those it claims `claims`, and served a random block of each of `verified`.
    pub(crate) fn answered(&mut self, now: Timestamp, round_trip: RoundTrip, probe: &Probed) {
        self.seen = Some(now);
        self.missed = 0;
        self.trouble = None;
        self.dropped = None;
        self.round_trip = Some(round_trip.after(self.round_trip));
        self.holds.retain(|root, _| probe.claims.contains(root) || !probe.asked.contains(root));
        for root in &probe.verified {
            if self.holds.len() < HOLDS_MAX || self.holds.contains_key(root) {
                self.holds.insert(*root, now);
            }
        }
        self.set_live(true, now);
    }

    /// A probe failed; dead after `missed_max` in a row. Its next address is tried then.
    pub(crate) fn missed(&mut self, now: Timestamp, cause: String, missed_max: u32) {
        self.missed = self.missed.saturating_add(1);
        self.trouble = Some(cause);
        self.address = self.address.wrapping_add(1);
        if self.missed >= missed_max {
            self.set_live(false, now);
        }
    }

    /// It sent wrong bytes: nothing that it says counts until `until`.
    pub(crate) fn lied(&mut self, now: Timestamp, reason: String, until: Timestamp) {
        self.dropped = Some(Dropped { reason, until });
        self.holds.clear();
        self.set_live(false, now);
    }

    /// Notes when it changed.
    pub(crate) fn set_live(&mut self, live: bool, now: Timestamp) {
        if self.live != live {
            self.live = live;
            self.changed = now;
        }
    }
}

/// What came of a probe.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probed {
    /// The roots asked about.
    pub(crate) asked: Vec<Cid>,
    /// Those it says it holds.
    pub(crate) claims: Vec<Cid>,
    /// Those of which it served a random block.
    pub(crate) verified: Vec<Cid>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::nearness::MeasuredBy;

    const NEAR: RoundTrip = RoundTrip { time: Duration::from_millis(8), by: MeasuredBy::Probe };

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn dead_after_k_misses_and_back_with_one_answer() {
        let mut health = Health::unknown(at(1));
        health.answered(at(2), NEAR, &Probed::default());
        for now in 3..5 {
            health.missed(at(now), "no connection".to_owned(), 3);
            assert!(health.live);
        }
        health.missed(at(5), "no connection".to_owned(), 3);
        assert_eq!((health.live, health.changed), (false, at(5)));
        health.answered(at(9), NEAR, &Probed::default());
        assert_eq!((health.live, health.changed, health.missed), (true, at(9), 0));
    }

    #[test]
    fn a_root_no_longer_claimed_is_no_longer_held() {
        let root: Cid = "bafkqaaa".parse().unwrap();
        let mut health = Health::unknown(at(1));
        let held = Probed { asked: vec![root], claims: vec![root], verified: vec![root] };
        health.answered(at(2), NEAR, &held);
        assert!(health.holds_any(&[root]));
        health.answered(at(3), NEAR, &Probed::default());
        assert!(health.holds_any(&[root]), "it was not asked about the root");
        health.answered(at(4), NEAR, &Probed { asked: vec![root], ..Probed::default() });
        assert!(!health.holds_any(&[root]));
    }
}
