//! What passes between a connection's pipeline and its stream: the sealed bytes that the next answer is made of, which the kernel
//! then sends without a copy, and what goes before the answer (1xx), which the HTTP parser knows no way to send.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use atoll_sealed::Sealed;
use bytes::Bytes;

/// See the module. Nobody waits for a lock: one task has both ends.
#[derive(Default)]
pub(crate) struct Sending {
    sealed: Mutex<Option<Arc<Sealed>>>,
    interim: Mutex<Vec<u8>>,
    has_interim: AtomicBool,
}

impl Sending {
    /// The next answer is made of these.
    pub(crate) fn offer(&self, sealed: &Arc<Sealed>) {
        *self.sealed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(sealed));
    }

    /// What was offered since the last call.
    pub(crate) fn take(&self) -> Option<Arc<Sealed>> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sends this before the answer that is being made, once all that came before is sent.
    pub(crate) fn precede(&self, head: &[u8]) {
        self.interim.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(head);
        self.has_interim.store(true, Ordering::Relaxed);
    }

    /// What is to be sent now, when nothing else is on its way.
    pub(crate) fn take_interim(&self) -> Bytes {
        if !self.has_interim.swap(false, Ordering::Relaxed) {
            return Bytes::new();
        }
        std::mem::take(&mut *self.interim.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}
