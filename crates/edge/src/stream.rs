//! A client's TCP stream as the HTTP parser sees it: guarded, and with its activity noted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::activity::Activity;
use crate::guard::Watch;

/// A watched stream.
pub(crate) struct ClientStream {
    tcp: TcpStream,
    /// What was read of it before it came here.
    already: Bytes,
    activity: Arc<Activity>,
    watch: Option<Box<dyn Watch>>,
    refused: bool,
}

impl ClientStream {
    pub(crate) fn new(tcp: TcpStream, already: Bytes, activity: Arc<Activity>, watch: Option<Box<dyn Watch>>) -> Self {
        Self { tcp, already, activity, watch, refused: false }
    }

    /// Whether the guard refused bytes of it.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    pub(crate) fn into_tcp(self) -> TcpStream {
        self.tcp
    }

    /// Notes what came of writing.
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.activity.stall(),
            Poll::Ready(Ok(bytes)) => self.activity.take(*bytes),
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.refused {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        if self.already.is_empty() {
            std::task::ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        } else {
            let len = self.already.len().min(buf.remaining());
            buf.put_slice(&self.already.split_to(len));
        }
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.activity.received();
        if let Some(Err(cause)) = self.watch.as_mut().map(|watch| watch.inspect(fresh)) {
            tracing::debug!(%cause, "request refused");
            self.refused = true;
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, cause)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.activity.flushed();
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refused {
            // The client is still to be told.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
