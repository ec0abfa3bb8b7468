//! A client's connection as the pipeline sees it, and the exchange that one request on it begins.

use std::io::{Cursor, Write as _};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use atoll_fallback::Patience;
use atoll_fallback::hops::Hop;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header};

use crate::activity::Activity;
use crate::admission::{NoRoom, Refused, Ticket};
use crate::body::{Body, Ongoing};
use crate::failure::Failure;
use crate::front::Pass;
use crate::gateway::Gateway;
use crate::observe::Seen;
use crate::respond;
use crate::sending::Sending;
use crate::switched::Switched;

/// Names a request in the answer and in the log.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where there is no id yet.
pub(crate) const UNNAMED: HeaderValue = HeaderValue::from_static("-");
/// The longest id that is made here: two numbers of at most 16 digits, in bytes.
const ID_BYTES_MAX: usize = 33;
/// The longest id that is taken over from a client, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Who is connected.
pub(crate) struct Client {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) ticket: Ticket,
    /// Whether it is a proxy that may say what its own client asked for.
    pub(crate) trusted: bool,
    /// Whether it speaks TLS with us.
    pub(crate) secure: bool,
    pub(crate) activity: Arc<Activity>,
    pub(crate) sending: Arc<Sending>,
    /// What origins are told about it, for the host that it last asked for.
    hop: Mutex<Option<Arc<Hop>>>,
    /// For how long it waits for them.
    pub(crate) patience: Patience,
    /// How the connection goes on after the answer that is being made.
    switched: Mutex<Option<Box<Switched>>>,
    worker: usize,
    /// What the ids of its requests begin with.
    name: String,
    requests: AtomicU64,
}

/// A request and what becomes of it.
pub(crate) struct Exchange {
    ongoing: Ongoing,
    id: HeaderValue,
    head: bool,
}

impl Client {
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        ticket: Ticket,
        (trusted, secure): (bool, bool),
        activity: Arc<Activity>,
        worker: usize,
        name: u64,
    ) -> Self {
        Self {
            gateway,
            ticket,
            trusted,
            secure,
            activity,
            sending: Arc::default(),
            hop: Mutex::default(),
            patience: Patience::default(),
            switched: Mutex::default(),
            worker,
            name: format!("{name:016x}-"),
            requests: AtomicU64::new(0),
        }
    }

    /// The connection goes on in another protocol.
    pub(crate) fn switch(&self, switched: Switched) {
        *self.switched.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(switched));
    }

    /// How the connection goes on, if not in HTTP.
    pub(crate) fn switched(&self) -> Option<Box<Switched>> {
        self.switched.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Is somebody else than whoever connected: counted there from now on.
    ///
    /// # Errors
    /// [`Refused`] if there is no place for it.
    pub(crate) fn speaks_for(&mut self, ip: IpAddr) -> Result<(), Refused> {
        // The place of whoever connected is given back.
        self.ticket = self.gateway.admission.connect(ip, true)?;
        self.trusted = self.gateway.trusts(ip);
        Ok(())
    }

    /// What an origin is told about it, with a request for a host over TLS or not. `name` is what this node calls itself there.
    pub(crate) fn hop(&self, name: &str, host: &HeaderValue, https: bool) -> Arc<Hop> {
        let mut last = self.hop.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hop) = last.as_ref().filter(|hop| hop.is_for(host, https)) {
            return Arc::clone(hop);
        }
        let hop = Arc::new(Hop::new(name, (self.ticket.ip(), self.trusted), host, https));
        *last = Some(Arc::clone(&hop));
        hop
    }

    /// A request begins.
    pub(crate) fn begin<B>(self: &Arc<Self>, request: &Request<B>) -> Exchange {
        let begun = Instant::now();
        self.activity.busy(begun);
        let id = self.id(request.headers());
        tracing::debug!(?id, method = %request.method(), target = %request.uri(), "request");
        let seen = Seen {
            worker: self.worker,
            message: false,
            status: 0,
            hot: false,
            complete: false,
            bytes: 0,
            duration: Duration::ZERO,
        };
        let ongoing = Ongoing {
            begun,
            seen,
            client: Arc::clone(self),
            close_delimited: request.version() < Version::HTTP_11,
            admitted: false,
            waiting: false,
            held: 0,
            pass: None,
        };
        Exchange { ongoing, id, head: request.method() == Method::HEAD }
    }

    /// The client's own id if it is one, so that a request can be followed across nodes.
    fn id(&self, headers: &HeaderMap) -> HeaderValue {
        let sane = |id: &&HeaderValue| {
            let byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(byte)
        };
        if let Some(id) = headers.get(X_REQUEST_ID).filter(sane) {
            return id.clone();
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut id = Cursor::new([0; ID_BYTES_MAX]);
        let written =
            id.write_all(self.name.as_bytes()).and_then(|()| write!(id, "{number:x}")).map(|()| id.position());
        let len = written.ok().and_then(|len| usize::try_from(len).ok()).unwrap_or_default();
        id.get_ref().get(..len).and_then(|id| HeaderValue::from_bytes(id).ok()).unwrap_or(UNNAMED)
    }
}

impl Exchange {
    /// The answer, unless there is no memory for sending it.
    fn with_room(&self, response: Response<Body>) -> Response<Body> {
        let weight = if self.head { 0 } else { response.body().weight() };
        let no_room = if weight == 0 { None } else { self.ongoing.client.ticket.has_no_room(weight) };
        match no_room {
            None => response,
            Some(NoRoom::Address) => respond::error::respond(&Failure::TooMuchAtOnce, &HeaderMap::new(), None),
            Some(NoRoom::All) => respond::error::respond(&Failure::Crowded, &HeaderMap::new(), None),
        }
    }

    /// Takes the request on, unless its address has too many in flight.
    pub(crate) fn admit(&mut self) -> bool {
        self.ongoing.admitted = self.ongoing.client.ticket.begin();
        self.ongoing.admitted
    }

    /// Lets the request wait for its answer, unless too many do.
    pub(crate) fn wait(&mut self) -> bool {
        self.ongoing.waiting = self.ongoing.client.gateway.admission.begin_wait();
        self.ongoing.waiting
    }

    /// The request is under the quota of a site.
    pub(crate) fn under(&mut self, pass: Pass) {
        self.ongoing.pass = Some(pass);
    }

    /// It is a member's message, not a visitor's request.
    pub(crate) fn is_message(&mut self) {
        self.ongoing.seen.message = true;
    }

    /// Ends in an answer from the hot cache.
    pub(crate) fn hit(mut self, response: Response<Body>) -> Response<Body> {
        self.ongoing.seen.hot = true;
        self.finish(response)
    }

    /// Ends in a failure.
    pub(crate) fn fail(self, failure: &Failure, request: &HeaderMap) -> Response<Body> {
        self.fail_with(failure, request, |response| response)
    }

    /// Ends in an answer, or in a failure.
    pub(crate) fn settle(self, answered: Result<Response<Body>, Failure>, request: &HeaderMap) -> Response<Body> {
        match answered {
            Ok(response) => self.finish(response),
            Err(failure) => self.fail(&failure, request),
        }
    }

    /// Ends in a failure that is told in some other way.
    pub(crate) fn fail_with(
        self,
        failure: &Failure,
        request: &HeaderMap,
        told: impl FnOnce(Response<Body>) -> Response<Body>,
    ) -> Response<Body> {
        tracing::debug!(id = ?self.id, %failure, "request failed");
        let client = Arc::clone(&self.ongoing.client);
        let contact = client.gateway.contact.as_ref();
        self.finish(told(respond::error::respond(failure, request, contact)))
    }

    /// Ends in an answer after which the connection goes on in another protocol; what goes on as long.
    pub(crate) fn switch(mut self, mut response: Response<Body>) -> (Response<Body>, Ongoing) {
        self.ongoing.end_wait();
        self.ongoing.seen.status = response.status().as_u16();
        response.headers_mut().insert(X_REQUEST_ID, self.id);
        (response, self.ongoing)
    }

    /// Ends in an answer: named, counted, and for HEAD without its body.
    pub(crate) fn finish(mut self, response: Response<Body>) -> Response<Body> {
        self.ongoing.end_wait();
        let mut response = self.with_room(response);
        self.ongoing.seen.status = response.status().as_u16();
        tracing::debug!(id = ?self.id, status = self.ongoing.seen.status, hot = self.ongoing.seen.hot, "answer");
        response.headers_mut().insert(X_REQUEST_ID, self.id);
        let client = &self.ongoing.client;
        if client.gateway.is_left() && !client.activity.is_multiplexed() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(hsts) = client.gateway.hsts.as_ref().filter(|_| client.secure) {
            response.headers_mut().entry(header::STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
        }
        if let Some(alternative) = client.gateway.alternative.as_ref().filter(|_| client.secure) {
            response.headers_mut().entry(header::ALT_SVC).or_insert_with(|| alternative.clone());
        }
        if self.head {
            let len = http_body::Body::size_hint(response.body()).exact();
            if let Some(len) = len.filter(|_| !response.headers().contains_key(header::CONTENT_LENGTH)) {
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(len));
            }
        }
        let (head, ongoing) = (self.head, self.ongoing);
        response.map(|body| if head { body.emptied() } else { body }.ending(ongoing))
    }
}
