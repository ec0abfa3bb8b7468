//! One request, from top to bottom. Each step is named after what it decides; the first that can answer does.
//!
//! Up to the hot cache nothing waits and nothing is allocated but the answer. What lies behind it is one boxed future, so
//! that a connection that is idle costs little. A crash loses requests in flight.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use atoll_core::signed;
use atoll_routing::exchange;
use http::{Method, Request, Response, header};
use http_body::Body as _;

use crate::body::Body;
use crate::client::Client;
use crate::content;
use crate::failure::Failure;
use crate::front::{self, Asked, RequestLine};
use crate::host::{Host, Label, Seen};
use crate::incoming::Incoming;
use crate::message;
use crate::negotiate;
use crate::respond::{self, redirect};
use crate::route::{Mount, Site, TARGET_BYTES_MAX, Target};
use crate::sign::Asker;

/// Answers a request.
pub(crate) fn answer(client: &Arc<Client>, request: Request<Incoming>) -> Answering {
    let gateway = &client.gateway;
    let mut exchange = client.begin(&request);

    // 1. Admission: has this address too many requests in flight?
    if !exchange.admit() {
        return Answering::ready(exchange.fail(&Failure::TooManyRequests, request.headers()));
    }
    // 2. Host: whose site is it?
    let seen = Seen::of(&request, client.trusted, client.secure);
    let (seen, front) = match seen.and_then(|seen| Ok((seen, gateway.services.fronts.find(seen.authority)?))) {
        Ok(found) => found,
        Err(failure) => return Answering::ready(exchange.fail(&failure, request.headers())),
    };
    // 3. Front: does its content come from a server elsewhere, as the operator has set it or as the site says itself?
    if let Some(front) = front {
        return front::answer(front, RequestLine::of(&request, seen), (exchange, request), client);
    }
    let host = match gateway.names.classify(seen.authority) {
        Ok(host) => host,
        Err(failure) => return Answering::ready(exchange.fail(&failure, request.headers())),
    };
    let published = gateway.services.fronts.published(host, &*gateway.services.names);
    if let Some(front) = published.as_ref().filter(|front| front.is_for_servers(&request, seen.authority)) {
        return front::answer(front, RequestLine::of(&request, seen), (exchange, request), client);
    }
    // 4. Hot cache: is the answer ready?
    if let Some(response) = hot(client, host, seen, &request) {
        return Answering::ready(exchange.hit(response));
    }
    // 5. Route: what does the path name?
    let route = match route(host, seen, &request) {
        Ok(Route::Ready(response)) => return Answering::ready(exchange.finish(response)),
        Ok(Route::Waiting(route)) => route,
        Err(failure) => return Answering::ready(exchange.fail(&failure, request.headers())),
    };
    if matches!(route, Waiting::Message(_)) {
        exchange.is_message();
    }
    // 6. Content, or a member's message: whatever waits.
    if !exchange.wait() {
        return Answering::ready(exchange.fail(&Failure::TooManyWaiting, request.headers()));
    }
    let published = published.and_then(|front| {
        let line = RequestLine::of(&request, seen).ok()?;
        let asked = Asked::of(&front, line, (request.headers().clone(), request.body().is_end_stream()), client);
        Some((front, asked))
    });
    let (gateway, asker) = (Arc::clone(gateway), Asker::new(seen.authority, seen.https, client.ticket.address()));
    Answering::waiting(async move {
        let (request, body) = request.into_parts();
        let answered = match route {
            Waiting::Content(target) => content::answer(&gateway, target, &request).await,
            Waiting::Domain { site, otherwise } => content::answer_domain(&gateway, site, *otherwise, &request).await,
            Waiting::Message(path) => {
                let answer = &*gateway.services.answer;
                let answered = message::answer(answer, path, &request, body, &gateway.timeouts).await;
                return exchange.settle(answered, &request.headers);
            }
        };
        // 7. Respond: what the site's manifest says is signed, failures become HTTP in one place, every answer is named and counted.
        match answered {
            Ok(mut response) => {
                gateway.desk.sign_answer(&asker, &request.headers, &mut response);
                exchange.finish(response)
            }
            Err(failure) => {
                let instead = match published {
                    Some(published) => front::instead(published, &failure, body).await,
                    None => None,
                };
                exchange.settle(instead.unwrap_or(Err(failure)), &request.headers)
            }
        }
    })
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
    Content(Target),
    /// A host that is a site's own domain if its DNSLink says so, and a path gateway otherwise.
    Domain {
        site: Target,
        otherwise: Box<Result<Target, Failure>>,
    },
    /// Its path.
    Message(&'static str),
}

/// Answers plain requests for files whose answer is ready: no query, no other form, no service worker.
fn hot(client: &Client, host: Host<'_>, seen: Seen<'_>, request: &Request<Incoming>) -> Option<Response<Body>> {
    let gateway = &client.gateway;
    let key = match host {
        Host::Path => "",
        Host::Content { label, .. } => label,
        Host::Named { key, .. } => key,
        Host::Other { name, .. } => name,
        Host::Subdomains { .. } => return None,
    };
    let plain = matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().query().is_none();
    let headers = request.headers();
    if !plain || !headers.get_all(header::ACCEPT).iter().all(negotiate::is_plain) {
        return None;
    }
    let ready = gateway.hot.get(key, request.uri().path())?;
    if ready.authority.as_deref().is_some_and(|authority| host.authority() != Some(authority)) {
        return None;
    }
    if ready.deny_version != gateway.services.deny.version() {
        return None;
    }
    let ready = gateway.hot.used(key, request.uri().path(), ready);
    if let Some(sealed) = ready.sealed() {
        client.sending.offer(sealed);
    }
    let mut response = match &ready.name {
        None => ready.described.respond_from(headers, &ready.parts),
        Some(name) => {
            // What a name points at may have changed since.
            let now = gateway.services.names.cached(name).filter(|now| ready.is_of(now))?;
            let mut response = ready.described.respond_from(headers, &ready.parts);
            if !ready.described.own_age {
                respond::set_age(response.headers_mut(), &now);
            }
            response
        }
    };
    if let Some(said) = &ready.described.said {
        let authority = signed::authority(seen.authority, seen.https);
        gateway.desk.sign(said, authority.as_deref(), client.ticket.address(), headers, &mut response);
    }
    Some(response)
}

fn route(host: Host<'_>, seen: Seen<'_>, request: &Request<Incoming>) -> Result<Route, Failure> {
    let (path, query) = (request.uri().path(), request.uri().query());
    if path.len().saturating_add(query.map_or(0, str::len)) > TARGET_BYTES_MAX {
        return Err(Failure::PathMalformed("The address is too long."));
    }
    let content_host = matches!(host, Host::Content { .. } | Host::Named { .. });
    if let Some(path) = exchange::known_path(path).filter(|_| !content_host) {
        return Ok(Route::Waiting(Waiting::Message(path)));
    }
    match host {
        Host::Content { label, authority } => own_host(Label::content(label)?, seen, authority, request),
        Host::Named { label, authority, .. } => own_host(Label::named(label)?, seen, authority, request),
        Host::Subdomains { authority } => {
            let target = match shared(path, query)? {
                Shared::Content(target) => target,
                Shared::Moved(response) => return Ok(Route::Ready(response)),
            };
            read_only(request)?;
            moved(&target, query, seen, authority)
        }
        Host::Path => match shared(path, query)? {
            Shared::Content(target) => match redirect::to_canonical(&target, query) {
                Some(response) => Ok(Route::Ready(response)),
                None => content(target, request),
            },
            Shared::Moved(response) => Ok(Route::Ready(response)),
        },
        Host::Other { name, authority } => {
            read_only(request)?;
            if *request.method() == Method::OPTIONS {
                return Ok(Route::Ready(respond::preflight()));
            }
            let site = Site::Name(name.to_ascii_lowercase());
            let site = Target::on_own_host(site, Mount::Domain(authority.to_owned()), path)?;
            let otherwise = Box::new(Target::on_gateway(path).unwrap_or(Err(Failure::HostUnknown)));
            Ok(Route::Waiting(Waiting::Domain { site, otherwise }))
        }
    }
}

/// What a path asks for on an origin that all content shares.
enum Shared {
    Content(Target),
    /// It is found elsewhere.
    Moved(Response<Body>),
}

fn shared(path: &str, query: Option<&str>) -> Result<Shared, Failure> {
    if let Some(uri) = query.filter(|_| matches!(path, "/ipfs/" | "/ipns/")).and_then(negotiate::uri) {
        let target =
            Target::of_uri(&uri?).ok_or(Failure::QueryMalformed("The uri is neither ipfs:// nor ipns://."))??;
        return Ok(Shared::Moved(redirect::to_content(&target)));
    }
    Ok(Shared::Content(Target::on_gateway(path).ok_or(Failure::NoRoute)??))
}

/// A site on an origin of its own below a gateway.
fn own_host(label: Label, seen: Seen<'_>, authority: &str, request: &Request<Incoming>) -> Result<Route, Failure> {
    let mount = Mount::Subdomain(authority.to_owned());
    let path = request.uri().path();
    match label {
        Label::Site(site) => content(Target::on_own_host(site, mount, path)?, request),
        Label::Alias(site) => {
            read_only(request)?;
            moved(&Target::on_own_host(site, mount, path)?, request.uri().query(), seen, authority)
        }
    }
}

/// Content is only read.
fn read_only(request: &Request<Incoming>) -> Result<(), Failure> {
    match *request.method() {
        Method::GET | Method::HEAD | Method::OPTIONS => Ok(()),
        _ => Err(Failure::Method("GET, HEAD, OPTIONS")),
    }
}

fn content(target: Target, request: &Request<Incoming>) -> Result<Route, Failure> {
    read_only(request)?;
    if *request.method() == Method::OPTIONS {
        return Ok(Route::Ready(respond::preflight()));
    }
    Ok(Route::Waiting(Waiting::Content(target)))
}

fn moved(target: &Target, query: Option<&str>, seen: Seen<'_>, authority: &str) -> Result<Route, Failure> {
    let too_long = || Failure::LabelTooLong(target.below_site().len());
    redirect::to_own_host(target, query, seen, authority).map(Route::Ready).ok_or_else(too_long)
}

impl Answering {
    pub(crate) fn ready(response: Response<Body>) -> Self {
        Self::Ready(Some(Box::new(response)))
    }

    pub(crate) fn waiting(answer: impl Future<Output = Response<Body>> + Send + 'static) -> Self {
        Self::Waiting(Box::pin(answer))
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
