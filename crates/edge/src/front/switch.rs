//! Connections that go on in another protocol, WebSocket mostly (RFC 9110, section 7.8; over HTTP/2 RFC 8441).

use std::sync::Arc;

use atoll_fallback::{OriginError, hops};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use hyper::ext::Protocol;

use super::fetch::{passed, stripped};
use super::{Asked, Front, Outcome};
use crate::body::Body;
use crate::client::Exchange;
use crate::failure::Failure;
use crate::incoming::Incoming;
use crate::pipeline::Answering;
use crate::switched::Switched;

const WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const WEBSOCKET_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// The protocol that a visitor wants to go on in, if the site lets that be. Whoever wants another is answered as if nothing had been
/// said of it.
pub(super) fn wanted(front: &Front, request: &Request<Incoming>) -> Option<HeaderValue> {
    let allowed = |name: &str| front.upgrades.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    if let Some(protocol) = request.extensions().get::<Protocol>() {
        return HeaderValue::from_str(protocol.as_str()).ok().filter(|_| allowed(protocol.as_str()));
    }
    let fields = request.headers();
    let mut names = fields.get_all(header::UPGRADE).iter();
    let (name, others) = (names.next()?, names.next());
    let said = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| value.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade")))
    };
    let sound = request.version() == Version::HTTP_11
        && *request.method() == Method::GET
        && request.body().is_end_stream()
        && others.is_none()
        && fields.get_all(header::CONNECTION).iter().any(said);
    Some(name.clone()).filter(|name| sound && name.to_str().is_ok_and(allowed))
}

/// Asks the origin, and goes on as it says.
pub(super) fn answer(
    front: &Arc<Front>,
    asked: Asked,
    (mut exchange, mut request): (Exchange, Request<Incoming>),
    protocol: HeaderValue,
) -> Answering {
    if !exchange.wait() {
        return Answering::ready(exchange.fail(&Failure::TooManyWaiting, request.headers()));
    }
    let front = Arc::clone(front);
    Answering::waiting(async move {
        let client = Arc::clone(&asked.client);
        let (mut response, switching) = match ask(&front, &asked, &protocol).await {
            Ok(answered) => answered,
            Err(failure) => {
                front.tally.count(Outcome::Failed);
                return exchange.fail(&failure, request.headers());
            }
        };
        let Some((upgrading, holding)) = switching else {
            front.tally.count(Outcome::Passed);
            return exchange.finish(response);
        };
        front.tally.count(Outcome::Switched);
        let http2 = request.extensions().get::<Protocol>().is_some();
        if http2 {
            *response.status_mut() = StatusCode::OK;
            for name in [header::CONNECTION, header::UPGRADE, WEBSOCKET_ACCEPT] {
                response.headers_mut().remove(name);
            }
        }
        let (response, ongoing) = exchange.switch(response);
        let switched = Switched { origin: upgrading, holding, ongoing, idle: front.switched_idle };
        if http2 {
            switched.spawn(hyper::upgrade::on(&mut request));
        } else {
            client.switch(switched);
        }
        response
    })
}

/// What the visitor is answered, and the origin's end of the connection if it agreed.
type Answered = (Response<Body>, Option<(hyper::upgrade::OnUpgrade, Option<atoll_fallback::Holding>)>);

async fn ask(front: &Front, asked: &Asked, protocol: &HeaderValue) -> Result<Answered, Failure> {
    let mut sent = asked.head.clone();
    sent.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    sent.headers.insert(header::UPGRADE, protocol.clone());
    if protocol.as_bytes().eq_ignore_ascii_case(b"websocket") && !sent.headers.contains_key(WEBSOCKET_KEY) {
        // Over HTTP/2 there is none; over HTTP/1.1 there must be.
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|error| Failure::Origin(OriginError::Broken(error.to_string())))?;
        let key = HeaderValue::try_from(multibase::Base::Base64Pad.encode(key));
        sent.headers.extend(key.ok().map(|key| (WEBSOCKET_KEY, key)));
    }
    let mut response = front.send_once(asked, &sent).await.map_err(Failure::Origin)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (parts, body) = stripped(response).into_parts();
        let mut parts = parts;
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        return Ok((Response::from_parts(parts, passed(asked, false, body)), None));
    }
    let agreed = response.headers().get(header::UPGRADE);
    if !agreed.is_some_and(|agreed| agreed.as_bytes().eq_ignore_ascii_case(protocol.as_bytes())) {
        let text = "the origin goes on in a protocol that was not asked for".to_owned();
        return Err(Failure::Origin(OriginError::Broken(text)));
    }
    let upgrading = hyper::upgrade::on(&mut *response);
    let holding = response.body_mut().take_holding();
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    std::mem::swap(answer.headers_mut(), response.headers_mut());
    hops::strip_response(answer.headers_mut());
    hops::via(answer.headers_mut(), Version::HTTP_11);
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(header::UPGRADE, protocol.clone());
    Ok((answer, Some((upgrading, holding))))
}
