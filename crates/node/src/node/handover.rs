//! A node hands itself over to another process: what passes, in which order, and what if that fails. [`crate::takeover`] is what both say.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use atoll_edge::{Passed, Running};
use tokio::task::{JoinSet, spawn_blocking};

use super::{Inner, Node};
use crate::takeover::{Predecessor, Successor, TakeoverError};

/// A node of which another process has all that only one may have. Visitors who are connected are served until it is drained.
pub struct Leaving {
    server: Running,
    /// Its end tells the other process that this one has ended.
    successor: Option<Successor>,
    _lasting: JoinSet<()>,
    _inner: Arc<Inner>,
}

/// What became of a takeover.
pub enum Handed {
    /// The other process serves. [`Leaving::drain`] is what is left to do.
    Over(Leaving),
    /// The other process ended before it served, or was ended because it hung: a node has to be started with these sockets, which listen.
    Back(Leaving, Passed),
    /// Nothing has changed.
    Not(Box<Node>),
}

impl Node {
    /// The next process that wants to take over; none comes while the process still runs that was taken over from.
    pub async fn successor(&mut self) -> Successor {
        match self.successors.recv().await {
            Some(successor) => successor,
            None => std::future::pending().await,
        }
    }

    /// This process has taken over: it can be taken over from once the other one has ended.
    pub fn follow(&self, predecessor: Predecessor) {
        self.inner.follows.store(true, Ordering::Relaxed);
        let inner = Arc::clone(&self.inner);
        // Not a task of the runtime, which would wait for it at the end.
        std::thread::spawn(move || {
            predecessor.ended();
            inner.follows.store(false, Ordering::Relaxed);
        });
    }

    /// Hands the node over to another process: first its sockets, then, when that can start, all that only one process may have. In
    /// between visitors wait for their connections. `limit` is how long it may take until it serves.
    pub async fn hand_over(mut self, successor: Successor, limit: Duration) -> Handed {
        let Some((mut successor, passed)) = self.offer(successor).await else { return Handed::Not(Box::new(self)) };
        let store = self.inner.local.store().clone();
        let handed = spawn_blocking(move || store.handover().map(drop)).await;
        if let Ok(Err(error)) = handed {
            tracing::warn!(%error, "no process takes over: the store cannot be handed over");
            successor.refuse(&error.to_string());
            return Handed::Not(Box::new(self));
        }
        self.inner.ready.store(false, Ordering::Relaxed);
        self.server.leave().await;
        self.give_up().await;
        let Self { inner, server, lasting, .. } = self;
        let told = spawn_blocking(move || successor.is_in_charge(limit).then_some(successor)).await;
        let leaving = Leaving { server, successor: told.ok().flatten(), _lasting: lasting, _inner: inner };
        if leaving.successor.is_some() { Handed::Over(leaving) } else { Handed::Back(leaving, passed) }
    }

    /// Passes the sockets; a second set of them is kept for the case that they come back.
    async fn offer(&self, mut successor: Successor) -> Option<(Successor, Passed)> {
        let passed = self.offered.try_clone().and_then(|mut passed| {
            passed.append(self.server.passed()?);
            Ok(passed)
        });
        let passed = passed.inspect_err(|error| tracing::warn!(%error, "no process takes over")).ok()?;
        let offered = spawn_blocking(move || {
            successor.offer(&passed)?;
            Ok::<_, TakeoverError>((successor, passed))
        });
        match offered.await {
            Ok(Ok(offered)) => Some(offered),
            Ok(Err(error)) => {
                tracing::warn!(%error, "no process takes over");
                None
            }
            Err(_) => None,
        }
    }

    /// Lets go of the peer id, the folder and all in it. What is held can still be read.
    async fn give_up(&mut self) {
        let _ = self.stop.send(true);
        self.tasks.shutdown().await;
        let inner = &self.inner;
        inner.names.shutdown().await;
        inner.providing.save().await;
        inner.fronts.give_up().await;
        if let Err(error) = inner.router.shutdown().await {
            tracing::warn!(%error, "the records could not be saved");
        }
        if let Some(swarm) = &inner.swarm {
            swarm.shutdown().await;
        }
        inner.name_records.close();
        if let Some(pinning) = &inner.pinning {
            pinning.close();
        }
    }
}

impl Leaving {
    /// Ends once visitors have left, or have had time enough.
    pub async fn drain(self) {
        let cut = self.server.drain().await;
        tracing::info!(cut, "connections have been left to the process that took over");
    }
}
