//! Another process wants to take over: its connection to the CLI's socket is handed to whoever runs the node.

use std::io;

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{Body, Door, events};
use crate::node::Inner;
use crate::takeover::{PATH, PROTOCOL, Successor};

/// Whether a request is one for that.
pub(super) fn is_asked(request: &Request<Incoming>) -> bool {
    request.uri().path() == PATH
}

/// Lets the connection go on as a takeover, unless one is under way or the node is not ready for it.
pub(super) fn answer(node: &Inner, door: &Door, request: Request<Incoming>) -> Response<Body> {
    let refuse = |why: &str| events::error(StatusCode::CONFLICT, why);
    if !matches!(door, Door::Socket) {
        return events::error(StatusCode::FORBIDDEN, "a node is taken over through its own socket only");
    }
    if request.headers().get(header::UPGRADE).is_none_or(|protocol| protocol != PROTOCOL) {
        return refuse("this version takes over in another way: stop the node, then start");
    }
    if node.follows() {
        return refuse("the process before is still draining its connections: try again in a while");
    }
    let Ok(permit) = node.successors.clone().try_reserve_owned() else {
        return refuse("another process is taking over");
    };
    if !node.is_ready() {
        return refuse("it is not ready, or ending");
    }
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await.map(hyper::upgrade::Upgraded::downcast::<TokioIo<UnixStream>>) {
            Ok(Ok(parts)) => match successor(parts.io.into_inner()) {
                Ok(successor) => drop(permit.send(successor)),
                Err(error) => tracing::warn!(%error, "no process takes over"),
            },
            _ => tracing::warn!("a process wanted to take over, and has gone"),
        }
    });
    let mut response = Response::new(Body::new(Empty::new().map_err(|never| match never {})));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    response
}

fn successor(stream: UnixStream) -> io::Result<Successor> {
    let id = stream.peer_cred().ok().and_then(|other| other.pid());
    Successor::new(stream.into_std()?, id)
}
