//! What keeps garbage collection away from the blocks of imports that are under way, without either waiting for the
//! other. In memory only: neither survives a crash.
//!
//! What is stored while a [`Hold`] exists lies behind the position of the log where the hold began, and costs no memory.
//! What is found present is noted: at most one entry a block.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atoll_core::block::Multihash;

use super::error::StoreError;
use super::index::{Place, Watermark};
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
    guarded: Mutex<Guarded>,
    /// Whether there is a hold or a collection, so that blocks found present have to be noted.
    watching: AtomicBool,
    /// The end of the log.
    position: AtomicU64,
}

/// What a collection must not take.
#[derive(Debug, Default)]
pub(crate) struct Guarded {
    /// Holds by their number, and where the log ended when they began.
    holds: BTreeMap<u64, u64>,
    next: u64,
    collecting: bool,
    /// Where the log ended when the oldest hold, or else the collection, began.
    floor: u64,
    /// Blocks found present, and the number that the next hold would have had then.
    touched: HashMap<u128, u64>,
    /// How many of those were left when it was last tidied.
    tidied: usize,
}

/// How many notes are taken before it is looked which are still needed.
const TIDY_MIN: usize = 1024;

impl Guarded {
    /// Whether a block has to stay though no pin reaches it.
    pub(crate) fn protects(&self, hash: &Multihash, place: &Place) -> bool {
        position(place.pack, u64::from(place.offset)) >= self.floor || self.touched.contains_key(&fingerprint(hash))
    }

    fn touch(&mut self, hash: &Multihash) {
        self.touched.insert(fingerprint(hash), self.next);
        if self.touched.len() > self.tidied.saturating_mul(2).max(TIDY_MIN) {
            self.tidy();
        }
    }

    /// Forgets what was noted before the oldest hold began.
    fn tidy(&mut self) {
        if !self.collecting {
            match self.holds.first_key_value() {
                Some((oldest, _)) => self.touched.retain(|_, number| *number > *oldest),
                None => self.touched = HashMap::new(),
            }
        }
        self.tidied = self.touched.len();
    }
}

/// Packs are at most 4 GiB, so that both fit.
fn position(pack: u32, offset: u64) -> u64 {
    (u64::from(pack) << 32) | offset.min(u64::from(u32::MAX))
}

impl Gate {
    pub(crate) fn guarded(&self) -> MutexGuard<'_, Guarded> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says where the log ends now.
    pub(crate) fn moved(&self, end: Watermark) {
        self.position.store(position(end.pack, end.offset), Ordering::SeqCst);
    }

    /// Whether a block that is found present has to be noted.
    pub(crate) fn is_watching(&self) -> bool {
        self.watching.load(Ordering::SeqCst)
    }

    /// Notes that a block was found present.
    pub(crate) fn touch(&self, hash: &Multihash) {
        self.guarded().touch(hash);
    }

    /// Begins a collection; it ends when the value is dropped.
    pub(crate) fn collect(&self) -> Result<Collecting<'_>, StoreError> {
        let mut guarded = self.guarded();
        if guarded.collecting {
            return Err(StoreError::Collecting);
        }
        guarded.tidy();
        guarded.collecting = true;
        self.watching.store(true, Ordering::SeqCst);
        let now = self.position.load(Ordering::SeqCst);
        guarded.floor = guarded.holds.first_key_value().map_or(now, |(_, began)| *began);
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
        let mut guarded = self.gate.guarded();
        guarded.collecting = false;
        guarded.tidy();
        self.gate.watching.store(!guarded.holds.is_empty(), Ordering::SeqCst);
    }
}

/// What is stored or found present while one exists is not collected before it ends: time to pin what needs it.
#[derive(Debug)]
pub struct Hold {
    inner: Arc<Inner>,
    number: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut guarded = self.inner.gate.guarded();
        guarded.holds.remove(&self.number);
        if guarded.holds.is_empty() {
            guarded.tidy();
        }
        let watching = guarded.collecting || !guarded.holds.is_empty();
        self.inner.gate.watching.store(watching, Ordering::SeqCst);
    }
}

impl Store {
    /// Keeps what is stored or found present from now on, until the guard is dropped. Never waits.
    pub fn hold(&self) -> Hold {
        let inner = self.owner.inner.clone();
        let mut guarded = inner.gate.guarded();
        let number = guarded.next;
        guarded.next = number.wrapping_add(1);
        inner.gate.watching.store(true, Ordering::SeqCst);
        guarded.holds.insert(number, inner.gate.position.load(Ordering::SeqCst));
        drop(guarded);
        Hold { inner, number }
    }
}
