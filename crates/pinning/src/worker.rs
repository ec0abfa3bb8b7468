//! Working on open requests, a few at a time, for ever. What is under way is in memory only; after a crash it begins again from
//! the blocks that are there, and pins that no request stands for are taken back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use atoll_core::{StorageError, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::error::StoreError;
use crate::fetch::{Attempt, AttemptError};
use crate::request::{Held, REASON_PREFIX, RequestId, State};
use crate::service::Inner;
use crate::store::{Job, Store};

/// The shortest wait for a turn.
const WAIT_MIN: Duration = Duration::from_millis(10);
/// How often the pins are looked at until that succeeds.
const RECONCILE_RETRY: Duration = Duration::from_secs(10);
/// How often a pin may find blocks missing, because something else removed them meanwhile.
const PIN_ROUNDS_MAX: usize = 4;

/// Works until `stop` changes.
pub(crate) async fn run(service: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    while let Err(error) = service.reconcile().await {
        tracing::error!(%error, "pins of requests cannot be looked at");
        tokio::select! {
            () = service.clock.sleep(RECONCILE_RETRY) => {}
            _ = stop.changed() => return,
        }
    }
    let mut jobs = JoinSet::new();
    loop {
        let (most, each) = (service.config.at_once, service.config.at_once_per_publisher);
        while jobs.len() < most
            && let Some(job) = service.store.next(each)
        {
            jobs.spawn(work(Arc::clone(&service), job));
        }
        let due = if jobs.len() < most { service.store.next_due(each) } else { None };
        tokio::select! {
            _ = stop.changed() => break,
            () = service.store.news() => {}
            Some(_) = jobs.join_next(), if !jobs.is_empty() => {}
            () = wait(&service, due), if due.is_some() => {}
        }
    }
    jobs.shutdown().await;
}

async fn wait(service: &Inner, due: Option<Timestamp>) {
    let rest = due.map_or(Duration::ZERO, |due| due.since(service.clock.now()));
    service.clock.sleep(rest.max(WAIT_MIN)).await;
}

/// One attempt at one request.
async fn work(service: Arc<Inner>, mut job: Job) {
    let ending = Ending { store: &service.store, id: job.id };
    let hold = (service.hold)();
    let deadline = job.created.after(service.config.timeout);
    // After a long rest of the node there is one attempt, whatever the time.
    let limit = deadline.since(service.clock.now()).max(service.config.seek_timeout.saturating_mul(2));
    let (_keep, nobody) = tokio::sync::oneshot::channel::<()>();
    let gone = std::mem::replace(&mut job.gone, nobody);
    let fetched = tokio::select! {
        biased;
        // The request was removed, and all that it had with it.
        _ = gone => return,
        fetched = service.attempt(&job) => fetched,
        () = service.clock.sleep(limit) => Err(AttemptError::Late),
    };
    // What follows is not given up half-way: a pin that was made must find its request, or be taken back.
    let settled = match fetched {
        Ok(()) => service.keep(&job).await,
        Err(error) => service.failed(&job, error, deadline).await,
    };
    if let Err(error) = settled {
        tracing::error!(request = %job.id, %error, "what became of a pin request is not written down");
        service.store.put_off(&job.id, service.clock.now().after(service.config.retry_max), error.to_string());
    }
    drop((hold, ending));
}

/// Ends the work on a request however it comes to its end.
struct Ending<'a> {
    store: &'a Store,
    id: RequestId,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.store.end(&self.id);
    }
}

impl Inner {
    /// Brings pins and requests together after a start.
    async fn reconcile(&self) -> Result<(), StorageError> {
        let pins = self.storage.pins().await?;
        let ours = pins.into_iter().filter(|(_, reason)| reason.starts_with(REASON_PREFIX));
        let pins: HashSet<Held> = ours.map(|(root, reason)| Held { root, reason }).collect();
        let held = self.store.held();
        for pin in pins.difference(&held) {
            tracing::info!(root = %pin.root, reason = pin.reason, "a pin whose request is gone is taken back");
            self.storage.unpin(&pin.root, &pin.reason).await?;
        }
        match self.store.reopen(pins).await {
            Ok(0) => Ok(()),
            Ok(count) => {
                tracing::warn!(count, "pins of requests are missing, and are made again");
                Ok(())
            }
            Err(error) => Err(StorageError::Failed(error.to_string())),
        }
    }

    /// Fetches the DAG of a job.
    async fn attempt(&self, job: &Job) -> Result<(), AttemptError> {
        let attempt = Attempt {
            store: &self.store,
            blocks: &*self.blocks,
            storage: &*self.storage,
            network: &*self.network,
            seek_timeout: self.config.seek_timeout,
            job,
        };
        attempt.run().await
    }

    /// Pins what was fetched.
    async fn keep(&self, job: &Job) -> Result<(), StoreError> {
        let (bytes, blocks) = self.store.counted(&job.id);
        for _ in 0..PIN_ROUNDS_MAX {
            match self.storage.pin(&job.held.root, &job.held.reason).await {
                Ok(()) => {
                    let released = self.store.finish(job.id, State::Pinned { bytes, blocks }).await?;
                    tracing::info!(request = %job.id, root = %job.held.root, bytes, blocks, "pinned for a publisher");
                    // Without its request, the pin goes again.
                    self.release(released.unwrap_or_else(|| vec![job.held.clone()])).await;
                    return Ok(());
                }
                Err(StorageError::Missing(_)) => {}
                Err(error) => return self.failed(job, error.into(), Timestamp::from_millis(u64::MAX)).await,
            }
        }
        self.failed(job, StorageError::Missing(job.held.root).into(), Timestamp::from_millis(u64::MAX)).await
    }

    /// Tries again later, or gives up.
    async fn failed(&self, job: &Job, error: AttemptError, deadline: Timestamp) -> Result<(), StoreError> {
        let now = self.clock.now();
        if !error.is_final() && now < deadline {
            let doubled = 1_u32.checked_shl(job.attempts.min(20)).unwrap_or(u32::MAX);
            let rest = self.config.retry_min.saturating_mul(doubled).min(self.config.retry_max);
            tracing::debug!(request = %job.id, %error, ?rest, "a pin request is put off");
            self.store.put_off(&job.id, now.after(rest), format!("{error}; it is tried again"));
            return Ok(());
        }
        let why = if error.is_final() {
            error.to_string()
        } else {
            format!("not pinned within {}: {error}", humantime::format_duration(self.config.timeout))
        };
        tracing::info!(request = %job.id, root = %job.held.root, why, "a pin request has failed");
        let released = self.store.finish(job.id, State::Failed { why }).await?;
        self.release(released.unwrap_or_default()).await;
        Ok(())
    }

    /// Takes pins back. What cannot be taken back now goes with the next start.
    pub(crate) async fn release(&self, pins: Vec<Held>) {
        for pin in pins {
            if let Err(error) = self.storage.unpin(&pin.root, &pin.reason).await {
                tracing::error!(root = %pin.root, reason = pin.reason, %error, "a pin could not be taken back");
            }
        }
    }
}
