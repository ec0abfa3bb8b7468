//! Figures about a store, from memory.

use super::Store;

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks that can be read.
    pub blocks: u64,
    /// Bytes of their records.
    pub bytes_live: u64,
    /// Bytes of all packs, garbage included; this counts against the budget.
    pub bytes_on_disk: u64,
    /// The budget in bytes; `u64::MAX` for none.
    pub bytes_max: u64,
    /// Packs, each an open descriptor.
    pub packs: u64,
    /// Pins.
    pub pins: u64,
    /// Changes that the index does not know yet.
    pub unindexed: u64,
}

impl Store {
    /// What the store holds.
    pub fn stats(&self) -> Stats {
        let inner = self.inner();
        let bytes_on_disk = inner.head().used;
        let table = inner.table();
        Stats {
            blocks: table.live.values().fold(0, |sum, live| live.blocks.saturating_add(sum)),
            bytes_live: table.live.values().fold(0, |sum, live| live.bytes.saturating_add(sum)),
            bytes_on_disk,
            bytes_max: inner.options.bytes_max,
            packs: table.packs.len() as u64,
            pins: table.pins.len() as u64,
            unindexed: table.waiting() as u64,
        }
    }
}
