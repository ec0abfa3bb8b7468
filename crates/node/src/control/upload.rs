//! CARs that are uploaded: every block verified as it comes, roots pinned when all below them is there, or none of them. What
//! was stored of a CAR that failed is collected like all that nobody pinned. A crash loses what was not pinned yet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use atoll_core::{Cid, Storage};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::routes::Routed;
use super::{Reporter, events};
use crate::api::CarImported;
use crate::node::Inner;
use crate::work::{self, blocking};

/// Chunks of a CAR that wait to be written.
const CHUNKS_MAX: usize = 16;
/// How long an upload may send nothing.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How long an upload may take.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// How often an upload reports.
const REPORT: Duration = Duration::from_millis(200);

/// `POST /v1/car`, with `?name=` for the pin; without, nothing is pinned.
pub(super) fn car(node: Arc<Inner>, headers: &HeaderMap, query: Option<&str>, body: Incoming) -> Routed {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > node.upload_bytes_max) {
        return Err(too_large(&node));
    }
    let name = query.and_then(|query| query.strip_prefix("name="));
    let name = name.map(|name| percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned());
    Ok(events::run(|reporter| import(node, name, body, reporter)))
}

fn too_large(node: &Inner) -> Response<super::Body> {
    events::error(StatusCode::PAYLOAD_TOO_LARGE, size_error(node.upload_bytes_max))
}

fn size_error(max: u64) -> String {
    format!("the CAR is over {max} bytes (admin.upload_bytes_max)")
}

async fn import(
    node: Arc<Inner>,
    name: Option<String>,
    body: Incoming,
    reporter: Reporter,
) -> Result<CarImported, String> {
    let (chunks, mut taken) = mpsc::channel(CHUNKS_MAX);
    let store = node.local.store().clone();
    let _hold = store.hold();
    let writing =
        tokio::spawn(blocking(move || work::import_car(&store, std::iter::from_fn(move || taken.blocking_recv()))));
    let fed = timeout(TIME_MAX, feed(body, node.upload_bytes_max, &chunks, &reporter)).await;
    drop(chunks);
    // The writer ends with the last chunk. Why the upload ended matters more than that the CAR is then short.
    let loaded = writing.await.map_err(|error| error.to_string())?;
    fed.map_err(|_| format!("the CAR was not complete after {} hours", TIME_MAX.as_secs() / 3600))??;
    let loaded = loaded?;
    if let Some(name) = name {
        pin_all(&node, &loaded.roots, &name).await?;
    }
    let roots = loaded.roots.iter().map(ToString::to_string).collect();
    Ok(CarImported { roots, blocks: loaded.blocks, bytes: loaded.bytes })
}

/// Hands a body over until it ends, or nobody takes it any more, which the writer explains.
async fn feed(
    mut body: Incoming,
    bytes_max: u64,
    chunks: &mpsc::Sender<Bytes>,
    reporter: &Reporter,
) -> Result<(), String> {
    let (mut bytes, mut reported) = (0_u64, Instant::now());
    let late = |_| format!("nothing came for {} s", IDLE_MAX.as_secs());
    while let Some(frame) = timeout(IDLE_MAX, body.frame()).await.map_err(late)? {
        let Ok(chunk) = frame.map_err(|error| format!("the CAR broke off: {error}"))?.into_data() else { continue };
        bytes = bytes.saturating_add(chunk.len() as u64);
        if bytes > bytes_max {
            return Err(size_error(bytes_max));
        }
        if chunks.send(chunk).await.is_err() {
            return Ok(());
        }
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            reporter.progress(&serde_json::json!({ "bytes": bytes }));
        }
    }
    Ok(())
}

/// Pins all of these roots, or none that was not pinned before.
async fn pin_all(node: &Inner, roots: &[Cid], name: &str) -> Result<(), String> {
    let before: Vec<Cid> =
        node.local.store().pins().into_iter().filter(|pin| pin.name == name).map(|pin| pin.cid).collect();
    for (at, root) in roots.iter().enumerate() {
        let Err(error) = Storage::pin(&*node.local, root, name).await else { continue };
        for done in roots.iter().take(at).filter(|done| !before.contains(done)) {
            Storage::unpin(&*node.local, done, name).await.map_err(|error| error.to_string())?;
        }
        return Err(format!("{error} of the DAG under {root}: nothing is pinned"));
    }
    Ok(())
}
