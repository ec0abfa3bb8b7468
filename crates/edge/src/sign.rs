//! Signing answers (`docs/signed-answers.md`): what is said of an answer comes from the site's manifest, and is signed once for each
//! object, host and window, then reused; or over a nonce of the client's. In memory only.

mod budget;
pub(crate) mod config;

use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use atoll_core::bundle::{Bundles, Named};
use atoll_core::keys::AnswerKey;
use atoll_core::manifest::Entry;
use atoll_core::merkle::Hash;
use atoll_core::signed::{self, Answer, Fields, NO_NONCE, SKEW_SECONDS, Subject};
use atoll_core::{Cid, SystemClock};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::body::Body;
use crate::respond;
use budget::{Budget, Budgets, Rate};
use config::Signing;

const NONCE: HeaderName = HeaderName::from_static(signed::NONCE);

/// Who signs a node's answers, and by what.
#[derive(Clone)]
pub struct Signer {
    /// The node's answer key.
    pub key: Arc<AnswerKey>,
    /// The bundles that this node made itself.
    pub bundles: Arc<dyn Bundles>,
}

/// What became of answers that could be signed, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Signatures made to be reused.
    pub windows: u64,
    /// Signatures made over a client's nonce.
    pub nonces: u64,
    /// Answers sent unsigned because of a limit.
    pub over: u64,
}

/// What can be said of one answer, whoever asks.
#[derive(Debug)]
pub(crate) struct Said {
    /// Names it: a hash of all below.
    id: Hash,
    bundle: Arc<Named>,
    status: u16,
    key: Box<str>,
    digest: Hash,
    head: Hash,
}

/// The request that an answer is for, as far as it is signed.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    /// The authority as it is signed; `None` if it cannot be.
    authority: Option<Box<str>>,
    /// Whose budget it is.
    address: u64,
}

/// Signs what may be signed.
pub(crate) struct Desk {
    signer: Option<Signer>,
    window: u64,
    windows: Cache<Key, Arc<Window>>,
    made: Budgets,
    nonces: Budgets,
    all: (Rate, Budget),
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    windows: AtomicU64,
    nonces: AtomicU64,
    over: AtomicU64,
}

/// A signature that is reused, as headers.
struct Window {
    created: u64,
    headers: [(HeaderName, HeaderValue); 7],
}

/// What a reused signature is for.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    authority: Box<str>,
    said: Hash,
}

/// A [`Key`] that owns nothing.
struct Borrowed<'a> {
    authority: &'a str,
    said: &'a Hash,
}

impl Said {
    /// What the manifest says of an entry, if the head that is to be sent is the entry's.
    pub(crate) fn of_entry(bundle: &Arc<Named>, entry: &Entry, status: u16, head: Hash) -> Option<Arc<Self>> {
        let same = entry.status == status && entry.head == head;
        same.then(|| Self::new(bundle, status, &entry.key, entry.digest, head))
    }

    /// That there is nothing under a key, if so it is: two neighbours in the manifest prove it. `digest` is of the page that is shown.
    pub(crate) fn of_absence(bundle: &Arc<Named>, key: &str, digest: Hash, head: Hash) -> Option<Arc<Self>> {
        bundle.bundle.manifest.between(key)?;
        Some(Self::new(bundle, 404, key, digest, head))
    }

    fn new(bundle: &Arc<Named>, status: u16, key: &str, digest: Hash, head: Hash) -> Arc<Self> {
        let id = Sha256::new()
            .chain_update(bundle.id.0)
            .chain_update(status.to_be_bytes())
            .chain_update(digest)
            .chain_update(head)
            .chain_update(key);
        let (id, bundle) = (id.finalize().into(), Arc::clone(bundle));
        Arc::new(Self { id, bundle, status, key: key.into(), digest, head })
    }

    fn subject(&self) -> Subject<'_> {
        let Self { status, digest, head, .. } = *self;
        Subject { status, digest, bundle: self.bundle.id, key: &self.key, head }
    }
}

impl Asker {
    /// `authority` as the client wrote it.
    pub(crate) fn new(authority: &str, https: bool, address: u64) -> Self {
        Self { authority: signed::authority(authority, https).map(Into::into), address }
    }
}

impl Desk {
    pub(crate) fn new(config: &Signing, signer: Option<Signer>) -> Self {
        let per_address = |per_second| Budgets::new(Rate::new(per_second, config.burst));
        Self {
            signer: signer.filter(|_| config.enabled),
            window: config.window.as_secs(),
            windows: Cache::new(config.kept),
            made: per_address(config.per_address),
            nonces: per_address(config.nonces_per_address),
            all: (Rate::new(config.per_second, 1), Budget::default()),
            counts: Counts::default(),
        }
    }

    /// The bundle of a root, if its answers are signed.
    pub(crate) fn bundle(&self, root: &Cid) -> Option<Arc<Named>> {
        self.signer.as_ref()?.bundles.bundle(root)
    }

    /// What was signed so far.
    pub(crate) fn signatures(&self) -> Signatures {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counts { windows, nonces, over } = &self.counts;
        Signatures { windows: count(windows), nonces: count(nonces), over: count(over) }
    }

    /// Forgets signatures that are reused.
    pub(crate) fn forget(&self) {
        self.windows.clear();
    }

    /// Signs an answer of which something can be said, unless it became another meanwhile: a part, or a 304.
    pub(crate) fn sign_answer(&self, asker: &Asker, request: &HeaderMap, response: &mut Response<Body>) {
        if let Some(said) = response.extensions_mut().remove::<Arc<Said>>() {
            self.sign(&said, asker.authority.as_deref(), asker.address, request, response);
        }
    }

    /// Signs an answer of which `said` is to be said.
    pub(crate) fn sign(
        &self,
        said: &Said,
        authority: Option<&str>,
        address: u64,
        request: &HeaderMap,
        response: &mut Response<Body>,
    ) {
        let (Some(signer), Some(authority)) = (&self.signer, authority) else { return };
        if response.status().as_u16() != said.status {
            return;
        }
        let now = SystemClock::now().as_secs();
        let headers = response.headers_mut();
        if let Some(nonce) = nonce(request).filter(|_| self.may(&self.nonces, address)) {
            let fields = headers_of(&answer(signer, said, authority, nonce, now).sign(&signer.key));
            set(headers, fields.iter().flatten());
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            self.counts.nonces.fetch_add(1, Ordering::Relaxed);
        } else if let Some(window) = self.window(signer, said, authority, address, now) {
            set(headers, &window.headers);
        } else {
            self.counts.over.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The signature that is reused now: the one at hand, or a new one.
    fn window(&self, signer: &Signer, said: &Said, authority: &str, address: u64, now: u64) -> Option<Arc<Window>> {
        let known = self.windows.get(&Borrowed { authority, said: &said.id });
        if let Some(known) = known.filter(|known| now.saturating_sub(known.created) < self.window) {
            return Some(known);
        }
        if !self.may(&self.made, address) {
            return None;
        }
        let headers = headers_of(&answer(signer, said, authority, NO_NONCE, now).sign(&signer.key))?;
        let window = Arc::new(Window { created: now, headers });
        self.windows.insert(Key { authority: authority.into(), said: said.id }, Arc::clone(&window));
        self.counts.windows.fetch_add(1, Ordering::Relaxed);
        Some(window)
    }

    fn may(&self, budgets: &Budgets, address: u64) -> bool {
        let (rate, all) = &self.all;
        budgets.take(address) && all.take(rate)
    }
}

fn answer<'a>(signer: &Signer, said: &'a Said, authority: &'a str, nonce: Hash, now: u64) -> Answer<'a> {
    let expires = now.saturating_add(SKEW_SECONDS);
    Answer { subject: said.subject(), authority, nonce, created: now, expires, node: signer.key.node_id() }
}

/// The client's nonce, if it sent one and only one, and it is one.
fn nonce(request: &HeaderMap) -> Option<Hash> {
    let mut values = request.get_all(NONCE).iter();
    let nonce = values.next().and_then(|value| signed::parse_hex(value.to_str().ok()?))?;
    (values.next().is_none() && nonce != NO_NONCE).then_some(nonce)
}

fn headers_of(fields: &Fields) -> Option<[(HeaderName, HeaderValue); 7]> {
    // All are ASCII, so that none is missing.
    let pair =
        |(name, value): (&'static str, &str)| Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?));
    let [digest, bundle, key, head, nonce, input, signature] = fields.pairs();
    Some([pair(digest)?, pair(bundle)?, pair(key)?, pair(head)?, pair(nonce)?, pair(input)?, pair(signature)?])
}

fn set<'a>(headers: &mut HeaderMap, fields: impl IntoIterator<Item = &'a (HeaderName, HeaderValue)>) {
    for (name, value) in fields {
        headers.insert(name.clone(), value.clone());
    }
    respond::expose_signature(headers);
}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrowed { authority: &self.authority, said: &self.said }.hash(state);
    }
}

impl std::hash::Hash for Borrowed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.authority.hash(state);
        self.said.hash(state);
    }
}

impl Equivalent<Key> for Borrowed<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.authority == *key.authority && *self.said == key.said
    }
}
