//! Pins: which DAGs are kept, and why. A pin is a record of the log like a block, durable before it is acknowledged.

use std::io::IoSlice;

use atoll_core::Cid;

use super::error::StoreError;
use super::record::{PIN_NAME_BYTES_MAX, Pin, Record};
use super::table::PINS_MAX;
use super::{Inner, Store};

impl Store {
    /// Keeps the DAG under `cid` for the reason `name`; survives a loss of power once this returns, and with it every
    /// block stored before. `false` when it was pinned so already. Possible even over the byte budget.
    ///
    /// # Errors
    /// [`StoreError::PinName`], [`StoreError::PinsMax`], [`StoreError::DiskFull`], [`StoreError::SyncFailed`].
    pub fn pin(&self, cid: &Cid, name: &str) -> Result<bool, StoreError> {
        self.inner().set_pin(cid, name, true)
    }

    /// Takes one reason away; the DAG is kept while another is left. `false` when there was no such pin.
    ///
    /// # Errors
    /// As [`Store::pin`].
    pub fn unpin(&self, cid: &Cid, name: &str) -> Result<bool, StoreError> {
        self.inner().set_pin(cid, name, false)
    }

    /// All pins, in the order of their CIDs and names.
    pub fn pins(&self) -> Vec<Pin> {
        self.inner().table().pins.keys().cloned().collect()
    }

    /// Whether the DAG under `cid` is pinned itself, for whatever reason.
    pub fn is_pinned(&self, cid: &Cid) -> bool {
        let first = Pin { cid: *cid, name: String::new() };
        self.inner().table().pins.range(first..).next().is_some_and(|(pin, _)| pin.cid == *cid)
    }
}

impl Inner {
    fn set_pin(&self, cid: &Cid, name: &str, on: bool) -> Result<bool, StoreError> {
        if name.len() > PIN_NAME_BYTES_MAX {
            return Err(StoreError::PinName { len: name.len(), max: PIN_NAME_BYTES_MAX });
        }
        self.writable()?;
        let changed = self.write_pin(Pin { cid: *cid, name: name.to_owned() }, on)?;
        // Also when nothing changed: another thread may have written it and not synced yet.
        self.sync_packs()?;
        Ok(changed)
    }

    fn write_pin(&self, pin: Pin, on: bool) -> Result<bool, StoreError> {
        let mut head = self.head();
        {
            let table = self.table();
            if table.pins.contains_key(&pin) == on {
                return Ok(false);
            }
            if on && table.pins.len() >= PINS_MAX {
                return Err(StoreError::PinsMax(PINS_MAX));
            }
        }
        let record = Record::Pin { pin: pin.clone(), on };
        let mut bytes = Vec::new();
        record.encode(&self.salt, &mut bytes);
        let (pack, offset) = self.append(&mut head, &mut [IoSlice::new(&bytes)], record.bytes())?;
        self.table_mut().set_pin(pin, on.then_some((pack.number, offset)));
        Ok(true)
    }
}
