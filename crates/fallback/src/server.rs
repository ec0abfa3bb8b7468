//! One origin of a site: its connections, how many requests it may have at a time, and what came of them. A crash loses it.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::body::{Noted, Progress, Unsent};
use crate::client::{Client, SendError, Sent};
use crate::config::OriginConfig;
use crate::consent::{self, Consent};
use crate::drilled::{Drilled, Fault};
use crate::error::{OriginError, Step};
use crate::framing::framed;
use crate::hops::Hop;
use crate::link::Arriving;
use crate::origin::Origin;
use crate::origins::{Shared, is_failure};
use crate::patience::{Patience, Until};
use crate::texts::Texts;

/// Hears what origins say before their answers (1xx).
pub trait Hears: Send + Sync {
    /// One did, to the request that its sender calls `turn`.
    fn hear(&self, turn: u64, status: StatusCode, headers: &HeaderMap);
}

/// Who is told what an origin says before its answer, and what the request is called there.
#[derive(Clone)]
pub struct Hints {
    /// Who.
    pub who: Arc<dyn Hears>,
    /// Which request.
    pub turn: u64,
}

/// See the module.
pub(crate) struct Server {
    pub(crate) origin: Origin,
    pub(crate) client: Client,
    pub(crate) counts: Counts,
    /// Whether it is to agree first, and does.
    consent: Option<Consent>,
    /// Who looks TXT records up.
    texts: Texts,
    in_flight: Arc<Semaphore>,
    requests_max: usize,
    pending: AtomicUsize,
    pending_max: usize,
    /// What a drill makes of it.
    pub(crate) drilled: Drilled,
}

/// What came of requests, since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// All that were sent to it.
    pub(crate) requests: AtomicU64,
    /// Those that failed.
    pub(crate) failures: AtomicU64,
    /// Those that were sent to it after another, or it itself, had failed.
    pub(crate) retries: AtomicU64,
    /// Those that were sent to it because another's answer was late.
    pub(crate) hedges: AtomicU64,
}

/// One request, as it is to be sent to any of a site's origins.
pub(crate) struct Order<'a> {
    /// Its version is the one that the visitor speaks.
    pub(crate) head: &'a request::Parts,
    pub(crate) host: &'a HeaderValue,
    /// Who sent it, if that is told.
    pub(crate) hop: Option<&'a Hop>,
    pub(crate) body: Unsent,
    pub(crate) hints: Option<Hints>,
    pub(crate) patience: Option<&'a Patience>,
    /// Whether the body is to be asked for first.
    pub(crate) expects: bool,
    /// Whether nothing is changed by sending it again.
    pub(crate) again: bool,
}

impl<'a> Order<'a> {
    /// A request of this node's own, which changes nothing and has no body.
    pub(crate) fn own(head: &'a request::Parts, host: &'a HeaderValue) -> Self {
        Self {
            head,
            host,
            hop: None,
            body: Unsent::default(),
            hints: None,
            patience: None,
            expects: false,
            again: true,
        }
    }
}

/// A place among the requests that an origin has in flight.
pub struct Holding {
    _permit: OwnedSemaphorePermit,
    origins: Weak<Shared>,
    n: usize,
}

impl fmt::Debug for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holding").field("n", &self.n).finish_non_exhaustive()
    }
}

impl Holding {
    /// The answer broke off.
    pub(crate) fn broke_off(self) {
        if let Some(origins) = self.origins.upgrade() {
            origins.failed(self.n);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Server {
    pub(crate) fn new(
        origin: Origin,
        client: Client,
        (consent, texts): (Option<Consent>, Texts),
        config: &OriginConfig,
    ) -> Self {
        Self {
            origin,
            client,
            counts: Counts::default(),
            consent,
            texts,
            in_flight: Arc::new(Semaphore::new(config.requests)),
            requests_max: config.requests,
            pending: AtomicUsize::new(0),
            pending_max: config.pending,
            drilled: Drilled::default(),
        }
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.requests_max.saturating_sub(self.in_flight.available_permits())
    }

    /// A place for one more request, and since when: `now`, or later. Who is `patient` waits for it, unless too many do.
    ///
    /// # Errors
    /// [`OriginError::Crowded`].
    pub(crate) async fn enter(
        &self,
        (origins, n): (Weak<Shared>, usize),
        patient: Option<Duration>,
        now: Instant,
    ) -> Result<(Holding, Instant), OriginError> {
        let holding = |permit| Holding { _permit: permit, origins, n };
        if let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned() {
            return Ok((holding(permit), now));
        }
        let crowded = || OriginError::Crowded { origin: self.origin.name().to_owned() };
        let limit = patient.ok_or_else(crowded)?;
        let _pending = Pending::of(self).ok_or_else(crowded)?;
        let waited = timeout(limit, Arc::clone(&self.in_flight).acquire_owned()).await;
        let permit = waited.ok().and_then(Result::ok).ok_or_else(crowded)?;
        Ok((holding(permit), Instant::now()))
    }

    /// Sends a request, and again if it met a connection that the origin was closing (RFC 9112, section 9.3.1), and may be.
    pub(crate) async fn ask(
        &self,
        order: &Order<'_>,
        limit: Duration,
        mut begun: Instant,
    ) -> Result<Response<Arriving>, OriginError> {
        match self.drilled.now() {
            Some(Fault::Dead) => {
                let cause = "a drill has it dead".to_owned();
                return Err(OriginError::Connect { origin: self.origin.name().to_owned(), cause });
            }
            Some(Fault::Hangs) => {
                tokio::time::sleep(limit).await;
                return Err(OriginError::TimedOut { step: Step::Head, limit });
            }
            None => {}
        }
        if let Some(consent) = &self.consent {
            // Boxed, since it is large, and few sites need it.
            if !Box::pin(consent.is_given(self.document(limit), self.texts(limit))).await {
                return Err(OriginError::NotAgreed { origin: self.origin.name().to_owned() });
            }
            begun = Instant::now();
        }
        let (answered, used) = self.ask_once(order, limit, begun).await;
        match answered {
            Err(OriginError::Broken(_)) if used && order.again => {
                tracing::debug!(origin = self.origin.name(), "a kept connection was closed; the request is sent again");
                Box::pin(self.ask_once(order, limit, Instant::now())).await.0
            }
            answered => answered,
        }
    }

    /// What it says of the sites before it; `None` if it cannot be asked, and nothing if it says nothing.
    async fn document(&self, limit: Duration) -> Option<Vec<u8>> {
        let (head, ()) = Request::get(consent::PATH).body(()).ok()?.into_parts();
        let host = HeaderValue::try_from(self.origin.authority()).ok()?;
        let order = Order::own(&head, &host);
        let response = self.ask_once(&order, limit, Instant::now()).await.0.ok()?;
        match response.status() {
            status if is_failure(status) => None,
            StatusCode::OK => {
                let body = Limited::new(response.into_body(), consent::BYTES_MAX).collect();
                Some(timeout(limit, body).await.ok()?.ok()?.to_bytes().to_vec())
            }
            _ => Some(Vec::new()),
        }
    }

    /// What the TXT records of its name say; `None` if they cannot be looked up.
    async fn texts(&self, limit: Duration) -> Option<Vec<String>> {
        let Some(name) = consent::record_of(self.origin.host()) else { return Some(Vec::new()) };
        timeout(limit, (self.texts)(name)).await.ok()?.ok()
    }

    /// With the answer comes whether the connection had answered before.
    async fn ask_once(
        &self,
        order: &Order<'_>,
        limit: Duration,
        begun: Instant,
    ) -> (Result<Response<Arriving>, OriginError>, bool) {
        let progress = (!order.body.is_none()).then(|| Progress::new(begun));
        // Answers before the answer are only heard over HTTP/1.1.
        let expects = order.expects && !self.origin.is_http2();
        let body = Noted::new(order.body.clone(), progress.clone(), expects);
        let mut request = match self.request(order, body, expects, &progress) {
            Ok(request) => Some(request),
            Err(error) => return (Err(error), false),
        };
        // Whoever still uploads is not late.
        let until = || progress.as_ref().map_or(begun, |progress| progress.last()) + limit;
        let mut last = until();
        let mut late = Until::new(order.patience, last);
        let mut sending = pin!(self.client.send(&mut request, begun));
        let Sent { answered, used } = loop {
            tokio::select! {
                biased;
                sent = &mut sending => break sent,
                () = &mut late => {
                    if until() <= last {
                        return (Err(OriginError::TimedOut { step: Step::Head, limit }), false);
                    }
                    last = until();
                    late.reset(last);
                }
            }
        };
        let is_given_up = || progress.as_ref().is_some_and(|progress| progress.is_broken());
        let answered = answered.map_err(|error| match error {
            SendError::Connect(cause) | SendError::Broken(cause) if is_given_up() => OriginError::Upload(cause),
            SendError::Connect(cause) => OriginError::Connect { origin: self.origin.name().to_owned(), cause },
            SendError::Broken(cause) => OriginError::Broken(cause),
        });
        let unasked = |response: &Response<Arriving>| {
            response.status() == StatusCode::SWITCHING_PROTOCOLS && !order.head.headers.contains_key(header::UPGRADE)
        };
        let answered = answered.and_then(framed).and_then(|response| match unasked(&response) {
            true => Err(OriginError::Broken("it goes on in another protocol that nobody asked for".to_owned())),
            false => Ok(response),
        });
        (answered, used)
    }

    /// A request as it is sent, and who hears what is said before its answer.
    fn request(
        &self,
        order: &Order<'_>,
        body: Noted,
        expects: bool,
        progress: &Option<Arc<Progress>>,
    ) -> Result<Request<Noted>, OriginError> {
        let mut request = self.origin.request(order, body)?;
        if expects {
            request.headers_mut().insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        }
        if expects || order.hints.is_some() {
            let (hints, progress) = (order.hints.clone(), progress.clone());
            hyper::ext::on_informational(&mut request, move |response| match (response.status(), &hints) {
                (StatusCode::CONTINUE, _) => {
                    if let Some(progress) = &progress {
                        progress.go_on();
                    }
                }
                (status, Some(hints)) => hints.who.hear(hints.turn, status, response.headers()),
                _ => {}
            });
        }
        Ok(request)
    }
}

/// Whoever waits for a place.
struct Pending<'a>(&'a Server);

impl<'a> Pending<'a> {
    fn of(server: &'a Server) -> Option<Self> {
        let one_more = |pending: usize| (pending < server.pending_max).then(|| pending + 1);
        let counted = server.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.ok().map(|_| Self(server))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}
