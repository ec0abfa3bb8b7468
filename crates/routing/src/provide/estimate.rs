//! How many peers there are, from how near to a place the nearest of them are.

use atoll_core::dht::{K, Place};

use super::schedule::SLOT_PEERS;

/// How much a new figure counts.
const WEIGHT: f64 = 0.125;
/// Figures that are averaged plainly at first.
const FIRST: u32 = 8;
/// How far the figure must have moved past where the slots would be cut otherwise, in halvings, before they are.
const STEADY: f64 = 0.25;

/// A running average of the binary logarithm of the number of peers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    log2: Option<f64>,
    count: u32,
    depth: u32,
}

impl Estimate {
    /// Takes the peers that are nearest to `target`, all of them if they are fewer than [`K`].
    pub(super) fn learn(&mut self, target: &Place, found: &[Place]) {
        let farthest = found.iter().map(|place| place.distance(target).head()).max();
        let Some(farthest) = farthest else { return };
        let near = u32::try_from(found.len()).unwrap_or(u32::MAX);
        // So many peers lie in so much of all places.
        let share = (farthest as f64 / 2_f64.powi(64)).max(f64::MIN_POSITIVE);
        let figure = if found.len() < K { f64::from(near) } else { f64::from(near) / share };
        let figure = figure.max(1.0).log2();
        self.count = self.count.saturating_add(1);
        let weight = if self.count <= FIRST { 1.0 / f64::from(self.count) } else { WEIGHT };
        let log2 = self.log2.map_or(figure, |log2| log2 + (figure - log2) * weight);
        self.log2 = Some(log2);
        let wanted = (log2 - (SLOT_PEERS as f64).log2()).max(0.0);
        let steady = f64::from(self.depth);
        if self.count <= FIRST || wanted < steady - STEADY || wanted > steady + 1.0 + STEADY {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 64")]
            let depth = wanted as u32;
            self.depth = depth;
        }
    }

    /// How many bits the places of a slot have in common.
    pub(super) fn depth(&self) -> Option<u32> {
        self.log2.map(|_| self.depth)
    }

    /// About how many peers there are.
    pub(super) fn peers(&self) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 2^64")]
        self.log2.map(|log2| log2.exp2().round() as u64)
    }
}
