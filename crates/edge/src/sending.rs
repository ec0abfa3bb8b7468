//! What passes between a connection's pipeline and its stream: the sealed bytes that the next answer is made of. The stream
//! then has the kernel send them; without this it would copy them.

use std::sync::{Arc, Mutex, PoisonError};

use atoll_sealed::Sealed;

/// The sealed bytes of a connection's next answer. Nobody waits for the lock: one task has both ends.
#[derive(Default)]
pub(crate) struct Sending(Mutex<Option<Arc<Sealed>>>);

impl Sending {
    /// The next answer is made of these.
    pub(crate) fn offer(&self, sealed: &Arc<Sealed>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(sealed));
    }

    /// What was offered since the last call.
    pub(crate) fn take(&self) -> Option<Arc<Sealed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
