//! HTTP/2 on a connection whose client chose it by ALPN (RFC 9113). Each request goes down the same pipeline; its limits are those of
//! `gateway.http2`. A crash loses the connection.

pub(crate) mod config;
pub(crate) mod frames;
mod pace;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use crate::body::Body;
use crate::client::Client;
use crate::connection::answer;
use crate::draining::{self, Drained};
use crate::incoming;
use crate::linger;
use crate::stream::ClientStream;
use pace::{PacedBody, Tasks};

/// The largest frame that is taken (`SETTINGS_MAX_FRAME_SIZE`), in bytes: the least there is.
const FRAME_BYTES_MAX: u32 = 16 * 1024;
const KIB: u32 = 1024;

/// Serves a connection until it ends, or until `draining` turns true and its requests are answered.
pub(crate) async fn speak(mut stream: ClientStream, client: Client, mut draining: Drained) {
    let client = Arc::new(client);
    let builder = builder(&client);
    stream.gather();
    let shared = Shared(Arc::new(Mutex::new(TokioIo::new(stream))));
    let service = service_fn(|request| serve(Arc::clone(&client), request));
    let mut connection = Box::pin(builder.serve_connection(shared.clone(), service));
    let ended = tokio::select! {
        ended = poll_fn(|cx| shared.poll_turn(connection.as_mut(), cx)) => ended,
        () = draining::begun(&mut draining) => {
            connection.as_mut().graceful_shutdown();
            poll_fn(|cx| shared.poll_turn(connection.as_mut(), cx)).await
        }
    };
    if let Err(cause) = ended {
        tracing::debug!(%cause, "connection failed");
    }
    drop(connection);
    let Some(stream) = shared.into_stream() else { return };
    let told = stream.faulty().map(frames::Frames::go_away);
    let mut socket = stream.into_socket();
    if let Some(told) = told {
        let _ = socket.write_all(&told).await;
    }
    linger::close(socket).await;
}

fn builder(client: &Client) -> http2::Builder<Tasks> {
    let gateway = &client.gateway;
    let limits = &gateway.http2;
    let mut builder = http2::Builder::new(Tasks(gateway.timeouts.slow_reader));
    // Some sites let connections go on in another protocol (RFC 8441).
    if gateway.services.fronts.may_switch() {
        builder.enable_connect_protocol();
    }
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(gateway.head_bytes_max).unwrap_or(u32::MAX))
        .header_table_size(limits.header_table_bytes)
        .initial_stream_window_size(limits.stream_window_kib.saturating_mul(KIB))
        .initial_connection_window_size(limits.connection_window_kib.saturating_mul(KIB))
        .max_send_buf_size(usize::try_from(limits.send_buffer_kib.saturating_mul(KIB)).unwrap_or(usize::MAX))
        .max_frame_size(FRAME_BYTES_MAX)
        // Resets that the client causes by what it sends are of the same kind (CVE-2025-8671).
        .max_local_error_reset_streams(usize::try_from(limits.resets).unwrap_or(usize::MAX));
    builder
}

async fn serve(client: Arc<Client>, mut request: Request<Incoming>) -> Result<Response<PacedBody>, Infallible> {
    name_host(&mut request);
    let home = incoming::Home::default();
    let request = request.map(|body| incoming::Incoming::lent(body, &home));
    let response = answer(&client, request).await?;
    // Whoever is wrong about the end of the request is told so, not answered; whoever never ends it is answered in time.
    let passed = tokio::time::timeout(client.gateway.timeouts.body, home.pass_over()).await;
    let response = if passed == Ok(false) { response.map(Body::emptied) } else { response };
    Ok(response.map(PacedBody::new))
}

/// Puts the authority where HTTP/1.1 has it (RFC 9113, section 8.3.1). A host beside it must say the same, which the pipeline checks.
pub(crate) fn name_host<B>(request: &mut Request<B>) {
    if request.headers().contains_key(header::HOST) {
        return;
    }
    let authority = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(authority) = authority {
        request.headers_mut().insert(header::HOST, authority);
    }
}

/// A stream that its connection shares with whoever serves that: what was written is sent when a turn of the connection ends, and when
/// it is over, its client can still be told why. One task has both ends.
#[derive(Clone)]
struct Shared(Arc<Mutex<TokioIo<ClientStream>>>);

impl Shared {
    /// A turn of the connection. Whatever it has written leaves at its end.
    fn poll_turn<C: Future>(&self, connection: Pin<&mut C>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let turned = connection.poll(cx);
        if turned.is_pending() {
            // What fails here fails again when the connection next reads or writes.
            let _ = self.poll(|stream| stream.inner_mut().poll_release(cx));
        }
        turned
    }

    fn poll<T>(&self, poll: impl FnOnce(&mut TokioIo<ClientStream>) -> T) -> T {
        poll(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The stream, once the connection is gone.
    fn into_stream(self) -> Option<ClientStream> {
        let stream = Arc::into_inner(self.0)?.into_inner().unwrap_or_else(PoisonError::into_inner);
        Some(stream.into_inner())
    }
}

impl Read for Shared {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        self.poll(|stream| Pin::new(stream).poll_read(cx, buf))
    }
}

impl Write for Shared {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        self.poll(|stream| Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.poll(|stream| Pin::new(stream).poll_flush(cx))
    }

    /// Left to whoever has the stream in the end.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.poll_flush(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.poll(|stream| Pin::new(stream).poll_write_vectored(cx, bufs))
    }
}
