//! One request, from top to bottom. Each step is named after what it decides; the first that can answer does.
//!
//! Up to the hot cache nothing waits and nothing is allocated but the answer. What lies behind it is one boxed future, so
//! that a connection that is idle costs little. A crash loses requests in flight.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use atoll_routing::exchange;
use http::{Method, Request, Response, header};
use hyper::body::Incoming;

use crate::body::Body;
use crate::client::Client;
use crate::content;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::host::{Host, Label};
use crate::message;
use crate::respond::{self, redirect};
use crate::route::{ContentPath, TARGET_BYTES_MAX};

/// Answers a request.
pub(crate) fn answer(client: &Client, request: Request<Incoming>) -> Answering {
    let gateway = &client.gateway;
    let mut exchange = client.begin(&request);

    // 1. Admission: has this address too many requests in flight?
    if !exchange.admit(&client.ticket) {
        return Answering::ready(exchange.fail(&Failure::TooManyRequests, request.headers()));
    }
    // 2. Host: whose site is it?
    let host = match gateway.names.classify(&request) {
        Ok(host) => host,
        Err(failure) => return Answering::ready(exchange.fail(&failure, request.headers())),
    };
    // 3. Hot cache: is the answer ready?
    if let Some(response) = hot(gateway, host, &request) {
        return Answering::ready(exchange.hit(response));
    }
    // 4. Route: what does the path name?
    let route = match route(host, &request) {
        Ok(Route::Ready(response)) => return Answering::ready(exchange.finish(response)),
        Ok(Route::Waiting(route)) => route,
        Err(failure) => return Answering::ready(exchange.fail(&failure, request.headers())),
    };
    if matches!(route, Waiting::Message(_)) {
        exchange.is_message();
    }
    // 5. Content, or a member's message: whatever waits.
    let gateway = Arc::clone(gateway);
    Answering::Waiting(Box::pin(async move {
        let (request, body) = request.into_parts();
        let answered = match route {
            Waiting::Content(path) => content::answer(&gateway, &path, &request).await,
            Waiting::Message(path) => {
                message::answer(&*gateway.services.answer, path, &request, body, &gateway.timeouts).await
            }
        };
        // 6. Respond: failures become HTTP in one place, and every answer is named and counted.
        match answered {
            Ok(response) => exchange.finish(response),
            Err(failure) => exchange.fail(&failure, &request.headers),
        }
    }))
}

/// The answer to come; there already for all that need not wait.
pub(crate) enum Answering {
    Ready(Option<Box<Response<Body>>>),
    Waiting(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

/// Where a request goes.
enum Route {
    /// The answer is known.
    Ready(Response<Body>),
    /// The answer must be waited for.
    Waiting(Waiting),
}

enum Waiting {
    Content(ContentPath),
    /// Its path.
    Message(&'static str),
}

/// Answers plain requests for files whose answer is ready: no query, no other form, no service worker.
fn hot(gateway: &Gateway, host: Host<'_>, request: &Request<Incoming>) -> Option<Response<Body>> {
    let label = match host {
        Host::Path => "",
        Host::Content { label, .. } => label,
        Host::Subdomains { .. } => return None,
    };
    let plain = matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().query().is_none();
    let headers = request.headers();
    if !plain || headers.get(header::ACCEPT).is_some_and(|accept| !is_browsers(accept.as_bytes())) {
        return None;
    }
    let ready = gateway.hot.get(label, request.uri().path())?;
    Some(ready.described.respond_from(headers, &ready.parts))
}

/// Whether an `Accept` header asks for nothing of IPFS.
fn is_browsers(accept: &[u8]) -> bool {
    !accept.windows(APPLICATION.len()).any(|part| part.eq_ignore_ascii_case(APPLICATION)) || accept == b"*/*"
}

/// What every form other than files begins with.
const APPLICATION: &[u8] = b"application/vnd.";

fn route(host: Host<'_>, request: &Request<Incoming>) -> Result<Route, Failure> {
    let (path, query) = (request.uri().path(), request.uri().query());
    if path.len().saturating_add(query.map_or(0, str::len)) > TARGET_BYTES_MAX {
        return Err(Failure::PathMalformed("The address is too long."));
    }
    if let Some(path) = exchange::known_path(path).filter(|_| !matches!(host, Host::Content { .. })) {
        return Ok(Route::Waiting(Waiting::Message(path)));
    }
    match host {
        Host::Content { label, authority } => {
            let label = Label::parse(label)?;
            read_only(request)?;
            match label {
                Label::Root(root) => content(ContentPath::on_own_host(root, path)?, request),
                Label::Alias(root) => moved(&ContentPath::on_own_host(root, path)?, query, authority),
            }
        }
        Host::Subdomains { authority } => {
            let path = ContentPath::on_gateway(path).ok_or(Failure::NoRoute)??;
            read_only(request)?;
            moved(&path, query, authority)
        }
        Host::Path => content(ContentPath::on_gateway(path).ok_or(Failure::NoRoute)??, request),
    }
}

/// Content is only read.
fn read_only(request: &Request<Incoming>) -> Result<(), Failure> {
    match *request.method() {
        Method::GET | Method::HEAD | Method::OPTIONS => Ok(()),
        _ => Err(Failure::Method("GET, HEAD, OPTIONS")),
    }
}

fn content(path: ContentPath, request: &Request<Incoming>) -> Result<Route, Failure> {
    read_only(request)?;
    if *request.method() == Method::OPTIONS {
        return Ok(Route::Ready(respond::preflight()));
    }
    Ok(Route::Waiting(Waiting::Content(path)))
}

fn moved(path: &ContentPath, query: Option<&str>, authority: &str) -> Result<Route, Failure> {
    let too_long = || Failure::LabelTooLong(path.root.to_string().len());
    redirect::to_own_host(path, query, authority).map(Route::Ready).ok_or_else(too_long)
}

impl Answering {
    fn ready(response: Response<Body>) -> Self {
        Self::Ready(Some(Box::new(response)))
    }
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(*response)),
                // Polled again after it was done.
                None => Poll::Pending,
            },
            Self::Waiting(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}
