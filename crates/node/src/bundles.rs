//! The bundles by which the node signs: of every site that is published through it or placed on it. Each is made of the node's own
//! blocks, and kept as a file, which a crash loses at most while it is written: then it is made anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use atoll_content::bundle::{BundleError, bundle};
use atoll_content::store::Pin;
use atoll_core::block::IDENTITY;
use atoll_core::bundle::{Bundle, Bundles, Named};
use atoll_core::id::NodeId;
use atoll_core::keys::AnswerKey;
use atoll_core::{Blocks, Cid};
use atoll_edge::Signer;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::api::{BundleState, BundleView};
use crate::keys;
use crate::node::Inner;
use crate::ticks::Ticks;

/// How often new sites are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How long a site whose blocks could not be had is left alone.
const AGAIN: Duration = Duration::from_secs(30);
/// The most memory of all bundles, in bytes.
const MEMORY_BYTES_MAX: usize = 512 << 20;
/// The largest file of a bundle that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The bundles of a node.
pub(crate) struct Shelf {
    folder: PathBuf,
    blocks: Arc<dyn Blocks>,
    key: Arc<AnswerKey>,
    ready: RwLock<HashMap<Cid, Arc<Named>>>,
    refused: Mutex<BTreeMap<Cid, Refused>>,
    /// One is made at a time.
    making: tokio::sync::Mutex<()>,
}

/// Why a site is served unsigned.
struct Refused {
    why: String,
    /// When to try again.
    again: Option<Instant>,
    /// The bundle, where it is another than the publisher's.
    made: Option<Arc<Named>>,
}

impl Shelf {
    /// An empty one, over the node's own blocks, for signing with its answer key. Without a folder bundles are made anew after each start.
    pub(crate) fn open(folder: PathBuf, blocks: Arc<dyn Blocks>, key: Arc<AnswerKey>) -> Self {
        if let Err(error) = keys::create_private_dir(&folder) {
            tracing::warn!(path = %folder.display(), %error, "bundles cannot be kept: after a restart they are made anew");
        }
        let (ready, refused, making) = (RwLock::default(), Mutex::default(), tokio::sync::Mutex::default());
        Self { folder, blocks, key, ready, refused, making }
    }

    /// Who signs by them.
    pub(crate) fn signer(self: &Arc<Self>) -> Signer {
        Signer { key: Arc::clone(&self.key), bundles: Arc::clone(self) as _ }
    }

    /// The key with which the node signs.
    pub(crate) fn key(&self) -> Arc<AnswerKey> {
        Arc::clone(&self.key)
    }

    /// The node's id on signed answers.
    pub(crate) fn node_id(&self) -> NodeId {
        self.key.node_id()
    }

    /// The bundle of a root, made now if it is not ready.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn make(self: &Arc<Self>, root: &Cid) -> Result<Arc<Named>, String> {
        let _turn = self.making.lock().await;
        if let Some(known) = self.bundle(root) {
            return Ok(known);
        }
        let (shelf, root) = (Arc::clone(self), own(root));
        let runtime = Handle::current();
        // Hashing a site takes a core for seconds: not on threads that serve others.
        let made = tokio::task::spawn_blocking(move || runtime.block_on(shelf.read_or_make(&root)));
        // A site at which it fails is left alone for a while, as one that lacks a block.
        let made = made.await.unwrap_or_else(|error| Err((error.to_string(), true)));
        made.and_then(|named| self.keep(&root, named)).map_err(|(why, passing)| {
            let again = passing.then(|| Instant::now() + AGAIN);
            tracing::warn!(%root, why, "the answers of a site are not signed");
            self.refused().insert(root, Refused { why: why.clone(), again, made: None });
            why
        })
    }

    /// From its file, or else of the blocks.
    async fn read_or_make(&self, root: &Cid) -> Result<Named, (String, bool)> {
        if let Some(known) = self.read(root) {
            return Ok(known.into());
        }
        let made = bundle(Arc::clone(&self.blocks), root).await;
        let made = made.map_err(|error: BundleError| (error.to_string(), error.is_passing()))?;
        let (path, bytes) = (self.file(root), made.to_bytes());
        if let Err(error) = atoll_durable::replace(&path, |file| file.write_all(&bytes)) {
            tracing::warn!(path = %path.display(), %error, "a bundle cannot be written: after a restart it is made anew");
        }
        Ok(made.into())
    }

    fn read(&self, root: &Cid) -> Option<Bundle> {
        let path = self.file(root);
        let read = fs::metadata(&path).and_then(|about| {
            if about.len() > FILE_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { fs::read(&path) }
        });
        match read {
            Ok(bytes) => {
                let bundle = Bundle::from_bytes(&bytes).filter(|bundle| bundle.root == *root);
                if bundle.is_none() {
                    tracing::warn!(path = %path.display(), "the file of a bundle is damaged; the bundle is made anew");
                }
                bundle
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "the file of a bundle cannot be read; it is made anew");
                }
                None
            }
        }
    }

    fn keep(&self, root: &Cid, named: Named) -> Result<Arc<Named>, (String, bool)> {
        let mut ready = self.ready.write().unwrap_or_else(PoisonError::into_inner);
        let taken: usize = ready.values().map(|named| named.bundle.manifest.memory_bytes()).sum();
        if taken.saturating_add(named.bundle.manifest.memory_bytes()) > MEMORY_BYTES_MAX {
            return Err(("the bundles of this node would take more than 512 MiB of memory".to_owned(), false));
        }
        let named = Arc::new(named);
        tracing::info!(%root, bundle = %named.id, entries = named.bundle.manifest.entries().len(), "the answers of a site are signed");
        ready.insert(*root, Arc::clone(&named));
        self.refused().remove(root);
        Ok(named)
    }

    /// Forgets what is no site of this node any more.
    fn retain(&self, wanted: &BTreeSet<Cid>) {
        self.refused().retain(|root, _| wanted.contains(root));
        let mut ready = self.ready.write().unwrap_or_else(PoisonError::into_inner);
        ready.retain(|root, _| {
            let stays = wanted.contains(root);
            if !stays && let Err(error) = fs::remove_file(self.file(root)) {
                tracing::debug!(%root, %error, "the file of a bundle was gone already");
            }
            stays
        });
    }

    /// Signs no more for bundles that publishers contradict, and again for those that they do not any more. Whether anything changed.
    fn heed(&self, claims: &Claims) -> bool {
        let mut ready = self.ready.write().unwrap_or_else(PoisonError::into_inner);
        let mut refused = self.refused();
        let before = (ready.len(), refused.len());
        refused.retain(|root, refused| match &refused.made {
            Some(made) if contradiction(claims, root, &made.id.to_string()).is_none() => {
                ready.insert(*root, Arc::clone(made));
                false
            }
            _ => true,
        });
        ready.retain(|root, made| {
            let Some(why) = contradiction(claims, root, &made.id.to_string()) else { return true };
            tracing::warn!(%root, why, "the answers of a site are not signed");
            refused.insert(*root, Refused { why, again: None, made: Some(Arc::clone(made)) });
            false
        });
        before != (ready.len(), refused.len())
    }

    /// What is to be made now.
    fn missing(&self, wanted: &BTreeSet<Cid>) -> Vec<Cid> {
        let (refused, now) = (self.refused(), Instant::now());
        let is_left =
            |root: &Cid| refused.get(root).is_some_and(|refused| refused.again.is_none_or(|again| again > now));
        wanted.iter().filter(|root| self.bundle(root).is_none() && !is_left(root)).copied().collect()
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, BTreeMap<Cid, Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, root: &Cid) -> PathBuf {
        self.folder.join(root.to_string())
    }

    /// All of them, those that are refused too.
    pub(crate) fn views(&self) -> Vec<BundleView> {
        let ready = self.ready.read().unwrap_or_else(PoisonError::into_inner);
        let signed = ready.iter().map(|(root, named)| BundleView {
            root: root.to_string(),
            state: BundleState::Signed,
            bundle: Some(named.id.to_string()),
            entries: named.bundle.manifest.entries().len() as u64,
            leaves: named.bundle.leaves,
            why: None,
        });
        let refused = self.refused();
        let unsigned = refused.iter().map(|(root, refused)| BundleView {
            root: root.to_string(),
            state: BundleState::Refused,
            bundle: None,
            entries: 0,
            leaves: 0,
            why: Some(refused.why.clone()),
        });
        let mut views: Vec<BundleView> = signed.chain(unsigned).collect();
        views.sort_by(|a, b| a.root.cmp(&b.root));
        views
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Bundles for Shelf {
    fn bundle(&self, root: &Cid) -> Option<Arc<Named>> {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).get(&own(root)).cloned()
    }
}

/// What publishers say of the bundles of their roots; `None` where one says nothing.
type Claims = HashMap<Cid, Vec<Option<String>>>;

/// Why a bundle that was made is not signed for: whoever placed the site names another. It is enough that one does not, since a
/// stranger may place the same root.
fn contradiction(claims: &Claims, root: &Cid, made: &str) -> Option<String> {
    let claims = claims.get(root)?;
    let agrees = |claim: &Option<String>| claim.as_ref().is_none_or(|claim| *claim == made);
    let wrong = claims.iter().flatten().next().filter(|_| !claims.iter().any(agrees))?;
    Some(format!("its publisher names the bundle {wrong}, and its blocks make {made}"))
}

fn claims(node: &Inner) -> Claims {
    let mut claims = Claims::new();
    for placement in node.router.snapshot().placements {
        if let Ok(root) = placement.root.parse() {
            claims.entry(own(&root)).or_default().push(placement.bundle);
        }
    }
    claims
}

/// Makes what is missing and forgets what is not wanted, until `stop` changes.
pub(crate) async fn run(node: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    let mut ticks = Ticks::new(LOOK, stop.clone());
    while ticks.next().await {
        let wanted = sites(&node.local.store().pins());
        node.bundles.retain(&wanted);
        if node.bundles.heed(&claims(&node)) {
            node.kept.forget();
        }
        for root in node.bundles.missing(&wanted) {
            let made = tokio::select! {
                made = node.bundles.make(&root) => made,
                _ = stop.changed() => return,
            };
            if made.is_ok() {
                // What is ready in memory knows of no signature.
                node.kept.forget();
            }
        }
    }
}

/// The site that something is pinned for, by its text: published through this node, or placed on it.
pub(crate) fn site_of(pin: &Pin) -> Option<&str> {
    pin.name.strip_prefix("site:").or_else(|| pin.name.strip_prefix("publish:"))
}

/// The roots of sites.
fn sites(pins: &[Pin]) -> BTreeSet<Cid> {
    pins.iter()
        .filter(|pin| site_of(pin).is_some())
        .map(|pin| own(&pin.cid))
        .filter(|root| root.hash().code() != IDENTITY)
        .collect()
}

/// A root as a bundle has it.
fn own(root: &Cid) -> Cid {
    Cid::new_v1(root.codec(), *root.hash())
}
