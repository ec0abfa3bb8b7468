//! Sites whose content comes from servers elsewhere: what is stored of theirs answers, or they are asked.
//!
//! What they say is not verified: it is the site's word for it. It is kept in memory, by the rules of a shared HTTP cache, and never
//! given to other nodes. A crash loses it.

mod asked;
mod both;
mod config;
mod early;
mod fetch;
mod fields;
mod keep;
mod lead;
mod page;
mod routes;
mod stored;
mod switch;
mod tally;
mod upload;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::incoming::Incoming;
use atoll_cache::{Found, Report, Reuse, Rules};
use atoll_fallback::{Call, Download, OriginError, Origins, Reach, Settings, Upload};
use http::{HeaderMap, HeaderValue, Request, Response, header, request};
use hyper::ext::Protocol;

pub use atoll_cache::{Config as CacheConfig, Degree, Profile, Purge, Store};
pub use atoll_fallback::{
    Fault, OriginConfig, OriginView, Origins as SiteOrigins, PoolConfig, Timeouts as OriginTimeouts,
};
pub use config::SiteConfig;
pub use lead::Source;
pub use routes::RouteConfig;
pub use tally::{Outcome, Tally};

pub(crate) use asked::Asked;

use crate::body::Body;
use crate::client::Exchange;
use crate::failure::Failure;
use crate::host;
use crate::pipeline::Answering;
use both::Both;
use page::Page;
use routes::Route;

/// What origins are asked with.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The sites, by their hosts.
#[derive(Debug)]
pub struct Fronts {
    by_host: HashMap<String, Arc<Front>>,
    /// The site of every other host.
    any: Option<Arc<Front>>,
    store: Arc<Store>,
    tally: Arc<Tally>,
    /// Each once, in the order of the settings.
    all: Vec<Arc<Front>>,
}

/// A site whose content comes from servers elsewhere.
#[derive(Debug)]
pub(crate) struct Front {
    /// The first of its hosts.
    host: String,
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
    tally: Arc<Tally>,
    /// What this node calls itself before origins and in `Cache-Status`.
    name: Arc<str>,
}

impl Fronts {
    /// The sites of the settings, with a cache in common. `name` is what this node calls itself before origins, a token (RFC 9110,
    /// section 5.6.2) that no other node has.
    ///
    /// # Errors
    /// What is wrong with an origin's settings.
    pub fn new(sites: &[SiteConfig], cache: &CacheConfig, name: &str) -> Result<Self, String> {
        let (store, name) = (Arc::new(Store::new(cache)), Arc::from(name));
        let tally = Arc::<Tally>::default();
        let mut fronts = Self { store: Arc::clone(&store), tally: Arc::clone(&tally), ..Self::none() };
        for site in sites {
            let settings = Settings {
                timeouts: site.timeouts.clone(),
                pool: site.pool.clone(),
                reach: if site.published { Reach::Public } else { Reach::Any },
                consent: site.published.then(|| site.hosts.clone()),
            };
            let front = Arc::new(Front {
                host: site.hosts.first().cloned().unwrap_or_default(),
                origins: Origins::new(&site.origins, settings)?,
                routes: site.routes.iter().map(|route| Route::of(route, &site.origins)).collect::<Result<_, _>>()?,
                both: Both::of(site)?,
                maintenance: site.maintenance,
                page: Page::of(&site.maintenance_page)?,
                upgrades: site.upgrades.clone(),
                switched_idle: site.switched_idle,
                rules: site.cache.clone(),
                upload_bytes_max: (site.upload_mib as u64).saturating_mul(1024 * 1024),
                store: Arc::clone(&store),
                tally: Arc::clone(&tally),
                name: Arc::clone(&name),
            });
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

    /// No site.
    pub fn none() -> Self {
        let none = CacheConfig { memory_mib: 0, object_mib: 0, ..CacheConfig::default() };
        let store = Arc::new(Store::new(&none));
        Self { by_host: HashMap::new(), any: None, store, tally: Arc::default(), all: Vec::new() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_host.is_empty() && self.any.is_none()
    }

    /// Whether a site lets connections go on in another protocol.
    pub(crate) fn may_switch(&self) -> bool {
        self.all.iter().any(|front| !front.upgrades.is_empty())
    }

    /// What is stored of their answers.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What became of the requests for them.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The origins of each site, by the first of its hosts, in the order of the settings.
    pub fn origins(&self) -> impl Iterator<Item = (&str, &Origins)> {
        self.all.iter().map(|front| (&*front.host, &front.origins))
    }

    /// The origins of the site that has this host.
    pub fn origins_of(&self, host: &str) -> Option<&Origins> {
        self.by_host.get(host).or(self.any.as_ref()).map(|front| &front.origins)
    }

    /// The site of a host, as the client wrote it.
    ///
    /// # Errors
    /// [`Failure::HostMalformed`].
    pub(crate) fn find(&self, authority: &str) -> Result<Option<&Arc<Front>>, Failure> {
        if self.is_empty() {
            return Ok(None);
        }
        let name = host::name_of(authority)?.to_ascii_lowercase();
        Ok(self.by_host.get(&name).or(self.any.as_ref()))
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

    /// Sends a request to the origins that it is for.
    async fn send(
        &self,
        asked: &Asked,
        sent: &request::Parts,
        body: Option<Upload>,
    ) -> Result<Response<Download>, OriginError> {
        self.send_as(asked, sent, body, false).await
    }

    /// Sends one that changes something although it is a GET.
    async fn send_once(&self, asked: &Asked, sent: &request::Parts) -> Result<Response<Download>, OriginError> {
        self.send_as(asked, sent, None, true).await
    }

    async fn send_as(
        &self,
        asked: &Asked,
        sent: &request::Parts,
        body: Option<Upload>,
        once: bool,
    ) -> Result<Response<Download>, OriginError> {
        let route = Route::find(&self.routes, asked);
        let rewritten = route.and_then(|route| route.rewritten(sent));
        let call = Call {
            head: rewritten.as_ref().unwrap_or(sent),
            host: &asked.host,
            body,
            among: route.map_or(&[], |route| &route.origins),
            hints: asked.hints.clone().map(early::hints),
            expects: asked.expects,
            once,
        };
        let mut response = self.origins.send(call).await?;
        for name in self.routes.iter().filter_map(Route::field) {
            response.headers_mut().append(header::VARY, HeaderValue::from(name.clone()));
        }
        Ok(response)
    }
}

/// Answers a request for a site: at once from what is stored and fresh, or as soon as its origin did.
pub(crate) fn answer(
    front: &Arc<Front>,
    asked: Result<Asked, Failure>,
    mut exchange: Exchange,
    request: Request<Incoming>,
) -> Answering {
    let mut asked = match asked {
        Ok(asked) => asked,
        Err(failure) => return Answering::ready(exchange.fail(&failure, request.headers())),
    };
    if front.maintenance {
        let headers = request.headers();
        let told = exchange.fail_with(&Failure::Maintenance, headers, |response| front.failed(response, headers));
        return Answering::ready(told);
    }
    if let Some(protocol) = switch::wanted(front, &request) {
        return switch::answer(front, asked, (exchange, request), protocol);
    }
    if request.extensions().get::<Protocol>().is_some() {
        // An answer would be taken for agreement.
        return Answering::ready(exchange.fail(&Failure::Method(METHODS), request.headers()));
    }
    let now = SystemTime::now();
    if front.both.is_none()
        && asked.is_readable()
        && let Found::Entry(entry) = front.store.find(&asked.key, &asked.head.headers)
        && front.rules.reuse(&entry.stored, &asked.head.headers, now) == Reuse::Fresh
        && let Some(response) = stored::answer(front, &asked, &entry, now, Report::default())
    {
        return Answering::ready(exchange.hit(response));
    }
    if !exchange.wait() {
        return Answering::ready(exchange.fail(&Failure::TooManyWaiting, request.headers()));
    }
    let front = Arc::clone(front);
    Answering::waiting(async move {
        let (head, body) = request.into_parts();
        let (hints, client) = (asked.hear(), Arc::clone(&asked.client));
        // Boxed: waiting requests are many.
        let answering: Pin<Box<dyn Future<Output = _> + Send>> = match &front.both {
            Some(both) => Box::pin(both::answer(&front, both, asked, (&head, body))),
            None => Box::pin(fetch::answer(&front, asked, body)),
        };
        match early::heard(answering, hints, &client.sending).await {
            Ok(response) => exchange.finish(response),
            Err(failure) => {
                front.tally.count(Outcome::Failed);
                exchange.fail_with(&failure, &head.headers, |response| front.failed(response, &head.headers))
            }
        }
    })
}
