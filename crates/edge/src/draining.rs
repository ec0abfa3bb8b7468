//! How far the listener has come in ending: not at all, since another process takes over, or now. Keeps nothing.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::watch;

/// Where it stands. It only grows.
#[derive(Clone, Debug, Default)]
pub(crate) enum Draining {
    /// It serves.
    #[default]
    No,
    /// Another process has its sockets. Connections that are open are served until their clients had a chance to leave them; what comes
    /// for those over HTTP/3 comes through these, one for each socket.
    Gently(Arc<[OwnedFd]>),
    /// Requests in flight end, nothing else is begun.
    Now,
}

/// Told of it.
pub(crate) type Drained = watch::Receiver<Draining>;

/// Resolves when connections are to be left.
pub(crate) async fn begun(draining: &mut Drained) {
    // An error says that nobody is left who could end the draining.
    let _ = draining.wait_for(|draining| !matches!(draining, Draining::No)).await;
}

/// Resolves when nothing is to be begun any more.
pub(crate) async fn now(draining: &mut Drained) {
    let _ = draining.wait_for(|draining| matches!(draining, Draining::Now)).await;
}
