//! The origins of a site as one: which is asked, and who else when that fails. A crash loses the connections.

mod probe;
mod run;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atoll_core::keys::AnswerKey;
use http::{Method, StatusCode, request};
use http_body::Body as _;
use rustls::ClientConfig;
use tokio::time::Instant;

use crate::body::{Answer, Unsent, Upload};
use crate::client::Client;
use crate::config::{OriginConfig, PoolConfig, Timeouts};
use crate::consent::Consent;
use crate::drilled::Fault;
use crate::error::OriginError;
use crate::hops::Hop;
use crate::origin::Origin;
use crate::patience::Patience;
use crate::pool::Pool;
use crate::resolve::{Reach, Resolver, System, system};
use crate::server::{Hints, Order, Server};
use crate::texts;

/// What a site's origins are, and how they are spoken to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// How they share the requests.
    pub pool: PoolConfig,
    /// Where they may be.
    pub reach: Reach,
    /// The hosts of the site, if the origins must agree that it stands before them.
    pub consent: Option<Vec<String>>,
    /// Who signs requests to those that want that.
    pub signer: Option<Arc<AnswerKey>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            pool: PoolConfig::default(),
            reach: Reach::Any,
            consent: None,
            signer: None,
        }
    }
}

/// The origins of a site. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Origins(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    servers: Vec<Server>,
    /// The places of all of them.
    all: Vec<usize>,
    pool: Mutex<Pool>,
    settings: Settings,
}

/// A request, as it is to be sent to one of them.
pub struct Call<'a> {
    /// Its head, as any of them is to see it, but for what is an origin's own; its version is the one that the visitor speaks.
    pub head: &'a request::Parts,
    /// Who sent it, and for which host.
    pub hop: &'a Hop,
    /// Its body.
    pub body: Option<Upload>,
    /// Which of them may answer, by their places in the settings; all, if it is empty.
    pub among: &'a [usize],
    /// Who is told what an origin says before its answer.
    pub hints: Option<Hints>,
    /// The timer of whoever asks.
    pub patience: &'a Patience,
    /// Whether an origin is to ask for the body before it is sent.
    pub expects: bool,
    /// Whether it is never to be sent a second time, whatever its method.
    pub once: bool,
}

/// How an origin is, and what came of requests to it since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginView {
    /// What it is called.
    pub name: String,
    /// Whether it is asked before those that are not.
    pub ready: bool,
    /// What a drill makes of it now.
    pub fault: Option<Fault>,
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests that were sent to it.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Those that were sent to it after another origin had failed.
    pub retries: u64,
    /// Those that were sent to it because another's answer was late.
    pub hedges: u64,
    /// How often it was left out.
    pub ejections: u64,
}

impl Origins {
    /// Those of the settings, which were checked. Wants a tokio runtime once they are used.
    ///
    /// # Errors
    /// What is wrong with one of them, such as a file that cannot be read.
    pub fn new(origins: &[OriginConfig], settings: Settings) -> Result<Self, String> {
        Self::over(origins, settings, &atoll_trust::here(), &system())
    }

    pub(crate) fn over(
        origins: &[OriginConfig],
        settings: Settings,
        tls: &ClientConfig,
        names: &System,
    ) -> Result<Self, String> {
        let server = |config: &OriginConfig| {
            let origin = Origin::parse(config)?.signed_by(settings.signer.as_ref());
            let resolver = Resolver::new(Arc::clone(names), settings.reach, settings.pool.resolve);
            let tls = match &*config.client_certificate {
                "" => tls.clone(),
                file => {
                    let read = |file: &str| std::fs::read(file).map_err(|error| format!("{file}: {error}"));
                    atoll_trust::known_by(tls.clone(), &read(file)?, &read(&config.client_key)?)?
                }
            };
            let client = Client::new(&origin, &settings.timeouts, tls, (resolver, settings.reach))?;
            let consent = settings.consent.as_deref().map(Consent::new);
            Ok(Server::new(origin, client, (consent, texts::system()), config))
        };
        let servers: Vec<Server> = origins.iter().map(server).collect::<Result<_, String>>()?;
        let pool = Mutex::new(Pool::new(origins, &settings.pool, Instant::now()));
        Ok(Self(Arc::new(Shared { all: (0..servers.len()).collect(), servers, pool, settings })))
    }

    /// Their hosts and ports.
    pub fn authorities(&self) -> impl Iterator<Item = &str> {
        self.0.servers.iter().map(|server| server.origin.authority())
    }

    /// How they are.
    pub fn views(&self) -> Vec<OriginView> {
        let now = Instant::now();
        let view = |(n, server): (usize, &Server)| {
            let (ready, ejections) = self.0.pool().state(n, now);
            let counts = &server.counts;
            OriginView {
                name: server.origin.name().to_owned(),
                ready,
                fault: server.drilled.now(),
                in_flight: server.in_flight(),
                requests: counts.requests.load(Ordering::Relaxed),
                failures: counts.failures.load(Ordering::Relaxed),
                retries: counts.retries.load(Ordering::Relaxed),
                hedges: counts.hedges.load(Ordering::Relaxed),
                ejections,
            }
        };
        self.0.servers.iter().enumerate().map(view).collect()
    }

    /// Has an origin fail in some way, for so long, or no longer; `false` if there is none of that name.
    pub fn set_fault(&self, name: &str, fault: Option<(Fault, Duration)>) -> bool {
        let Some(server) = self.0.servers.iter().find(|server| server.origin.name() == name) else { return false };
        server.drilled.set(fault);
        true
    }

    /// Sends a request to the origin whose turn it is, and to others after that one fails or because it is late.
    ///
    /// Who cannot be connected to has been sent nothing: the next one is asked. Else only GET and HEAD are sent a second time, and only
    /// before an answer has begun, within the budget of [`PoolConfig::retry_percent`]. A failure is also an answer of 500, 502, 503
    /// or 504; it is returned if nobody has a better one.
    ///
    /// # Errors
    /// [`OriginError`], the last one if there were several.
    pub async fn send(&self, call: Call<'_>) -> Result<Answer, OriginError> {
        call.hop.check(&call.head.headers)?;
        let body = call.body.filter(|body| !body.is_end_stream());
        let again =
            !call.once && body.is_none() && (call.head.method == Method::GET || call.head.method == Method::HEAD);
        let order = Order {
            head: call.head,
            host: call.hop.host(),
            hop: Some(call.hop),
            expects: call.expects && body.is_some(),
            again: !call.once && body.is_none() && call.head.method.is_safe(),
            body: Unsent::new(body),
            hints: call.hints,
            patience: Some(call.patience),
        };
        let among = if call.among.is_empty() { &self.0.all } else { call.among };
        let now = Instant::now();
        let plan = self.0.pool().plan(among, now);
        run::run(&self.0, &order, plan, (again, now)).await
    }

    /// Asks each origin whether it is well, for as long as this is polled; at once over if they are not to be probed.
    pub async fn probe(self) {
        probe::run(&self.0).await;
    }
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An origin failed.
    pub(crate) fn failed(&self, n: usize) {
        let Some(server) = self.servers.get(n) else { return };
        server.counts.failures.fetch_add(1, Ordering::Relaxed);
        if self.pool().bad(n, Instant::now()) {
            tracing::warn!(origin = server.origin.name(), "an origin is left out for a while: it fails");
        }
    }
}

/// Whether a status says that the origin is not able to answer, rather than what it has (RFC 5861, section 4).
pub fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests;
