//! What keeps imports and garbage collection out of each other's way. In memory only: neither survives a crash.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atoll_core::block::Multihash;

use super::error::StoreError;
use super::{Inner, Store};

/// A short stand-in for a multihash in large sets. Two blocks share one only if somebody finds a collision of 128 bits.
pub(crate) fn fingerprint(hash: &Multihash) -> u128 {
    let digest = hash.digest();
    let mut bytes = [0; 16];
    let tail = digest.get(digest.len().saturating_sub(16)..).unwrap_or_default();
    bytes[..tail.len()].copy_from_slice(tail);
    u128::from_le_bytes(bytes) ^ (u128::from(hash.code()) << 64)
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    collecting: AtomicBool,
    /// Blocks that were stored or found present while garbage is collected: at most one entry a block.
    touched: Mutex<HashSet<u128>>,
}

#[derive(Debug, Default)]
struct State {
    holds: usize,
    collecting: bool,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn touched(&self) -> MutexGuard<'_, HashSet<u128>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether garbage is being collected, so that a block found present has to be touched.
    pub(crate) fn is_collecting(&self) -> bool {
        self.collecting.load(Ordering::SeqCst)
    }

    /// Begins a collection; it ends when the guard is dropped.
    pub(crate) fn collect(&self) -> Result<Collecting<'_>, StoreError> {
        let mut state = self.state();
        if state.holds > 0 {
            return Err(StoreError::Held { holds: state.holds });
        }
        if std::mem::replace(&mut state.collecting, true) {
            return Err(StoreError::Collecting);
        }
        self.collecting.store(true, Ordering::SeqCst);
        Ok(Collecting { gate: self })
    }

    /// Keeps collections away while the store is handed over; imports that are under way will be refused.
    pub(crate) fn freeze(&self) -> Result<Collecting<'_>, StoreError> {
        if std::mem::replace(&mut self.state().collecting, true) {
            return Err(StoreError::Collecting);
        }
        Ok(Collecting { gate: self })
    }
}

/// A collection under way.
#[derive(Debug)]
pub(crate) struct Collecting<'a> {
    gate: &'a Gate,
}

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.collecting = false;
        self.gate.collecting.store(false, Ordering::SeqCst);
        *self.gate.touched() = HashSet::new();
    }
}

/// While one exists, no collection of garbage begins, so that blocks stored or found present stay until they are
/// pinned. One taken during a collection protects just as well: what is stored or found present from then on stays.
#[derive(Debug)]
pub struct Hold {
    inner: Arc<Inner>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.inner.gate.state();
        state.holds = state.holds.saturating_sub(1);
    }
}

impl Store {
    /// Keeps garbage collection away until the guard is dropped.
    pub fn hold(&self) -> Hold {
        let inner = self.owner.inner.clone();
        let mut state = inner.gate.state();
        state.holds = state.holds.saturating_add(1);
        drop(state);
        Hold { inner }
    }
}
