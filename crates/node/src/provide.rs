//! What is announced to the DHTs: which keys this node holds, handed to the sweeps that do the work (`atoll_routing::Sweep`), and
//! when each was announced, on disk, so that a restart does not announce all anew. A crash loses the last minute of that.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use atoll_content::StoreError;
use atoll_content::entities::entities;
use atoll_content::store::Store;
use atoll_core::block::IDENTITY;
use atoll_core::dht::Key;
use atoll_core::{Cid, PeerId};
use atoll_routing::{KEYS_MAX, Sweep, SweepParts, SweepView, TokioClock};
use atoll_swarm::{Config, Provide, Swarm};
use tokio::sync::watch;

use crate::keys;
use crate::network::Network;
use crate::node::{Inner, NodeError};
use crate::ticks::Ticks;

/// How often new pins are looked for.
const LOOK: Duration = Duration::from_secs(2);
/// How often new blocks are looked for, when all are announced.
const LOOK_FOR_BLOCKS: Duration = Duration::from_secs(300);
/// How often it is saved what was announced when.
const SAVE: Duration = Duration::from_secs(60);
/// The largest file of those that is read, in bytes.
const SAVED_BYTES_MAX: u64 = 16 << 20;

/// The sweeps of a node, one for each DHT.
pub(crate) struct Providing {
    sweeps: Vec<(Sweep, PathBuf)>,
    what: Provide,
}

impl Providing {
    /// Starts them with no keys.
    pub(crate) fn spawn(
        folder: &crate::config::Folder,
        config: &Config,
        network: &Network,
        me: PeerId,
    ) -> Result<Self, NodeError> {
        let mut sweeps = Vec::new();
        for dht in network.swarm.iter().flat_map(Swarm::networks) {
            let place = folder.provided();
            keys::create_private_dir(&place).map_err(|error| NodeError::Folder(place.clone(), error))?;
            let (name, path) = (dht.name(), place.join(dht.name()));
            let saved = read(&path).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "what was announced when cannot be read: all is announced anew");
                Vec::new()
            });
            let (dht, clock) = (Arc::new(dht) as _, Arc::new(TokioClock) as _);
            let parts = SweepParts { name, me, dht, clock, interval: config.provide_interval, saved };
            sweeps.push((Sweep::spawn(parts), path));
        }
        Ok(Self { sweeps, what: config.provide })
    }

    /// The sweeps.
    pub(crate) fn sweeps(&self) -> Vec<Sweep> {
        self.sweeps.iter().map(|(sweep, _)| sweep.clone()).collect()
    }

    /// How they are going.
    pub(crate) fn views(&self) -> Vec<SweepView> {
        self.sweeps.iter().map(|(sweep, _)| sweep.view()).collect()
    }

    /// Writes what was announced since the last time.
    pub(crate) async fn save(&self) {
        for (sweep, path) in &self.sweeps {
            let (sweep, path) = (sweep.clone(), path.clone());
            let written = tokio::task::spawn_blocking(move || {
                sweep.saved().map_or(Ok(()), |bytes| atoll_durable::replace(&path, |file| file.write_all(&bytes)))
            });
            if let Ok(Err(error)) = written.await {
                tracing::warn!(%error, "what was announced cannot be written: after a restart it is announced anew");
            }
        }
    }
}

/// A file that need not be there.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::metadata(path) {
        Ok(about) if about.len() > SAVED_BYTES_MAX => Err(io::ErrorKind::FileTooLarge.into()),
        Ok(_) => fs::read(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Looks for what is to be announced, for ever, or until `stop` changes.
pub(crate) async fn run(node: Arc<Inner>, swarm: Swarm, stop: watch::Receiver<bool>) {
    if let Some((sweep, _)) = node.providing.sweeps.first() {
        let sweep = sweep.clone();
        swarm.set_own(Arc::new(move |key| sweep.provides(key))).await;
    }
    let mut held = Held { what: node.providing.what, roots: BTreeSet::new(), entities: HashMap::new(), looked: None };
    let mut saved = Instant::now();
    let mut ticks = Ticks::new(LOOK, stop);
    while ticks.next().await {
        let (store, sweeps) = (node.local.store().clone(), node.providing.sweeps());
        let looked = tokio::task::spawn_blocking(move || {
            match held.look(&store) {
                Ok(Some(keys)) => sweeps.iter().for_each(|sweep| sweep.keep(&keys)),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "what is held cannot be listed for announcing"),
            }
            held
        });
        // It does not panic; if it did, nothing would be announced any more, but what is.
        let Ok(back) = looked.await else { return };
        held = back;
        if saved.elapsed() >= SAVE {
            node.providing.save().await;
            saved = Instant::now();
        }
    }
}

/// What is held, as far as it is announced.
struct Held {
    what: Provide,
    roots: BTreeSet<Cid>,
    /// The entities under each root.
    entities: HashMap<Cid, Vec<Key>>,
    /// When all blocks were listed.
    looked: Option<Instant>,
}

impl Held {
    /// All keys, if they are others than the last time.
    fn look(&mut self, store: &Store) -> Result<Option<Vec<Key>>, StoreError> {
        let roots: BTreeSet<Cid> = store.pins().into_iter().map(|pin| pin.cid).collect();
        let overdue = self.what == Provide::All && self.looked.is_none_or(|at| at.elapsed() >= LOOK_FOR_BLOCKS);
        if roots == self.roots && self.looked.is_some() && !overdue {
            return Ok(None);
        }
        self.looked = Some(Instant::now());
        let mut keys: Vec<Key> =
            roots.iter().filter(|root| root.hash().code() != IDENTITY).map(|root| key(root.hash())).collect();
        match self.what {
            Provide::Roots => {}
            Provide::Entities => {
                self.entities.retain(|root, _| roots.contains(root));
                for root in &roots {
                    // Of more than are announced, no list is kept.
                    if keys.len() > KEYS_MAX {
                        break;
                    }
                    if !self.entities.contains_key(root) {
                        let found = entities(store, root)?.iter().map(key).collect();
                        self.entities.insert(*root, found);
                    }
                    keys.extend(self.entities.get(root).into_iter().flatten().cloned());
                }
            }
            Provide::All => store.hashes(&mut |hash| {
                // One too many says that there are too many.
                if keys.len() <= KEYS_MAX {
                    keys.push(key(&hash));
                }
            })?,
        }
        self.roots = roots;
        Ok(Some(keys))
    }
}

fn key(hash: &atoll_core::block::Multihash) -> Key {
    hash.to_bytes().into()
}
