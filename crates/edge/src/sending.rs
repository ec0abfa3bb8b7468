//! What passes between a connection's pipeline and its stream: the sealed bytes that the next answer is made of, which the kernel
//! then sends without a copy, and what goes before the answer (1xx), which the HTTP parser knows no way to send.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use atoll_sealed::Sealed;
use bytes::Bytes;
use futures_util::task::AtomicWaker;

/// The most that waits to be sent before an answer, in bytes; what is more is left out.
const INTERIM_BYTES_MAX: usize = 32 * 1024;

/// See the module. Nobody waits for a lock: one task has both ends.
#[derive(Default)]
pub(crate) struct Sending {
    sealed: Mutex<Option<Arc<Sealed>>>,
    interim: Mutex<Vec<u8>>,
    has_interim: AtomicBool,
    /// Counts answers, as they are begun to be waited for and as they are there: what came too late is for none.
    turn: AtomicU64,
    /// Who waits for an answer.
    waiting: AtomicWaker,
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

    /// An answer is waited for; what [`Sending::precede`] names it by.
    pub(crate) fn begin_wait(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Who waits is woken when there is something to be sent before the answer.
    pub(crate) fn wait(&self, waiting: &Waker) {
        self.waiting.register(waiting);
    }

    /// Whether something is to be sent before the answer.
    pub(crate) fn has_interim(&self) -> bool {
        self.has_interim.load(Ordering::Relaxed)
    }

    /// The answer is there; what was not taken up would come behind its head.
    pub(crate) fn end_wait(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
        drop(self.take_interim());
    }

    /// Sends this before the answer that is waited for, if it still is, once all that came before is sent.
    pub(crate) fn precede(&self, turn: u64, head: &[u8]) {
        if self.turn.load(Ordering::Relaxed) != turn {
            return;
        }
        let mut interim = self.interim.lock().unwrap_or_else(PoisonError::into_inner);
        if interim.len().saturating_add(head.len()) <= INTERIM_BYTES_MAX {
            interim.extend_from_slice(head);
            self.has_interim.store(true, Ordering::Relaxed);
            self.waiting.wake();
        }
    }

    /// What is to be sent now, when nothing else is on its way.
    pub(crate) fn take_interim(&self) -> Bytes {
        if !self.has_interim.swap(false, Ordering::Relaxed) {
            return Bytes::new();
        }
        std::mem::take(&mut *self.interim.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}
