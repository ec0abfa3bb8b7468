//! One connection, plain or with TLS, between its first byte and its end. Limits of time are kept by the sweep in `activity`.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::{Request, Response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::activity::Activity;
use crate::body::Body;
use crate::client::Client;
use crate::draining::{self, Drained};
use crate::http2;
use crate::incoming::Incoming;
use crate::linger;
use crate::pipeline::{self, Answering};
use crate::proxied;
use crate::stream::{ClientStream, Socket, Watched};
use crate::tls::Protocol;
use crate::tunnel;

/// What a client whose bytes were refused before parsing is told.
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
/// Where authorities look for what shows that a name leads here (RFC 8555, section 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// The largest buffer of a connection, in bytes.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Serves a connection until it ends, or until the listener ends and its request is answered.
pub(crate) async fn serve(mut tcp: TcpStream, mut client: Client, activity: Arc<Activity>, mut draining: Drained) {
    // Nothing is set up before the client says something: a connection that never does costs almost nothing.
    // Peeking waits for bytes; readiness alone is reported once for every new connection.
    let Some(mut first) = first_byte(&tcp, &mut draining).await else { return };
    if client.gateway.is_balancer(client.ticket.ip()) {
        if !Box::pin(learn_whose(&mut tcp, &mut client)).await {
            return;
        }
        let Some(next) = first_byte(&tcp, &mut draining).await else { return };
        first = next;
    }
    if client.secure {
        return Box::pin(serve_tls(tcp, client, activity, draining)).await;
    }
    let already = match first {
        tunnel::FIRST_BYTE => Box::pin(tunnel::open(&mut tcp, &client.gateway, &activity)).await,
        _ => Some(Bytes::new()),
    };
    if let Some(already) = already {
        let stream = ClientStream::new(Socket::Plain(tcp), already, Watched::http1(), &client);
        Box::pin(speak(stream, client, activity, draining)).await;
    }
}

/// Waits for a byte, which stays to be read; `None` at the end.
async fn first_byte(tcp: &TcpStream, draining: &mut Drained) -> Option<u8> {
    let mut first = [0];
    tokio::select! {
        peeked = tcp.peek(&mut first) => peeked.is_ok_and(|bytes| bytes > 0).then_some(first[0]),
        () = draining::now(draining) => None,
    }
}

/// Has a load balancer say whose connection it is; `false` if it does not, or there is no place for that client.
async fn learn_whose(tcp: &mut TcpStream, client: &mut Client) -> bool {
    let said = match timeout(client.gateway.timeouts.head, proxied::read(tcp)).await {
        Ok(Ok(said)) => said,
        Ok(Err(cause)) => {
            tracing::debug!(%cause, balancer = %client.ticket.ip(), "a connection is closed");
            return false;
        }
        Err(_) => return false,
    };
    said.is_none_or(|ip| client.speaks_for(ip).is_ok())
}

/// Shakes hands, and goes on as both sides agreed.
async fn serve_tls(tcp: TcpStream, client: Client, activity: Arc<Activity>, draining: Drained) {
    let Some((tls, protocol)) = client.gateway.tls.accept(tcp).await else { return };
    let socket = Socket::Tls(Box::new(tls));
    match protocol {
        Protocol::Http1 => {
            let stream = ClientStream::new(socket, Bytes::new(), Watched::http1(), &client);
            Box::pin(speak(stream, client, activity, draining)).await;
        }
        Protocol::Http2 => {
            activity.multiplex();
            let watched = Watched::http2(client.gateway.http2.clone());
            let stream = ClientStream::new(socket, Bytes::new(), watched, &client);
            Box::pin(http2::speak(stream, client, draining)).await;
        }
    }
}

/// HTTP/1.1 on a connection that has something to read. While it rests, nothing is kept of it but the socket.
async fn speak(mut stream: ClientStream, client: Client, activity: Arc<Activity>, mut draining: Drained) {
    let client = Arc::new(client);
    while let Some(resting) = Box::pin(converse(stream, &client, &activity, &mut draining)).await {
        stream = resting;
        let counted = Resting::count(&client.gateway.resting);
        let next = first_byte(stream.tcp(), &mut draining).await;
        drop(counted);
        if next.is_none() {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

/// Counts a connection as long as it rests.
struct Resting<'a>(&'a AtomicUsize);

impl<'a> Resting<'a> {
    fn count(resting: &'a AtomicUsize) -> Self {
        resting.fetch_add(1, Ordering::Relaxed);
        Self(resting)
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a connection takes no more requests.
#[derive(PartialEq, Eq)]
enum Over {
    /// The listener ends.
    Drained,
    /// None came for a while.
    Rested,
}

/// HTTP/1.1 until the connection ends, or rests: then it is handed back.
async fn converse(
    stream: ClientStream,
    client: &Arc<Client>,
    activity: &Activity,
    draining: &mut Drained,
) -> Option<ClientStream> {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).max_header_size(client.gateway.head_bytes_max).max_buf_size(BUFFER_BYTES_MAX);
    // Not `pipeline_flush`: it copies bodies into one buffer, and lets answers to pipelined requests pile up there.
    http.writev(true);
    let service = service_fn(|request: Request<hyper::body::Incoming>| answer(client, request.map(Incoming::from)));
    let mut connection = http.serve_connection(TokioIo::new(stream), service);
    // Polled when it has something to say, not each time the connection goes on.
    let mut over = FuturesUnordered::from_iter([async {
        tokio::select! {
            biased;
            () = draining::now(draining) => Over::Drained,
            () = activity.rested() => Over::Rested,
        }
    }]);
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        Some(over) = over.next() => {
            // Between requests this ends at once, with nothing sent; else after the request that has just begun.
            Pin::new(&mut connection).graceful_shutdown();
            if over == Over::Rested
                && let Poll::Ready(Ok(())) = poll_fn(|cx| Poll::Ready(connection.poll_without_shutdown(cx))).await
            {
                let parts = connection.into_parts();
                return parts.read_buf.is_empty().then(|| parts.io.into_inner());
            }
            (&mut connection).await
        }
    };
    if let Err(cause) = ended {
        tracing::debug!(%cause, "connection failed");
    }
    let parts = connection.into_parts();
    let stream = parts.io.into_inner();
    match client.switched().filter(|_| !stream.is_refused()) {
        Some(switched) => Box::pin(switched.run(stream, parts.read_buf)).await,
        None => tell(stream, activity).await,
    }
    None
}

/// Answers a request, over whichever protocol it came.
pub(crate) fn answer(client: &Arc<Client>, request: Request<Incoming>) -> Answering {
    if let Some(token) = request.uri().path().strip_prefix(CHALLENGES)
        && let Some(file) = client.gateway.services.certificates.challenges().file(token)
    {
        // An authority asks whether this name leads here; nothing stands before that.
        return Answering::ready(Response::new(Body::one(file.into())));
    }
    pipeline::answer(client, request)
}

/// Tells a client that its connection did not end well, if HTTP could not.
async fn tell(stream: ClientStream, activity: &Activity) {
    let refused = stream.is_refused();
    let mut socket = stream.into_socket();
    if activity.is_broken() {
        // A reset tells the part from a whole.
        let _ = socket.tcp().set_zero_linger();
    } else if refused && !activity.is_busy() {
        let _ = socket.write_all(BAD_REQUEST).await;
        linger::close(socket).await;
    }
}
