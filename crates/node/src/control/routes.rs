//! The paths of the node's own HTTP.

use std::path::PathBuf;
use std::sync::Arc;

use atoll_content::export::{self, Scope};
use atoll_content::reader;
use atoll_core::{Cid, PeerId};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::{Body, certs, events, intake, jobs, names, origins, pinning, purge, purges, upload};
use crate::api::{
    BundleRequest, BundleState, BundleView, Entry, ImportRequest, KuboRequest, PinRequest, PinStatus, ReadBack,
    ReadBackRequest, StreamRequest,
};
use crate::node::Inner;

/// The largest body that is not a CAR, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The most entries that `ls` lists.
const ENTRIES_MAX: usize = 1_000_000;

/// An answer, or the answer that says why not.
pub(super) type Routed = Result<Response<Body>, Response<Body>>;

/// Answers a request that was let in.
pub(super) async fn route(node: Arc<Inner>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let routed = match (head.method.as_str(), path.as_str()) {
        ("GET", "/") => Ok(events::answer(
            StatusCode::OK,
            "text/html; charset=utf-8",
            Bytes::from_static(include_bytes!("../assets/status.html")),
        )),
        ("GET", "/healthz") => Ok(events::answer(StatusCode::OK, "text/plain", "ok\n")),
        ("GET", "/readyz") => Ok(readiness(&node)),
        ("GET", "/metrics") => Ok(events::answer(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            node.metrics.text(),
        )),
        ("GET", "/v1/status") => Ok(events::json(&node.status())),
        ("GET", "/v1/config") => Ok(config(&node)),
        ("GET", "/v1/pins") => Ok(events::json(&node.status().pins)),
        ("POST", "/v1/pins") => pin(node, body).await,
        ("DELETE", "/v1/pins") => unpin(node, body).await,
        ("POST", "/v1/import") => import(node, body).await,
        ("POST", "/v1/import/kubo") => import_kubo(node, body).await,
        ("POST", "/v1/import/stream") => import_stream(node, head.uri.query(), body),
        ("GET", "/v1/bundles") => Ok(events::json(&node.bundles.views())),
        ("POST", "/v1/bundles") => make_bundle(node, body).await,
        ("POST", "/v1/placements") => place(&node, body).await,
        ("POST", "/v1/read-back") => read_back(node, body).await,
        ("POST", "/v1/deny/reload") => Ok(events::json(&crate::deny::reload(&node).await)),
        ("GET", "/v1/pinning/tokens") => pinning::list(&node),
        ("POST", "/v1/pinning/tokens") => pinning::add(&node, body).await,
        ("DELETE", "/v1/pinning/tokens") => pinning::revoke(&node, body).await,
        ("POST", "/v1/faults") => origins::fault(&node, body).await,
        ("POST", "/v1/drills") => origins::remember(&node, body).await,
        ("POST", "/v1/certs/revoke") => certs::revoke(&node, body).await,
        ("POST", "/v1/purge") => purge::purge(&node, body).await,
        ("POST", "/v1/purges") => purges::announce(node, head.uri.query(), body).await,
        ("POST", "/v1/gc") => Ok(events::run(|_| async move { jobs::gc(node).await })),
        ("POST", "/v1/verify") => Ok(events::run(|reporter| jobs::verify(node, reporter))),
        ("POST", "/v1/car") => upload::car(node, &head.headers, head.uri.query(), body),
        ("GET", path) if path.starts_with("/v1/purges/") => {
            purges::known(&node, path.trim_start_matches("/v1/purges/"))
        }
        (_, path) if path.starts_with("/v1/names") => names::route(&node, &head, body).await,
        ("GET", path) if path.starts_with("/v1/car/") => export_car(node, path).await,
        ("GET", path) if path.starts_with("/v1/ls/") => ls(node, path).await,
        _ => Err(unknown(&head.method, &path)),
    };
    routed.unwrap_or_else(|refusal| refusal)
}

pub(super) fn unknown(method: &Method, path: &str) -> Response<Body> {
    events::error(StatusCode::NOT_FOUND, format!("there is no {method} {path} here"))
}

fn readiness(node: &Inner) -> Response<Body> {
    let (status, text) =
        if node.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "draining\n") };
    events::answer(status, "text/plain", text)
}

fn config(node: &Inner) -> Response<Body> {
    let setting = |(path, value, source): &(String, toml::Value, _)| serde_json::json!({ "path": path, "value": value, "source": ToString::to_string(source) });
    events::json(&node.sources.iter().map(setting).collect::<Vec<_>>())
}

async fn import(node: Arc<Inner>, body: Incoming) -> Routed {
    let request: ImportRequest = read_json(body).await?;
    let path = PathBuf::from(&request.path);
    if !path.is_absolute() {
        return Err(events::error(StatusCode::BAD_REQUEST, "the path to import must be absolute"));
    }
    let options = request.cut.options().map_err(|error| events::error(StatusCode::BAD_REQUEST, error))?;
    Ok(events::run(|reporter| intake::import(node, path, options, request.name, reporter)))
}

async fn import_kubo(node: Arc<Inner>, body: Incoming) -> Routed {
    let request: KuboRequest = read_json(body).await?;
    let path = PathBuf::from(&request.path);
    if !path.is_absolute() {
        return Err(events::error(StatusCode::BAD_REQUEST, "the path to import must be absolute"));
    }
    Ok(events::run(|reporter| intake::import_kubo(node, path, reporter)))
}

fn import_stream(node: Arc<Inner>, query: Option<&str>, body: Incoming) -> Routed {
    let bad = |why: String| events::error(StatusCode::BAD_REQUEST, why);
    let text = percent_encoding::percent_decode_str(query.unwrap_or_default()).decode_utf8_lossy();
    let request: StreamRequest = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let options = request.cut.options().map_err(|error| bad(error.to_string()))?;
    Ok(events::run(|reporter| intake::import_stream(node, request, options, body, reporter)))
}

async fn make_bundle(node: Arc<Inner>, body: Incoming) -> Routed {
    let request: BundleRequest = read_json(body).await?;
    let root: Cid = request.root.parse().map_err(|error| events::error(StatusCode::BAD_REQUEST, error))?;
    Ok(events::run(|_| async move {
        let named = node.bundles.make(&root).await?;
        let (entries, leaves) = (named.bundle.manifest.entries().len() as u64, named.bundle.leaves);
        let (root, bundle) = (named.bundle.root.to_string(), Some(named.id.to_string()));
        Ok(BundleView { root, state: BundleState::Signed, bundle, entries, leaves, why: None })
    }))
}

async fn place(node: &Inner, body: Incoming) -> Routed {
    let envelope = read(body).await?;
    let refused = |error| events::error(StatusCode::BAD_REQUEST, error);
    let site = node.router.announce_placement(envelope).await.map_err(refused)?;
    Ok(events::json(&serde_json::json!({ "site": site.to_string() })))
}

async fn pin(node: Arc<Inner>, body: Incoming) -> Routed {
    let request: PinRequest = read_json(body).await?;
    let root = parse_cid(&request.cid)?;
    Ok(events::run(|reporter| jobs::pin(node, root, request.name, reporter)))
}

async fn read_back(node: Arc<Inner>, body: Incoming) -> Routed {
    let request: ReadBackRequest = read_json(body).await?;
    let root = parse_cid(&request.cid)?;
    let peer: PeerId = request.peer.parse().map_err(|error| events::error(StatusCode::BAD_REQUEST, error))?;
    Ok(events::run(|_| async move {
        let (blocks, bytes) = node.router.read_back(&peer, root).await.map_err(|error| error.to_string())?;
        Ok(ReadBack { blocks, bytes })
    }))
}

async fn unpin(node: Arc<Inner>, body: Incoming) -> Routed {
    let request: PinRequest = read_json(body).await?;
    let root = parse_cid(&request.cid)?;
    let name = request.name.clone();
    let store = node.local.store().clone();
    let removed = tokio::task::spawn_blocking(move || store.unpin(&root, &request.name)).await;
    match removed {
        Ok(Ok(true)) => Ok(events::json(&PinStatus { root: root.to_string(), name })),
        Ok(Ok(false)) => Err(events::error(StatusCode::NOT_FOUND, format!("{root} is not pinned as `{name}`"))),
        Ok(Err(error)) => Err(events::error(StatusCode::INTERNAL_SERVER_ERROR, error)),
        Err(error) => Err(events::error(StatusCode::INTERNAL_SERVER_ERROR, error)),
    }
}

async fn export_car(node: Arc<Inner>, path: &str) -> Routed {
    let root = parse_cid(path.trim_start_matches("/v1/car/"))?;
    let failed = |error: atoll_content::error::ReadError| events::error(StatusCode::NOT_FOUND, error);
    let blocks = Arc::clone(&node.local) as Arc<dyn atoll_core::Blocks>;
    let resolved = reader::resolve::<&str>(&*blocks, &root, &[]).await.map_err(failed)?;
    let stream = export::export(blocks, &resolved, Scope::All).map_err(failed)?;
    let stream = stream.map_err(|error| std::io::Error::other(error.to_string()));
    Ok(events::streamed("application/vnd.ipld.car; version=1; order=dfs; dups=n", stream))
}

async fn ls(node: Arc<Inner>, path: &str) -> Routed {
    let decoded = percent_encoding::percent_decode_str(path.trim_start_matches("/v1/ls/")).decode_utf8();
    let decoded = decoded.map_err(|_| events::error(StatusCode::BAD_REQUEST, "the path is not UTF-8"))?;
    let mut segments = decoded.split('/').filter(|segment| !segment.is_empty());
    let root = parse_cid(segments.next().unwrap_or_default())?;
    let segments: Vec<&str> = segments.collect();
    let failed = |error: atoll_content::error::ReadError| events::error(StatusCode::NOT_FOUND, error);
    let blocks = Arc::clone(&node.anywhere) as Arc<dyn atoll_core::Blocks>;
    let resolved = reader::resolve(&*blocks, &root, &segments).await.map_err(failed)?;
    let mut stream = reader::list(blocks, &resolved);
    let mut entries = Vec::new();
    while let Some(entry) = stream.next().await {
        let entry = entry.map_err(failed)?;
        entries.push(Entry { name: entry.name, cid: entry.cid.to_string(), size: entry.tsize.unwrap_or(0) });
        if entries.len() > ENTRIES_MAX {
            return Err(events::error(StatusCode::BAD_REQUEST, "the directory has over a million entries"));
        }
    }
    Ok(events::json(&entries))
}

/// A whole small body.
pub(super) async fn read(body: Incoming) -> Result<Bytes, Response<Body>> {
    let collected = Limited::new(body, BODY_BYTES_MAX).collect().await;
    collected.map(|body| body.to_bytes()).map_err(|error| events::error(StatusCode::BAD_REQUEST, error))
}

pub(super) async fn read_json<T: DeserializeOwned>(body: Incoming) -> Result<T, Response<Body>> {
    let bytes = read(body).await?;
    serde_json::from_slice(&bytes).map_err(|error| events::error(StatusCode::BAD_REQUEST, error))
}

fn parse_cid(text: &str) -> Result<Cid, Response<Body>> {
    text.parse().map_err(|_| events::error(StatusCode::BAD_REQUEST, format!("`{text}` is not a CID")))
}
