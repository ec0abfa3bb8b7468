//! What the store knows in memory beyond its index: open packs, pins, and the changes not yet committed.
//!
//! Bounded: the changes by the flush limits of the options, the pins by [`PINS_MAX`], the packs by the budget. A crash
//! loses it all; it is rebuilt from the index and the packs behind its watermark.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use atoll_core::block::Multihash;

use super::index::{Changes, Live, PinPlace, Place, Watermark};
use super::pack::Pack;
use super::record::{Pin, block_head_bytes};

/// The most pins that a store keeps; they are held in memory.
pub const PINS_MAX: usize = 1_000_000;

/// See the module. Changed only by whoever holds the head of the log, so that a watermark always covers it.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) packs: BTreeMap<u32, Arc<Pack>>,
    pub(crate) pins: BTreeMap<Pin, PinPlace>,
    pub(crate) live: BTreeMap<u32, Live>,
    /// How many pins were set since the store was opened.
    pub(crate) pinned: u64,
    blocks_changed: HashMap<Multihash, Option<Place>>,
    pins_changed: BTreeMap<Pin, Option<PinPlace>>,
}

impl Table {
    /// What the index told, without changes.
    pub(crate) fn new(
        packs: BTreeMap<u32, Arc<Pack>>,
        pins: BTreeMap<Pin, PinPlace>,
        live: BTreeMap<u32, Live>,
    ) -> Self {
        Self { packs, pins, live, ..Self::default() }
    }

    /// What changed about a block since the last commit: `None` when nothing, `Some(None)` when it was removed.
    pub(crate) fn changed(&self, hash: &Multihash) -> Option<Option<Place>> {
        self.blocks_changed.get(hash).copied()
    }

    /// How many changes wait for a commit.
    pub(crate) fn waiting(&self) -> usize {
        self.blocks_changed.len().saturating_add(self.pins_changed.len())
    }

    /// Moves a block from `old` to `new`; both may be nowhere.
    pub(crate) fn set_block(&mut self, hash: &Multihash, old: Option<Place>, new: Option<Place>) {
        if let Some(place) = old.filter(|place| !place.damaged) {
            let live = self.live.entry(place.pack).or_default();
            live.bytes = live.bytes.saturating_sub(record_bytes(hash, &place));
            live.blocks = live.blocks.saturating_sub(1);
        }
        if let Some(place) = new.filter(|place| !place.damaged) {
            let live = self.live.entry(place.pack).or_default();
            live.bytes = live.bytes.saturating_add(record_bytes(hash, &place));
            live.blocks = live.blocks.saturating_add(1);
        }
        self.blocks_changed.insert(*hash, new);
    }

    /// Sets or takes away a pin.
    pub(crate) fn set_pin(&mut self, pin: Pin, place: Option<PinPlace>) {
        match place {
            Some(place) => {
                self.pinned = self.pinned.saturating_add(1);
                self.pins.insert(pin.clone(), place)
            }
            None => self.pins.remove(&pin),
        };
        self.pins_changed.insert(pin, place);
    }

    /// Everything that a commit at `watermark` has to write.
    pub(crate) fn changes(&self, watermark: Watermark) -> Changes {
        let live = self.live.iter().filter(|(pack, _)| self.packs.contains_key(pack));
        Changes {
            blocks: self.blocks_changed.iter().map(|(hash, place)| (*hash, *place)).collect(),
            pins: self.pins_changed.iter().map(|(pin, place)| (pin.clone(), *place)).collect(),
            live: live.map(|(pack, live)| (*pack, *live)).collect(),
            watermark,
        }
    }

    /// Forgets the changes that were committed, but not those that were made meanwhile.
    pub(crate) fn committed(&mut self, changes: &Changes) {
        for (hash, place) in &changes.blocks {
            if self.blocks_changed.get(hash) == Some(place) {
                self.blocks_changed.remove(hash);
            }
        }
        for (pin, place) in &changes.pins {
            if self.pins_changed.get(pin) == Some(place) {
                self.pins_changed.remove(pin);
            }
        }
    }
}

/// Bytes of a block's whole record.
pub(crate) fn record_bytes(hash: &Multihash, place: &Place) -> u64 {
    block_head_bytes(hash).saturating_add(u64::from(place.len))
}
