//! The listeners: connections within their limits, and one answer for each request.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::config::Config;
use crate::page;
use crate::service::Inner;

/// Time for the head of a request, and for the next request on a connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a body.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Places for connections, shared by all listeners.
pub(crate) fn places(config: &Config) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(config.connections))
}

/// Takes connections until `stop` changes. Without a place for one, it waits in the system's queue.
pub(crate) async fn run(
    listener: TcpListener,
    service: Arc<Inner>,
    places: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (service, stop) = (Arc::clone(&service), stop.clone());
                tokio::spawn(async move {
                    let _place = place;
                    connection(stream, service, stop).await;
                });
            }
            Err(error) => {
                // Out of descriptors, say: waiting lets connections end.
                tracing::warn!(%error, "a connection for pinning could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, service: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    let answers = service_fn(move |request: Request<Incoming>| {
        let service = Arc::clone(&service);
        async move {
            let (head, body) = request.into_parts();
            Ok::<_, Infallible>(page::answer(&service, head, body).await)
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), answers));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection for pinning ended");
    }
}
