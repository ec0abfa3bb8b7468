//! All certificates of a node, by the host names that they hold for. Each source replaces its own; lookups never wait for that.
//!
//! A crash loses nothing: sources are files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use rcgen::KeyPair;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::{mpsc, oneshot};

use crate::acme::{Challenges, Demand};
use crate::certificate::Certificate;
use crate::config::Config;
use crate::files::Followed;
use crate::own::{self, OwnError};
use crate::table::Table;

/// See the module. By default there are none.
#[derive(Debug, Default)]
pub struct Store {
    table: RwLock<Arc<Table>>,
    sources: Mutex<Sources>,
    challenges: Arc<Challenges>,
    /// Takes what clients wait for, if certificates are asked for on demand.
    demands: OnceLock<mpsc::Sender<Demand>>,
}

/// Where certificates come from, in the order of their weight.
#[derive(Debug, Default)]
struct Sources {
    files: Vec<Followed>,
    issued: BTreeMap<String, Issued>,
    own: Option<Own>,
}

/// What authorities gave for a name.
#[derive(Debug, Default)]
struct Issued {
    certificate: Option<Arc<Certificate>>,
    /// Why there is no newer one.
    wrong: Option<String>,
}

/// The self-signed one.
#[derive(Debug)]
struct Own {
    names: Vec<String>,
    key: KeyPair,
    certificate: Arc<Certificate>,
}

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Files that somebody else writes.
    Files,
    /// An authority, by ACME.
    Acme,
    /// The node itself.
    SelfSigned,
}

/// One certificate, or why there is none, as people are shown it.
#[derive(Clone, Debug)]
pub struct View {
    /// Where it comes from.
    pub origin: Origin,
    /// The file that it comes from, if it is one that somebody else writes.
    pub path: Option<PathBuf>,
    /// What serves.
    pub certificate: Option<Arc<Certificate>>,
    /// Why what is there now does not.
    pub wrong: Option<String>,
}

impl Origin {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Acme => "acme",
            Self::SelfSigned => "self-signed",
        }
    }
}

impl Store {
    /// Reads the files of `config`, and makes a self-signed certificate if it names any host; the key of that is kept in `folder`.
    /// Files that cannot be used are logged, and looked at again.
    ///
    /// # Errors
    /// [`OwnError`] if there is no self-signed certificate although there should be.
    pub fn open(folder: &Path, config: &Config) -> Result<Self, OwnError> {
        let now = SystemTime::now();
        let mut files: Vec<_> = config.files.iter().cloned().map(Followed::new).collect();
        for pair in &mut files {
            pair.refresh(now);
        }
        let own = if config.self_signed.is_empty() {
            None
        } else {
            Some(Own::new(config.self_signed.clone(), own::key_at(&folder.join("self-signed.key"))?, now)?)
        };
        let store = Self {
            table: RwLock::default(),
            sources: Mutex::new(Sources { files, issued: BTreeMap::new(), own }),
            challenges: Arc::default(),
            demands: OnceLock::new(),
        };
        store.retable(&store.lock());
        Ok(store)
    }

    /// Looks at all sources again; whether other certificates serve from now on. Reads files.
    pub fn refresh(&self) -> bool {
        let now = SystemTime::now();
        let mut sources = self.lock();
        let mut changed = false;
        for pair in &mut sources.files {
            changed |= pair.refresh(now);
        }
        if let Some(own) = &mut sources.own {
            changed |= own.renew(now);
        }
        if changed {
            self.retable(&sources);
        }
        changed
    }

    /// What authorities are shown.
    pub fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }

    /// An authority gave this for a name.
    pub(crate) fn issued(&self, name: &str, certificate: Arc<Certificate>) {
        let mut sources = self.lock();
        sources.issued.insert(name.to_owned(), Issued { certificate: Some(certificate), wrong: None });
        self.retable(&sources);
    }

    /// What an authority gave for a name serves no more.
    pub(crate) fn withdrawn(&self, name: &str) {
        let mut sources = self.lock();
        sources.issued.remove(name);
        self.retable(&sources);
    }

    /// What an authority gave for a name, if it did.
    pub fn issued_for(&self, name: &str) -> Option<Arc<Certificate>> {
        self.lock().issued.get(name)?.certificate.clone()
    }

    /// Why authorities give none for a name.
    pub(crate) fn wrong(&self, name: &str, why: Option<String>) {
        self.lock().issued.entry(name.to_owned()).or_default().wrong = why;
    }

    /// The certificate for a host name in lower case; for none, the one of clients that name no host.
    pub fn find(&self, name: Option<&str>) -> Option<Arc<Certificate>> {
        let table = Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner));
        match name {
            Some(name) => table.of(name).cloned(),
            None => table.nameless().cloned(),
        }
    }

    /// Waits until there is a certificate for a host name in lower case, or it is known that there will be none. There is nothing to wait
    /// for if one is there, or none is asked for on demand.
    pub async fn demand(&self, name: &str) {
        let Some(demands) = self.demands.get() else { return };
        if self.find(Some(name)).is_some() {
            return;
        }
        let (done, waits) = oneshot::channel();
        if demands.try_send(Demand { name: name.to_owned(), done }).is_ok() {
            // Whoever would say so may be gone.
            let _ = waits.await;
        }
    }

    /// From now on, demands go there.
    pub(crate) fn serve_demands(&self, demands: mpsc::Sender<Demand>) {
        // There is one manager.
        let _ = self.demands.set(demands);
    }

    /// All certificates, and what is wrong with those that do not serve.
    pub fn views(&self) -> Vec<View> {
        let sources = self.lock();
        let files = sources.files.iter().map(|pair| View {
            origin: Origin::Files,
            path: Some(pair.pair.certificate.clone()),
            certificate: pair.good.clone(),
            wrong: pair.wrong.clone(),
        });
        let own = sources.own.iter().map(|own| View {
            origin: Origin::SelfSigned,
            path: None,
            certificate: Some(Arc::clone(&own.certificate)),
            wrong: None,
        });
        let issued = sources.issued.values().map(|issued| View {
            origin: Origin::Acme,
            path: None,
            certificate: issued.certificate.clone(),
            wrong: issued.wrong.clone(),
        });
        files.chain(issued).chain(own).collect()
    }

    fn retable(&self, sources: &Sources) {
        let files = sources.files.iter().filter_map(|pair| pair.good.as_ref());
        let issued = sources.issued.values().filter_map(|issued| issued.certificate.as_ref());
        let table = Table::new(files.chain(issued).chain(sources.own.iter().map(|own| &own.certificate)));
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Own {
    fn new(names: Vec<String>, key: KeyPair, now: SystemTime) -> Result<Self, OwnError> {
        let certificate = Arc::new(own::make(&names, &key, now)?);
        Ok(Self { names, key, certificate })
    }

    /// Makes a new one past half of its life; whether it did.
    fn renew(&mut self, now: SystemTime) -> bool {
        if !self.certificate.is_past(0.5, now) {
            return false;
        }
        match own::make(&self.names, &self.key, now) {
            Ok(certificate) => {
                self.certificate = Arc::new(certificate);
                true
            }
            Err(error) => {
                tracing::error!(%error, "the self-signed certificate is not renewed");
                false
            }
        }
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        self.find(name.as_deref()).map(|certificate| Arc::clone(&certificate.key))
    }
}
