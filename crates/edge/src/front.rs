//! Sites whose content comes from servers elsewhere: what is stored of theirs answers, or they are asked.
//!
//! What they say is not verified: it is the site's word for it. It is kept in memory and on disk, by the rules of a shared HTTP cache,
//! and never given to other nodes. A crash loses what is in memory alone.

mod asked;
mod both;
mod config;
mod early;
mod fetch;
mod fields;
mod keep;
mod lead;
mod named;
mod page;
mod published;
mod quota;
mod routes;
mod send;
mod slices;
mod stored;
mod switch;
mod tally;
mod upload;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use crate::incoming::Incoming;
use atoll_cache::{DiskError, Found, Key, Report, Reporter, Reuse, Rules};
use atoll_core::keys::AnswerKey;
use atoll_fallback::{Origins, Reach, Settings};
use atoll_sealed::Seals;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body::Body as _;
use hyper::ext::Protocol;

pub use atoll_cache::{Config as CacheConfig, Degree, DiskFigures, Profile, Purge, Store};
pub use atoll_fallback::{
    Fault, OriginConfig, OriginView, Origins as SiteOrigins, PoolConfig, Timeouts as OriginTimeouts,
};
pub use both::ContentView;
pub use config::SiteConfig;
pub use lead::Source;
pub use published::{PUBLISHED, PUBLISHED_BYTES_MAX, Published};
pub use quota::{Quota, Spent};
pub use routes::RouteConfig;
pub use tally::{Outcome, Tally};

pub(crate) use asked::{Asked, RequestLine};
pub(crate) use quota::Pass;

use crate::body::Body;
use crate::client::{Client, Exchange};
use crate::failure::Failure;
use crate::host;
use crate::pipeline::Answering;
use both::Both;
use page::Page;
use quota::Meter;
use routes::Route;

/// What origins are asked with.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// What drills call what was published of a site. No server has a name with a space.
pub const CONTENT: &str = "verified content";

/// How the sources of a site are.
#[derive(Clone, Debug)]
pub struct SiteView {
    /// The first of its hosts.
    pub host: String,
    /// What was published of it, if anything was.
    pub content: Option<ContentView>,
    /// Its servers.
    pub origins: Vec<OriginView>,
}

/// The sites, by their hosts.
#[derive(Debug)]
pub struct Fronts {
    by_host: HashMap<String, Arc<Front>>,
    /// The site of every other host.
    any: Option<Arc<Front>>,
    /// That of all sites, then those of single ones.
    stores: Vec<Arc<Store>>,
    /// The budget of files for what they have sealed.
    seals: Arc<Seals>,
    tally: Arc<Tally>,
    /// Each once, in the order of the settings.
    all: Vec<Arc<Front>>,
    /// Sites that have named their servers themselves, by their names (IPNS).
    published: RwLock<HashMap<String, Arc<Front>>>,
    /// Whether there is one.
    has_published: AtomicBool,
    /// What this node calls itself before origins.
    name: Arc<str>,
    /// Who signs requests to those that want that.
    signer: Option<Arc<AnswerKey>>,
}

/// A site whose content comes from servers elsewhere.
#[derive(Debug)]
pub(crate) struct Front {
    /// The first of its hosts.
    host: String,
    hosts: Vec<String>,
    /// The name (IPNS) of the key that may purge it.
    key: Option<String>,
    origins: Origins,
    routes: Vec<Route>,
    /// What was published of it, if anything was.
    both: Option<Both>,
    maintenance: bool,
    page: Option<Page>,
    /// The protocols that visitors may go on in.
    upgrades: Vec<String>,
    switched_idle: Duration,
    rules: Rules,
    upload_bytes_max: u64,
    store: Arc<Store>,
    meter: Arc<Meter>,
    tally: Arc<Tally>,
    /// What this node calls itself before origins.
    name: Arc<str>,
    /// Says in the same name what became of requests.
    reporter: Reporter,
    /// Stands for it and its servers among what is stored.
    number: u64,
    /// The host under which all is stored, if that is not the one that visitors ask for.
    stored_as: Option<String>,
}

/// The folder of what sites without a cache of their own share.
const SHARED: &str = "shared";

/// Why sites cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// An origin's settings.
    #[error("{0}")]
    Origin(String),
    /// What is stored on disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Fronts {
    /// The sites of the settings, with a cache in common, which keeps what it has in `folder`, or in memory alone. `name` is what this
    /// node calls itself before origins, a token (RFC 9110, section 5.6.2) that no other node has, and `signer` signs requests to those that
    /// want that.
    ///
    /// # Errors
    /// [`FrontError`].
    pub fn open(
        sites: &[SiteConfig],
        cache: &CacheConfig,
        (name, signer): (&str, Option<Arc<AnswerKey>>),
        folder: Option<&Path>,
    ) -> Result<Self, FrontError> {
        let folder = folder.filter(|_| !sites.is_empty());
        let seals = Seals::new();
        let open = |config: &CacheConfig, name: &str| match folder {
            Some(folder) => Store::open(config, &folder.join(name)).map(|store| Arc::new(store.sharing(&seals))),
            None => Ok(Arc::new(Store::new(config).sharing(&seals))),
        };
        if let Some(folder) = folder {
            remove_others(folder, sites);
        }
        let shared = open(cache, SHARED)?;
        let stores = vec![Arc::clone(&shared)];
        let mut fronts = Self { stores, seals: Arc::clone(&seals), name: Arc::from(name), signer, ..Self::none() };
        for site in sites {
            let own = site.own_cache(cache).map(|own| open(&own, &site.own_folder())).transpose()?;
            fronts.stores.extend(own.clone());
            let front = Arc::new(fronts.front(site, own.unwrap_or_else(|| Arc::clone(&shared)))?);
            fronts.all.push(Arc::clone(&front));
            for host in &site.hosts {
                match &**host {
                    "*" => fronts.any = Some(Arc::clone(&front)),
                    host => drop(fronts.by_host.insert(host.to_owned(), Arc::clone(&front))),
                }
            }
        }
        Ok(fronts)
    }

    fn front(&self, site: &SiteConfig, store: Arc<Store>) -> Result<Front, FrontError> {
        let settings = Settings {
            timeouts: site.timeouts.clone(),
            pool: site.pool.clone(),
            reach: if site.published { Reach::Public } else { Reach::Any },
            consent: site.published.then(|| site.hosts.clone()),
            signer: self.signer.clone(),
        };
        let routes = site.routes.iter().map(|route| Route::of(route, &site.origins)).collect::<Result<_, _>>();
        Ok(Front {
            host: site.hosts.first().cloned().unwrap_or_default(),
            hosts: site.hosts.clone(),
            key: site.purged_by(),
            origins: Origins::new(&site.origins, settings).map_err(FrontError::Origin)?,
            routes: routes.map_err(FrontError::Origin)?,
            both: Both::of(site).map_err(FrontError::Origin)?,
            maintenance: site.maintenance,
            page: Page::of(&site.maintenance_page).map_err(FrontError::Origin)?,
            upgrades: site.upgrades.clone(),
            switched_idle: site.switched_idle,
            number: site.number(),
            rules: site.cache.clone(),
            upload_bytes_max: (site.upload_mib as u64).saturating_mul(1024 * 1024),
            store,
            meter: Meter::new(&site.quota),
            tally: Arc::clone(&self.tally),
            name: Arc::clone(&self.name),
            reporter: Reporter::new(&self.name),
            stored_as: None,
        })
    }

    /// No site.
    pub fn none() -> Self {
        Self {
            by_host: HashMap::new(),
            any: None,
            stores: Vec::new(),
            seals: Seals::new(),
            tally: Arc::default(),
            all: Vec::new(),
            published: RwLock::default(),
            has_published: AtomicBool::new(false),
            name: Arc::from("atoll"),
            signer: None,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_host.is_empty() && self.any.is_none()
    }

    /// Whether a site lets connections go on in another protocol.
    pub(crate) fn may_switch(&self) -> bool {
        self.all.iter().any(|front| !front.upgrades.is_empty())
    }

    /// What is stored of their answers, in each cache.
    pub fn stores(&self) -> &[Arc<Store>] {
        &self.stores
    }

    /// How many of the bodies there are sealed.
    pub fn sealed(&self) -> usize {
        self.seals.used()
    }

    /// How many requests each site was refused for having used up a quota, by its first host.
    pub fn refused(&self) -> impl Iterator<Item = (&str, Spent, u64)> {
        let all = self.all.iter().flat_map(|front| Spent::ALL.map(|spent| (front, spent)));
        all.map(|(front, spent)| (&*front.host, spent, front.meter.refused(spent)))
    }

    /// Forgets what is stored of their answers. When it returns, no crash brings it back.
    ///
    /// # Errors
    /// That of the disk; it is forgotten until the next start then.
    pub async fn purge(&self, what: &Purge, degree: Degree) -> io::Result<()> {
        for store in self.stores.iter().filter(|store| self.is_in(what, store)) {
            store.purge(what, degree).await?;
        }
        Ok(())
    }

    /// Whether a purge is about what a cache may hold.
    fn is_in(&self, what: &Purge, store: &Arc<Store>) -> bool {
        let host = match what {
            Purge::Everything => return true,
            Purge::Url(url) | Purge::Prefix(url) => url.split('/').next().unwrap_or_default(),
            Purge::Group { host, .. } => host,
        };
        self.find(host).ok().flatten().is_some_and(|front| Arc::ptr_eq(&front.store, store))
    }

    /// Returns once all that was stored on disk is found again.
    pub async fn recovered(&self) {
        for store in &self.stores {
            store.recovered().await;
        }
    }

    /// Keeps what is stored for the next start.
    pub async fn close(&self) {
        for store in &self.stores {
            store.close().await;
        }
    }

    /// Lets another process have what is stored; from now on every request goes to the servers.
    pub async fn give_up(&self) {
        for store in &self.stores {
            store.give_up().await;
        }
    }

    /// What became of the requests for them.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The origins of each site, by the first of its hosts, in the order of the settings.
    pub fn origins(&self) -> impl Iterator<Item = (&str, &Origins)> {
        self.all.iter().map(|front| (&*front.host, &front.origins))
    }

    /// How the sources of each site are: those of the settings in their order, then those that have named their servers themselves.
    pub fn views(&self) -> Vec<SiteView> {
        let view = |front: &Arc<Front>| SiteView {
            host: front.host.clone(),
            content: front.both.as_ref().map(Both::view),
            origins: front.origins.views(),
        };
        let published = self.published.read().unwrap_or_else(PoisonError::into_inner);
        let mut own: Vec<&Arc<Front>> = published.values().collect();
        own.sort_by(|a, b| a.host.cmp(&b.host));
        self.all.iter().chain(own).map(view).collect()
    }

    /// Has a source of a site fail in some way, for so long, or no longer: a server by its name, or [`CONTENT`]. `false` if there is
    /// none.
    pub fn set_fault(&self, host: &str, source: &str, fault: Option<(Fault, Duration)>) -> bool {
        let own = self.published.read().unwrap_or_else(PoisonError::into_inner).get(host).cloned();
        let Some(front) = own.as_ref().or(self.by_host.get(host)).or(self.any.as_ref()) else { return false };
        match &front.both {
            Some(both) if source == CONTENT => {
                both.set_fault(fault);
                true
            }
            _ => front.origins.set_fault(source, fault),
        }
    }

    /// The site of a host, as the client wrote it.
    ///
    /// # Errors
    /// [`Failure::HostMalformed`].
    pub(crate) fn find(&self, authority: &str) -> Result<Option<&Arc<Front>>, Failure> {
        if self.is_empty() {
            return Ok(None);
        }
        let name = host::lowercase(host::name_of(authority)?);
        Ok(self.by_host.get(&*name).or(self.any.as_ref()))
    }
}

/// Removes caches that sites had of their own, and have no more.
fn remove_others(folder: &Path, sites: &[SiteConfig]) {
    let own: Vec<String> = sites.iter().filter(|site| site.quota.memory_mib > 0).map(SiteConfig::own_folder).collect();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name == "every" || name.starts_with("of-");
        if ours
            && !own.contains(&name)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, name, "the cache of a site that is gone could not be removed");
        }
    }
}

impl Front {
    /// The answer when it failed, with the site's own page if it has one.
    fn failed(&self, response: Response<Body>, request: &HeaderMap) -> Response<Body> {
        match &self.page {
            Some(page) => page.instead(response, request),
            None => response,
        }
    }

    /// Under what a path and query of it are stored.
    fn key(&self, scheme: &str, authority: &str, path_and_query: &str) -> Key {
        Key::of(scheme, self.stored_as.as_deref().unwrap_or(authority), path_and_query).within(self.number)
    }

    fn key_of(&self, scheme: &str, authority: &str, uri: &Uri) -> Key {
        Key::new(scheme, self.stored_as.as_deref().unwrap_or(authority), uri).within(self.number)
    }

    /// Whether a request is for servers whatever they and what was published are worth: content takes no other methods, and routes lead
    /// to servers; or they lead now.
    pub(crate) fn is_for_servers<B>(&self, request: &Request<B>, authority: &str) -> bool {
        let read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let leads = || self.both.as_ref().is_none_or(|both| both.view().leads == Source::Origin);
        let head = (request.method(), request.uri(), request.headers());
        !read || Route::any_fits(&self.routes, head, authority) || (*request.method() != Method::OPTIONS && leads())
    }
}

/// Answers a request for a site that has named its servers itself, after what was published of it has failed; `None` if that is not why.
pub(crate) async fn instead(
    (front, asked): (Arc<Front>, Asked),
    failure: &Failure,
    body: Incoming,
) -> Option<Result<Response<Body>, Failure>> {
    let both = front.both.as_ref()?;
    if !both.has_failed(failure, &asked.client.gateway) {
        return None;
    }
    Some(Box::pin(both::answer(&front, both, &asked, body)).await)
}

/// Answers a request for a site: at once from what is stored and fresh, or as soon as its origin did.
pub(crate) fn answer(
    front: &Arc<Front>,
    line: Result<RequestLine, Failure>,
    (mut exchange, request): (Exchange, Request<Incoming>),
    client: &Arc<Client>,
) -> Answering {
    let line = match line {
        Ok(line) => line,
        Err(failure) => return Answering::ready(exchange.fail(&failure, request.headers())),
    };
    if front.maintenance {
        let headers = request.headers();
        let told = exchange.fail_with(&Failure::Maintenance, headers, |response| front.failed(response, headers));
        return Answering::ready(told);
    }
    match front.meter.begin() {
        Ok(pass) => exchange.under(pass),
        Err(spent) => return Answering::ready(exchange.fail(&Failure::Spent(spent), request.headers())),
    }
    if let Some(protocol) = switch::wanted(front, &request) {
        let asked = Asked::of(front, line, (request.headers().clone(), true), client);
        return switch::answer(front, asked, (exchange, request), protocol);
    }
    if request.extensions().get::<Protocol>().is_some() {
        // An answer would be taken for agreement.
        return Answering::ready(exchange.fail(&Failure::Method(METHODS), request.headers()));
    }
    let (head, body) = request.into_parts();
    let mut asked = Asked::of(front, line, (head.headers, body.is_end_stream()), client);
    let now = SystemTime::now();
    let found = front.both.is_none() && asked.is_readable();
    let found = found.then(|| front.store.find(&asked.key, &asked.head.headers));
    if let Some(Found::Entry(entry)) = &found
        && front.rules.reuse(&entry.stored, &asked.head.headers, now) == Reuse::Fresh
        && entry.sliced().is_none()
        && let Some(response) = stored::answer(front, &asked, entry, now, Report::default())
    {
        return Answering::ready(exchange.hit(response));
    }
    if !exchange.wait() {
        return Answering::ready(exchange.fail(&Failure::TooManyWaiting, &asked.head.headers));
    }
    let (front, is_heard) = (Arc::clone(front), asked.hear());
    Answering::waiting(async move {
        let answering = pin!(async {
            match &front.both {
                // Boxed, since it is large, and the other is more frequent.
                Some(both) => Box::pin(both::answer(&front, both, &asked, body)).await,
                None => fetch::answer(&front, &asked, body, found).await,
            }
        });
        let answered = match is_heard {
            true => early::heard(answering, &asked.client.sending).await,
            false => answering.await,
        };
        match answered {
            Ok(response) => exchange.finish(response),
            Err(failure) => {
                front.tally.count(Outcome::Failed);
                let headers = &asked.head.headers;
                exchange.fail_with(&failure, headers, |response| front.failed(response, headers))
            }
        }
    })
}
