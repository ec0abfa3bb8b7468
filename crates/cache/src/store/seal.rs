//! Bodies that are sent again and again move to sealed files, which the kernel sends without a copy.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use atoll_sealed::Seals;

use super::{Entry, Resource, Store};
use crate::fill::Filled;
use crate::key::Key;

impl Store {
    /// Shares a budget of files with others.
    #[must_use]
    pub fn sharing(mut self, seals: &Arc<Seals>) -> Self {
        self.seals = Arc::clone(seals);
        self
    }

    /// Notes that a body of a response is sent where the kernel could do so without a copy. One that is sent often is sealed, for
    /// those who come later.
    pub fn note_copy(self: &Arc<Self>, key: &Key, entry: &Arc<Entry>, body: &Filled) {
        if body.is_worth_sealing() && entry.copied.is_due() {
            let (store, key, entry) = (Arc::clone(self), key.clone(), Arc::clone(entry));
            drop(tokio::task::spawn_blocking(move || store.seal(&key, &entry)));
        }
    }

    /// Puts a response whose bodies are sealed in the place of one.
    fn seal(&self, key: &Key, entry: &Arc<Entry>) {
        let Some(fill) = entry.fill.sealed(&self.seals) else { return };
        let sealed = Entry::new(entry.stored.clone(), entry.variant.clone(), fill, entry.begun);
        let _lock = self.lock(key);
        sealed.checked.store(entry.checked.load(Ordering::Acquire), Ordering::Release);
        sealed.used.store(entry.used.load(Ordering::Relaxed), Ordering::Relaxed);
        sealed.written.store(entry.written.load(Ordering::Acquire), Ordering::Release);
        let Some(resource) = self.cache.peek(key) else { return };
        let mut entries = resource.entries.clone();
        if let Some(place) = entries.iter_mut().find(|other| Arc::ptr_eq(other, entry)) {
            *place = sealed;
            // Not put back if it was taken out meanwhile.
            let _ = self.cache.replace(key.clone(), Resource::new(key, entries), true);
        }
    }
}
