//! The servers that sites name themselves (`atoll.toml`): read from what is held here, for sites that the operator allows. The last good
//! word of each is kept as a file, so that a bad one does not take its servers away, at a restart neither.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atoll_content::ReadError;
use atoll_content::local::{LocalBlocks, PassingBlocks};
use atoll_content::reader;
use atoll_core::{Blocks, Cid, SiteId};
use atoll_edge::front::{PUBLISHED, PUBLISHED_BYTES_MAX, Published};
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::api::PublishedView;
use crate::bundles::site_of;
use crate::config::{Accept, AcceptWord};
use crate::keys;
use crate::node::Inner;
use crate::ticks::Ticks;

/// How often it is looked for new versions.
const LOOK: Duration = Duration::from_secs(1);
/// How long reading one file may take.
const READ: Duration = Duration::from_secs(10);
/// The most sites of a node that name servers.
const SITES_MAX: usize = 1024;

/// What was read of each site.
pub(crate) struct Notices {
    folder: PathBuf,
    allowed: Accept,
    known: Mutex<BTreeMap<SiteId, Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    name: String,
    root: Cid,
    servers: usize,
    /// Why the file of `root` is refused.
    refused: Option<String>,
}

/// A site that is held here, in whatever version.
struct Held {
    site: SiteId,
    name: String,
    /// The present version, if it is here yet.
    root: Option<Cid>,
}

impl Notices {
    /// None yet. Files are kept in `folder`.
    pub(crate) fn new(folder: PathBuf, allowed: Accept) -> Self {
        if let Err(error) = keys::create_private_dir(&folder) {
            tracing::warn!(path = %folder.display(), %error, "what sites say of their servers cannot be kept");
        }
        Self { folder, allowed, known: Mutex::default() }
    }

    /// All of them that say something.
    pub(crate) fn views(&self) -> Vec<PublishedView> {
        let known = self.known();
        let said = known.iter().filter(|(_, known)| known.servers > 0 || known.refused.is_some());
        let view = |(site, known): (&SiteId, &Known)| PublishedView {
            site: site.to_string(),
            name: known.name.clone(),
            root: known.root.to_string(),
            servers: known.servers,
            refused: known.refused.clone(),
        };
        said.map(view).collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<SiteId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allows(&self, site: &SiteId) -> bool {
        match &self.allowed {
            Accept::Word(AcceptWord::Any) => true,
            Accept::Word(AcceptWord::None) => false,
            Accept::Sites(sites) => sites.iter().any(|allowed| allowed.parse() == Ok(*site)),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }
}

/// Takes up what sites say, until `stop` changes.
pub(crate) async fn run(node: Arc<Inner>, stop: watch::Receiver<bool>) {
    if node.notices.allowed.is_none() {
        return;
    }
    let blocks: Arc<dyn Blocks> = Arc::new(PassingBlocks(LocalBlocks::clone(&node.local)));
    let mut ticks = Ticks::new(LOOK, stop);
    while ticks.next().await {
        let held = held(&node);
        forget(&node, &held);
        for Held { site, name, root } in held {
            let Some(root) = root else { continue };
            if node.notices.known().get(&site).is_none_or(|known| known.root != root) {
                take(&node, &blocks, (site, name, root)).await;
            }
        }
    }
}

/// The sites of which a version is pinned here, and which the operator allows.
fn held(node: &Inner) -> Vec<Held> {
    let mut roots: HashMap<SiteId, Vec<Cid>> = HashMap::new();
    for pin in node.local.store().pins() {
        if let Some(site) = site_of(&pin).and_then(|site| site.parse().ok()) {
            roots.entry(site).or_default().push(pin.cid);
        }
    }
    let placements = node.router.snapshot().placements.into_iter();
    let held = placements.filter_map(|placement| {
        let (site, root) = (placement.site.parse().ok()?, placement.root.parse().ok()?);
        let root = roots.get(&site)?.contains(&root).then_some(root);
        (node.notices.allows(&site) && !placement.name.is_empty()).then_some(Held { site, name: placement.name, root })
    });
    held.take(SITES_MAX).collect()
}

/// What is held no longer names no servers.
fn forget(node: &Inner, held: &[Held]) {
    let is_gone = |site: &SiteId| !held.iter().any(|held| held.site == *site);
    let gone: Vec<_> = node.notices.known().extract_if(.., |site, _| is_gone(site)).collect();
    for (_, known) in gone {
        publish(node, &known.name, None);
        keep(&node.notices.file(&known.name), None);
    }
}

/// Reads what a version of a site says, and has it count if it is good; else what was good before stands.
async fn take(node: &Inner, blocks: &Arc<dyn Blocks>, (site, name, root): (SiteId, String, Cid)) {
    let text = match timeout(READ, read(blocks, &root)).await {
        Ok(Ok(text)) => text,
        failed => {
            // It is looked at again.
            tracing::debug!(%site, ?failed, "what a site says of its servers cannot be read now");
            return;
        }
    };
    let read = text
        .as_ref()
        .map(|text| text.as_ref().map_err(|why| (*why).to_owned()).and_then(|text| Published::parse(text)));
    let read = read.transpose();
    let first = !node.notices.known().contains_key(&site);
    let (servers, refused) = match read {
        Ok(said) => {
            for warning in said.iter().flat_map(|said| &said.warnings) {
                tracing::warn!(%site, warning, "a site's atoll.toml");
            }
            let servers = said.as_ref().map_or(0, |said| said.origins.len());
            publish(node, &name, said.as_ref());
            keep(&node.notices.file(&name), text.and_then(Result::ok).filter(|_| servers > 0));
            (servers, None)
        }
        Err(why) => {
            tracing::warn!(%site, why, "a site's atoll.toml is refused; the last good one stands");
            let last = first.then(|| last(&node.notices.file(&name))).flatten();
            if let Some(last) = &last {
                publish(node, &name, Some(last));
            }
            let before = node.notices.known().get(&site).map_or(0, |known| known.servers);
            (last.map_or(before, |last| last.origins.len()), Some(why))
        }
    };
    node.notices.known().insert(site, Known { name, root, servers, refused });
}

fn publish(node: &Inner, name: &str, said: Option<&Published>) {
    if let Err(error) = node.fronts.publish(name, said) {
        tracing::warn!(name, %error, "a site's servers cannot be spoken to");
    }
}

/// The file of a version: none if it has none, and an error in words if it is no file that could be one.
async fn read(blocks: &Arc<dyn Blocks>, root: &Cid) -> Result<Option<Result<Vec<u8>, &'static str>>, ReadError> {
    let resolved = match reader::resolve(&**blocks, root, &[PUBLISHED]).await {
        Ok(resolved) => resolved,
        Err(ReadError::NoEntry { .. } | ReadError::NotDirectory { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    match resolved.kind {
        reader::Kind::File { len } if len <= PUBLISHED_BYTES_MAX as u64 => {}
        reader::Kind::File { .. } => return Ok(Some(Err("it is too large"))),
        _ => return Ok(Some(Err("it is no file"))),
    }
    let mut stream = reader::read(Arc::clone(blocks), &resolved, 0..PUBLISHED_BYTES_MAX as u64)?;
    let mut text = Vec::new();
    while let Some(chunk) = stream.next().await {
        text.extend_from_slice(&chunk?);
    }
    Ok(Some(Ok(text)))
}

/// The last good one of an earlier run.
fn last(file: &Path) -> Option<Published> {
    Published::parse(&atoll_durable::read(file, PUBLISHED_BYTES_MAX as u64)?).ok()
}

/// Keeps the last good one, or none.
fn keep(file: &Path, text: Option<Vec<u8>>) {
    let kept = match text {
        Some(text) => atoll_durable::replace(file, |file| file.write_all(&text)),
        None => match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    };
    if let Err(error) = kept {
        tracing::warn!(path = %file.display(), %error, "what a site says of its servers cannot be kept");
    }
}
