//! A site that is both published and on servers: who leads answers, and the other one when that fails.

use std::sync::Arc;
use std::time::Duration;

use atoll_content::ReadError;
use atoll_core::{Cid, FetchError, NameError};
use atoll_fallback::{Drilled, Fault, is_failure};
use http::{HeaderName, HeaderValue, Method, Request, Response, request};
use tokio::time::{Instant, sleep, timeout};

use super::lead::{Lead, Rules, Source};
use super::routes::Route;
use super::{Asked, Front, Outcome, SiteConfig, fetch};
use crate::body::Body;
use crate::content;
use crate::failure::{Failure, Step};
use crate::gateway::Gateway;
use crate::incoming::Incoming;
use crate::route::{Mount, Site, Target};

/// Says where an answer is from, and whether it was checked.
const ATOLL_SOURCE: HeaderName = HeaderName::from_static("atoll-source");
const CONTENT: HeaderValue = HeaderValue::from_static("content; verified");
const ORIGIN: HeaderValue = HeaderValue::from_static("origin; unverified");

/// What was published of a site, and who leads.
#[derive(Debug)]
pub(super) struct Both {
    site: Site,
    lead: Lead,
    drilled: Drilled,
}

/// How what was published of a site is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentView {
    /// Who answers now.
    pub leads: Source,
    /// Whether it answers when it is its turn: it has not failed, as far as that was noticed.
    pub ready: bool,
    /// What a drill makes of it now.
    pub fault: Option<Fault>,
}

impl Both {
    /// That of the settings, if the site was published.
    ///
    /// # Errors
    /// What is wrong, naming the setting.
    pub(super) fn of(config: &SiteConfig) -> Result<Option<Self>, String> {
        if config.content.is_empty() {
            return Ok(None);
        }
        let wrong = || format!("content: `{}` is not like /ipfs/CID or /ipns/NAME", config.content);
        let target = Target::on_gateway(&config.content).and_then(Result::ok).ok_or_else(wrong)?;
        if !target.segments.is_empty() {
            return Err(wrong());
        }
        let rules = Rules { prefer: config.prefer, hold: config.hold };
        Ok(Some(Self { site: target.site, lead: Lead::new(rules), drilled: Drilled::default() }))
    }

    /// How it is.
    pub(super) fn view(&self) -> ContentView {
        let leads = self.lead.now();
        ContentView {
            leads,
            ready: leads == Source::Content || self.lead.preferred() == Source::Origin,
            fault: self.drilled.now(),
        }
    }

    /// Has what was published fail for so long, or no longer.
    pub(super) fn set_fault(&self, fault: Option<(Fault, Duration)>) {
        self.drilled.set(fault);
    }

    /// What is published now, as far as that is known.
    fn version(&self, gateway: &Gateway) -> Option<Cid> {
        match &self.site {
            Site::Root(root) => Some(*root),
            Site::Name(name) => gateway.services.names.cached(name).map(|resolution| resolution.root),
        }
    }

    /// Whether it is what was published that failed, so that the servers lead from now on.
    pub(super) fn has_failed(&self, failure: &Failure, gateway: &Gateway) -> bool {
        is_of_source(failure)
            && self.lead.failed(Source::Content, self.version(gateway), Instant::now()) == Source::Origin
    }

    async fn content(
        &self,
        gateway: &Gateway,
        asked: &request::Parts,
        authority: &str,
    ) -> Result<Response<Body>, Failure> {
        match self.drilled.now() {
            Some(Fault::Dead) => return Err(Failure::Drilled),
            Some(Fault::Hangs) => {
                let limit = gateway.timeouts.resolve;
                sleep(limit).await;
                return Err(Failure::TimedOut { step: Step::Resolve, limit });
            }
            None => {}
        }
        let mount = Mount::Domain(authority.to_owned());
        let target = Target::on_own_host(self.site.clone(), mount, asked.uri.path())?;
        let mut response = content::answer(gateway, target, asked).await?;
        response.headers_mut().insert(ATOLL_SOURCE, CONTENT);
        Ok(response)
    }
}

/// Answers a request for a site that is both.
///
/// # Errors
/// [`Failure`] if neither source answers.
pub(super) async fn answer(
    front: &Arc<Front>,
    both: &Both,
    asked: &Asked,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    let gateway = Arc::clone(&asked.client.gateway);
    let version = both.version(&gateway);
    let turn = both.lead.turn(version, Instant::now());
    if turn.tries {
        try_preferred(front, asked);
    }
    // Content takes no other methods, whoever leads; and routes lead to servers.
    if !matches!(asked.head.method, Method::GET | Method::HEAD) || Route::find(&front.routes, asked).is_some() {
        return origin(front, asked, body).await;
    }
    let content = both.content(&gateway, &asked.head, asked.authority());
    if turn.source == Source::Content {
        let answered = content.await;
        let failure = match answered {
            Err(failure) if is_of_source(&failure) => failure,
            answered => {
                front.tally.count(Outcome::Published);
                return answered;
            }
        };
        tracing::info!(%failure, host = front.host, "published content failed");
        if both.lead.failed(Source::Content, version, Instant::now()) == Source::Content {
            return Err(Failure::Neither);
        }
        return origin(front, asked, body).await.map_err(|other| neither(&failure, &other));
    }
    let answered = origin(front, asked, body).await;
    let failed = match &answered {
        Ok(response) => is_failure(response.status()),
        Err(failure) => matches!(failure, Failure::Origin(_)),
    };
    if !failed || both.lead.failed(Source::Origin, version, Instant::now()) == Source::Origin {
        return match answered {
            // Its content failed before.
            Err(Failure::Origin(_)) if both.lead.preferred() == Source::Content => Err(Failure::Neither),
            answered => answered,
        };
    }
    match (content.await, answered) {
        (Ok(response), _) => {
            front.tally.count(Outcome::Published);
            Ok(response)
        }
        (Err(_), Ok(answered)) => Ok(answered),
        (Err(content), Err(origin)) => Err(neither(&content, &origin)),
    }
}

/// What is said when neither source answers.
fn neither(content: &Failure, origin: &Failure) -> Failure {
    tracing::warn!(%content, %origin, "neither source of a site answers");
    Failure::Neither
}

async fn origin(front: &Arc<Front>, asked: &Asked, body: Incoming) -> Result<Response<Body>, Failure> {
    let mut response = fetch::answer(front, asked, body, None).await?;
    response.headers_mut().insert(ATOLL_SOURCE, ORIGIN);
    Ok(response)
}

/// Whether it is the source that failed, rather than the request.
fn is_of_source(failure: &Failure) -> bool {
    match failure {
        Failure::Drilled => true,
        Failure::TimedOut { step, .. } => !matches!(step, Step::Body | Step::Message),
        Failure::Name(cause) => !matches!(cause, NameError::Malformed(_)),
        Failure::Read { cause: ReadError::Fetch(FetchError::Denied { .. }), .. } => false,
        Failure::Read { cause, .. } => matches!(cause, ReadError::Fetch(_) | ReadError::Crowded),
        _ => false,
    }
}

/// Finds out, beside, whether the preferred source is well, by what the site begins with.
fn try_preferred(front: &Arc<Front>, asked: &Asked) {
    let (front, asked) = (Arc::clone(front), asked.for_itself());
    tokio::spawn(async move {
        let Some(both) = &front.both else { return };
        let gateway = Arc::clone(&asked.client.gateway);
        let Ok(request) = Request::get("/").body(()) else { return };
        let (head, ()) = request.into_parts();
        let well = match both.lead.preferred() {
            Source::Content => {
                let limit = gateway.timeouts.resolve.saturating_mul(2);
                let found = timeout(limit, both.content(&gateway, &head, asked.authority())).await;
                found.is_ok_and(|found| !found.err().is_some_and(|failure| is_of_source(&failure)))
            }
            Source::Origin => {
                let mut sent = asked.head.clone();
                (sent.method, sent.uri) = (head.method, head.uri);
                let found = front.send(&asked, &sent, None).await;
                found.is_ok_and(|response| !is_failure(response.status()))
            }
        };
        if well {
            both.lead.is_well();
        }
    });
}
