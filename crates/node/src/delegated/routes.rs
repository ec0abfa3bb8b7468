//! The paths of Delegated Routing, and what is wrong with requests that fit none.

use std::sync::Arc;

use atoll_core::delegated::{Filter, PREFIX, parse_key, parse_peer};
use atoll_core::{Cid, Reach};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use super::answers::{Form, preflight, records, refusal};
use super::{Counts, names, sources};
use crate::control::Body;
use crate::node::Inner;

/// The longest CID or name that is looked at, in bytes.
const KEY_BYTES_MAX: usize = 256;

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked<'a> {
    Providers(&'a str),
    Peers(&'a str),
    Name(&'a str),
    Closest(&'a str),
}

impl<'a> Asked<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix(PREFIX)?;
        let (kind, key) = rest.split_once('/')?;
        let asked = match kind {
            "providers" => Self::Providers(key),
            "peers" => Self::Peers(key),
            "ipns" => Self::Name(key),
            "dht" => return key.strip_prefix("closest/peers/").filter(|key| is_one(key)).map(Self::Closest),
            _ => return None,
        };
        is_one(key).then_some(asked)
    }
}

/// Whether this is one segment of a path.
fn is_one(key: &str) -> bool {
    !key.is_empty() && !key.contains('/')
}

/// Answers a request. Addresses nearer than `reach` are not told.
pub(super) async fn answer(node: &Arc<Inner>, reach: Reach, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let counts = &node.delegated.counts;
    let path = percent_decode_str(head.uri.path()).decode_utf8_lossy();
    let Some(asked) = Asked::of(&path) else {
        return refusal(counts, StatusCode::BAD_REQUEST, format!("there is no such path; all begin with {PREFIX}"));
    };
    let is_name = matches!(asked, Asked::Name(_));
    match head.method {
        Method::OPTIONS => preflight(if is_name { "GET, PUT, OPTIONS" } else { "GET, OPTIONS" }),
        Method::GET | Method::HEAD => get(node, reach, asked, &head.headers, head.uri.query()).await,
        Method::PUT if is_name => match asked {
            Asked::Name(name) => names::put(node, &head.headers, name, body).await,
            _ => unsupported(counts, &head.method),
        },
        method => unsupported(counts, &method),
    }
}

fn unsupported(counts: &Counts, method: &Method) -> Response<Body> {
    refusal(counts, StatusCode::NOT_IMPLEMENTED, format!("{method} is not supported for this path"))
}

async fn get(
    node: &Arc<Inner>,
    reach: Reach,
    asked: Asked<'_>,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Response<Body> {
    let delegated = &node.delegated;
    let counts = &delegated.counts;
    let Ok(turn) = Arc::clone(&delegated.searches).try_acquire_owned() else {
        return refusal(counts, StatusCode::TOO_MANY_REQUESTS, "too many questions at this moment");
    };
    let unfit = |text: String| refusal(counts, StatusCode::UNPROCESSABLE_ENTITY, text);
    if let Asked::Name(name) = asked {
        Counts::add(&counts.names);
        return names::get(node, headers, name).await;
    }
    let Some(form) = Form::of(headers) else {
        let text = "retry with `Accept: application/json` or `Accept: application/x-ndjson`";
        return refusal(counts, StatusCode::NOT_ACCEPTABLE, text);
    };
    let filter = match Filter::parse(query.unwrap_or_default()) {
        Ok(filter) => filter,
        Err(error) => return unfit(error.to_string()),
    };
    let (found, name, none) = match asked {
        Asked::Providers(text) => {
            let Some(cid) = cid_of(text) else { return unfit(format!("`{text}` is not a CID")) };
            Counts::add(&counts.providers);
            (sources::providers(node, reach, cid).await, "Providers", StatusCode::OK)
        }
        Asked::Peers(text) => {
            let Some(peer) = parse_peer(text) else { return unfit(format!("`{text}` is not a peer id")) };
            Counts::add(&counts.peers);
            (sources::peer(node, reach, peer).await, "Peers", StatusCode::OK)
        }
        Asked::Closest(text) => {
            let Some(key) = parse_key(text) else { return unfit(format!("`{text}` is neither a CID nor a peer id")) };
            let Some(swarm) = &node.swarm else {
                return refusal(counts, StatusCode::NOT_IMPLEMENTED, "this node takes part in no DHT (swarm.listen)");
            };
            Counts::add(&counts.closest);
            // The one list that must not be empty ("Response Status Codes").
            (sources::closest(swarm, reach, key).await, "Peers", StatusCode::NOT_FOUND)
        }
        Asked::Name(_) => return unfit("a name is no list".to_owned()),
    };
    records(delegated, (form, name, none), filter, found, turn).await
}

fn cid_of(text: &str) -> Option<Cid> {
    if text.len() > KEY_BYTES_MAX { None } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        for (path, asked) in [
            ("/routing/v1/providers/bafkqaaa", Some(Asked::Providers("bafkqaaa"))),
            ("/routing/v1/peers/12D3", Some(Asked::Peers("12D3"))),
            ("/routing/v1/ipns/k51", Some(Asked::Name("k51"))),
            ("/routing/v1/dht/closest/peers/k51", Some(Asked::Closest("k51"))),
            ("/routing/v1/providers/", None),
            ("/routing/v1/providers", None),
            ("/routing/v1/providers/a/b", None),
            ("/routing/v1/dht/closest/peers/", None),
            ("/routing/v1/dht/closest/k51", None),
            ("/routing/v2/providers/bafkqaaa", None),
            ("/", None),
        ] {
            assert_eq!(Asked::of(path), asked, "{path}");
        }
    }
}
