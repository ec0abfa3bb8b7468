//! Importing for the CLI: from a path that the node reads itself, or from the body of a request. A crash loses what was not
//! pinned yet.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atoll_content::import::{Options, Progress, Source};
use atoll_content::kubo::Taken;
use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::Reporter;
use crate::api::{Imported, KuboImported, StreamKind, StreamRequest};
use crate::kubo;
use crate::node::Inner;
use crate::work::{self, blocking};

/// How often an import reports: a terminal cannot show more.
const REPORT: Duration = Duration::from_millis(50);
/// Chunks of a body that wait to be read.
const CHUNKS_MAX: usize = 16;

/// Imports a file or folder and pins it.
pub(super) async fn import(
    node: Arc<Inner>,
    path: PathBuf,
    options: Options,
    name: String,
    reporter: Reporter,
) -> Result<Imported, String> {
    let store = node.local.store().clone();
    blocking(move || work::import(&store, Source::Path(&path), options, Some(&name), &reporting(reporter))).await
}

/// Takes over a repository of Kubo.
pub(super) async fn import_kubo(node: Arc<Inner>, dir: PathBuf, reporter: Reporter) -> Result<KuboImported, String> {
    let report = reporting(reporter);
    let progress = move |taken: &Taken| report(Progress { files: taken.blocks, bytes: taken.bytes });
    kubo::import(&node.local, dir, progress).await
}

/// Imports the body of a request and pins it.
pub(super) async fn import_stream(
    node: Arc<Inner>,
    request: StreamRequest,
    options: Options,
    body: Incoming,
    reporter: Reporter,
) -> Result<Imported, String> {
    let (chunks, taken) = mpsc::channel(CHUNKS_MAX);
    let store = node.local.store().clone();
    let working = tokio::spawn(blocking(move || {
        let mut reader = BodyReader { chunks: taken, rest: Bytes::new() };
        let source = match &request.kind {
            StreamKind::File(name) => Source::Stream(&mut reader, name.as_deref()),
            StreamKind::Tar => Source::Tar(&mut reader),
        };
        work::import(&store, source, options, Some(&request.name), &reporting(reporter))
    }));
    feed(body, &chunks).await;
    drop(chunks);
    working.await.map_err(|error| error.to_string())?
}

/// Hands a body over until it ends, breaks off, or nobody takes it any more.
async fn feed(mut body: Incoming, chunks: &mpsc::Sender<io::Result<Bytes>>) {
    while let Some(frame) = body.frame().await {
        let chunk = match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(_)) => continue,
            // Without it, what broke off would look whole.
            Err(error) => Err(io::Error::other(format!("the body broke off: {error}"))),
        };
        if chunks.send(chunk).await.is_err() {
            return;
        }
    }
}

/// Tells whoever waits how far an import is, now and then.
fn reporting(reporter: Reporter) -> impl Fn(Progress) + Send {
    let reported = std::cell::Cell::new(Instant::now());
    move |now: Progress| {
        if reported.get().elapsed() >= REPORT {
            reported.set(Instant::now());
            reporter.progress(&serde_json::json!({ "files": now.files, "bytes": now.bytes }));
        }
    }
}

/// A body, read on a thread for blocking work.
struct BodyReader {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            let Some(chunk) = self.chunks.blocking_recv() else { return Ok(0) };
            self.rest = chunk?;
        }
        let len = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(buffer.get_mut(..len).unwrap_or_default());
        Ok(len)
    }
}
