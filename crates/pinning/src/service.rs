//! The service: what it is made of, and what its operator asks of it.

use std::net::SocketAddr;
use std::sync::Arc;

use atoll_core::{Blocks, Clock, Deny, Storage};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::door::Door;
use crate::error::StoreError;
use crate::network::Network;
use crate::publisher::{Allow, PublisherView};
use crate::store::Store;
use crate::{serve, worker};

/// Makes something that keeps blocks which are stored from now on from being collected, until it is dropped.
pub type Hold = Box<dyn Fn() -> Box<dyn Send> + Send + Sync>;

/// What a service is made of.
pub struct Parts {
    /// Requests and publishers.
    pub store: Store,
    /// Blocks, from wherever they can be had.
    pub blocks: Arc<dyn Blocks>,
    /// Where they are kept and pinned.
    pub storage: Arc<dyn Storage>,
    /// Keeps blocks that are not pinned yet.
    pub hold: Hold,
    /// Peers.
    pub network: Arc<dyn Network>,
    /// What the operator does not show is not pinned either.
    pub deny: Arc<dyn Deny>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Settings that have no [`Config::problems`].
    pub config: Config,
}

/// A running service; cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

/// What all of it shares.
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) blocks: Arc<dyn Blocks>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) hold: Hold,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) deny: Arc<dyn Deny>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
    pub(crate) door: Door,
    listen: Vec<SocketAddr>,
}

/// What is known of the service, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// URLs of its listeners, without a trailing slash.
    pub listen: Vec<String>,
    /// Publishers with a token that counts.
    pub publishers: usize,
    /// Requests that wait.
    pub queued: usize,
    /// Requests that are worked on.
    pub pinning: usize,
    /// Requests that are kept.
    pub pinned: usize,
    /// Requests that failed.
    pub failed: usize,
    /// Bytes that count for publishers' quotas.
    pub bytes: u64,
}

impl Service {
    /// Serves `listeners` and works on what is asked, in tasks of `tasks`, until `stop` changes.
    pub fn spawn(
        parts: Parts,
        listeners: Vec<TcpListener>,
        tasks: &mut JoinSet<()>,
        stop: &watch::Receiver<bool>,
    ) -> Self {
        let Parts { store, blocks, storage, hold, network, deny, clock, config } = parts;
        let listen = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let door = Door::new(&config);
        let inner = Inner { store, blocks, storage, hold, network, deny, clock, config, door, listen };
        let inner = Arc::new(inner);
        tasks.spawn(worker::run(Arc::clone(&inner), stop.clone()));
        let places = serve::places(&inner.config);
        for listener in listeners {
            tasks.spawn(serve::run(listener, Arc::clone(&inner), Arc::clone(&places), stop.clone()));
        }
        Self(inner)
    }

    /// Makes a token for a publisher. It cannot be read again.
    ///
    /// # Errors
    /// As [`Store::add_publisher`].
    pub async fn add_publisher(&self, name: &str, quota: u64, allow: Allow) -> Result<String, StoreError> {
        self.0.store.add_publisher(name, quota, allow).await
    }

    /// Makes a publisher's token worthless. With `drop_pins`, all that it pinned is let go, too: how many pins.
    ///
    /// # Errors
    /// [`StoreError::NoPublisher`], and what the database says.
    pub async fn revoke(&self, name: &str, drop_pins: bool) -> Result<usize, StoreError> {
        let held = self.0.store.revoke(name, drop_pins).await?;
        let count = held.len();
        self.0.release(held).await;
        Ok(count)
    }

    /// Lets another process have what is kept of publishers and requests.
    pub fn close(&self) {
        self.0.store.close();
    }

    /// All publishers.
    pub fn publishers(&self) -> Vec<PublisherView> {
        self.0.store.publishers()
    }

    /// All that is known now.
    pub fn snapshot(&self) -> Snapshot {
        let listen = self.0.listen.iter().map(|address| format!("http://{address}")).collect();
        Snapshot { listen, ..self.0.store.snapshot() }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("listen", &self.0.listen).finish_non_exhaustive()
    }
}
