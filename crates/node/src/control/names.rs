//! Names for the CLI: `/v1/names`, and `/v1/names/NAME` with what is wanted as its query.

use atoll_core::content_path::{ContentPath, Root};
use atoll_core::ipns::{Name, Record};
use atoll_core::names::{NameError, Names as _};
use atoll_core::{Clock as _, Timestamp};
use atoll_identity::{Kept, Origin, StoreError};
use atoll_routing::TokioClock;
use http::{Response, StatusCode, request};
use hyper::body::Incoming;

use super::routes::{Routed, read, unknown};
use super::{Body, events};
use crate::api::{NamePublished, NameRecord, NameResolved};
use crate::node::Inner;

/// Answers one of these paths.
pub(super) async fn route(node: &Inner, head: &request::Parts, body: Incoming) -> Routed {
    let path = head.uri.path();
    let query = head.uri.query().unwrap_or_default();
    let name = path.strip_prefix("/v1/names").map(|rest| rest.trim_start_matches('/')).unwrap_or_default();
    match (head.method.as_str(), query) {
        ("GET", "") if name.is_empty() => Ok(list(node)),
        ("GET", "") => show(&node.name_records.get(&parse(name)?)),
        // Members are asked first.
        ("GET", "latest") => Ok(latest(node, &parse(name)?).await),
        ("GET", "record") => record(node, name).await,
        ("GET", "resolve") => resolve(node, name).await,
        ("POST", "import") => import(node, &parse(name)?, body).await,
        ("POST", expected) => publish(node, &parse(name)?, expected, body).await,
        _ => Err(unknown(&head.method, path)),
    }
}

fn parse(name: &str) -> Result<Name, Response<Body>> {
    name.parse().map_err(|error| events::error(StatusCode::BAD_REQUEST, format!("`{name}`: {error}")))
}

fn list(node: &Inner) -> Response<Body> {
    let now = TokioClock.now();
    let kept: Vec<NameRecord> = node.name_records.list().iter().map(|kept| view(kept, now)).collect();
    events::json(&kept)
}

fn show(kept: &Option<Kept>) -> Routed {
    let kept = kept.as_ref().ok_or_else(|| events::error(StatusCode::NOT_FOUND, "no record of this name is known"))?;
    Ok(events::json(&view(kept, TokioClock.now())))
}

/// The newest that anybody has; `null` if nobody has one.
async fn latest(node: &Inner, name: &Name) -> Response<Body> {
    let kept = node.names.latest(name).await;
    events::json(&kept.map(|kept| view(&kept, TokioClock.now())))
}

/// A record for people.
fn view(kept: &Kept, now: Timestamp) -> NameRecord {
    let record = kept.record.as_ref().ok();
    NameRecord {
        name: kept.name.to_string(),
        site: kept.name.site().map(|site| site.to_string()),
        value: record.map(value),
        sequence: record.map(Record::sequence),
        ends_ms: record.map(|record| record.eol().timestamp().as_millis()),
        ttl_seconds: record.map(|record| record.ttl().as_secs()),
        live: record.is_some_and(|record| record.is_live(now)),
        own: kept.origin == Origin::Own,
        invalid: kept.record.as_ref().err().map(ToString::to_string),
        bytes: kept.bytes.len() as u64,
    }
}

fn value(record: &Record) -> String {
    record.target().map_or_else(|_| String::from_utf8_lossy(record.value()).into_owned(), |target| target.to_string())
}

/// The record itself; asked for if it is not known, and as it is kept if it is not valid.
async fn record(node: &Inner, name: &str) -> Routed {
    let bytes = match node.names.record(name).await {
        Ok(signed) => signed.bytes,
        Err(error) => {
            let kept = name.parse().ok().and_then(|name| node.name_records.get(&name));
            kept.ok_or_else(|| failed(&error))?.bytes
        }
    };
    Ok(events::answer(StatusCode::OK, atoll_core::ipns::MEDIA_TYPE, bytes))
}

async fn resolve(node: &Inner, name: &str) -> Routed {
    let found = node.names.resolve(name).await.map_err(|error| failed(&error))?;
    let path = ContentPath { root: Root::Ipfs(found.root), segments: found.path.clone() }.to_string();
    let (fresh_seconds, ends_ms) =
        (found.max_age(TokioClock.now()).as_secs(), found.valid_until.map(Timestamp::as_millis));
    Ok(events::json(&NameResolved { path, fresh_seconds, ends_ms }))
}

fn failed(error: &NameError) -> Response<Body> {
    let status = match error {
        NameError::Malformed(_) => StatusCode::BAD_REQUEST,
        NameError::NotFound(_) => StatusCode::NOT_FOUND,
        NameError::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
        NameError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_GATEWAY,
    };
    events::error(status, error)
}

/// Keeps what an operator loads, valid or not.
async fn import(node: &Inner, name: &Name, body: Incoming) -> Routed {
    let bytes = read(body).await?;
    let imported = node.names.import(*name, bytes).await;
    imported.map_err(|error| events::error(StatusCode::CONFLICT, error))?;
    show(&node.name_records.get(name))
}

/// Keeps a publisher's record and passes it on, if the last known sequence is the one that the publisher knew: a number,
/// or `none`.
async fn publish(node: &Inner, name: &Name, expected: &str, body: Incoming) -> Routed {
    let refused = |error: &dyn ToString| events::error(StatusCode::BAD_REQUEST, error.to_string());
    let expected = match expected.strip_prefix("sequence=") {
        None if expected.is_empty() => None,
        Some("none") => Some(None),
        Some(number) => Some(Some(number.parse().map_err(|_| refused(&"`sequence` is a number or `none`"))?)),
        None => return Err(refused(&"the query is `sequence=N`, `sequence=none` or `import`")),
    };
    let record = Record::verify(name, read(body).await?).map_err(|error| refused(&error))?;
    let sequence = Some(record.sequence());
    match node.names.publish(record, expected).await {
        Ok(()) => Ok(events::json(&NamePublished { accepted: true, sequence })),
        Err(StoreError::Changed { found, .. }) => Ok(events::json(&NamePublished { accepted: false, sequence: found })),
        Err(error) => Err(events::error(StatusCode::CONFLICT, error)),
    }
}
