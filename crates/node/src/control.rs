//! The node's own HTTP: one router behind two doors. The Unix socket is its owner's and may do everything; the admin
//! listener shows status, metrics and health to whoever reaches it, and does the rest for who has the token.

mod certs;
mod door;
mod events;
mod intake;
mod jobs;
mod names;
mod origins;
mod pinning;
mod purge;
mod purges;
mod routes;
mod takeover;
mod upload;

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};

pub(crate) use door::Door;
pub(crate) use events::Reporter;

use crate::node::Inner;

/// Connections at once, each door.
const CONNECTIONS_MAX: usize = 64;
/// Time for the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Serves the CLI's socket until `stop` changes.
pub(crate) async fn serve_socket(listener: UnixListener, node: Arc<Inner>, stop: watch::Receiver<bool>) {
    serve(move |cx| listener.poll_accept(cx).map_ok(|(stream, _)| stream), node, Door::Socket, stop).await;
}

/// Serves the admin listener until `stop` changes.
pub(crate) async fn serve_admin(listener: TcpListener, node: Arc<Inner>, door: Door, stop: watch::Receiver<bool>) {
    serve(move |cx| listener.poll_accept(cx).map_ok(|(stream, _)| stream), node, door, stop).await;
}

/// Serves what `accept` gives, behind `door`.
async fn serve<S>(
    accept: impl Fn(&mut Context<'_>) -> Poll<std::io::Result<S>>,
    node: Arc<Inner>,
    door: Door,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let door = Arc::new(door);
    loop {
        let accepted = tokio::select! {
            accepted = std::future::poll_fn(&accept) => accepted,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok(stream) => spawn(stream, &node, &door, &places),
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Binds the CLI's socket for its owner only. A socket that nobody listens on is what a crash left, and is replaced.
///
/// # Errors
/// Those of the file system; `AddrInUse` when a node listens there.
pub(crate) async fn bind_socket(path: &Path) -> std::io::Result<UnixListener> {
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        return Err(std::io::ErrorKind::AddrInUse.into());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves one connection, when there is a place for it.
fn spawn<S>(stream: S, node: &Arc<Inner>, door: &Arc<Door>, places: &Arc<Semaphore>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(place) = Arc::clone(places).try_acquire_owned() else { return };
    let (node, door) = (Arc::clone(node), Arc::clone(door));
    tokio::spawn(async move {
        let service = service_fn(move |request| {
            let (node, door) = (Arc::clone(&node), Arc::clone(&door));
            async move { Ok::<_, Infallible>(answer(node, &door, request).await) }
        });
        let mut server = hyper::server::conn::http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(64 * 1024);
        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await {
            tracing::debug!(%error, "an admin connection ended");
        }
        drop(place);
    });
}

/// One request through its door.
async fn answer(node: Arc<Inner>, door: &Door, request: Request<Incoming>) -> Response<Body> {
    match door.admit(&request) {
        Ok(()) if takeover::is_asked(&request) => takeover::answer(&node, door, request),
        Ok(()) => routes::route(node, request).await,
        Err(refusal) => refusal,
    }
}

/// Out of descriptors, say: waiting lets connections end.
async fn pause_after(error: &std::io::Error) {
    tracing::warn!(%error, "an admin connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
