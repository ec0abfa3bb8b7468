//! A client's TCP stream as the HTTP parser sees it: guarded, with its activity noted, and sending sealed bytes uncopied.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use atoll_sealed::Sealed;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::activity::Activity;
use crate::guard::Watch;
use crate::sending::Sending;

/// A watched stream.
pub(crate) struct ClientStream {
    tcp: TcpStream,
    /// What was read of it before it came here.
    already: Bytes,
    activity: Arc<Activity>,
    watch: Option<Box<dyn Watch>>,
    refused: bool,
    sending: Arc<Sending>,
    /// What is being sent, until all that was to be written is.
    sealed: Option<Arc<Sealed>>,
}

/// Bytes that are to be written, of which the last are sealed.
struct Uncopied<'a> {
    sealed: &'a Sealed,
    head: Option<&'a [u8]>,
    /// Where they begin in their file.
    offset: u64,
    len: usize,
}

impl ClientStream {
    pub(crate) fn new(
        tcp: TcpStream,
        already: Bytes,
        activity: Arc<Activity>,
        watch: Option<Box<dyn Watch>>,
        sending: Arc<Sending>,
    ) -> Self {
        Self { tcp, already, activity, watch, refused: false, sending, sealed: None }
    }

    /// Writes the first of `bufs`.
    fn poll_write_bufs(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(next) = self.sending.take() {
            self.sealed = Some(next);
        }
        let sealed = self.sealed.as_deref();
        match sealed.and_then(|sealed| Uncopied::of(sealed, bufs)) {
            Some(uncopied) => uncopied.poll_send(&self.tcp, cx),
            None => Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs),
        }
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

impl<'a> Uncopied<'a> {
    /// `None` if neither the first nor the second of `bufs` is of that file.
    fn of(sealed: &'a Sealed, bufs: &'a [IoSlice<'_>]) -> Option<Self> {
        let (first, second) = (bufs.first()?, bufs.get(1));
        if let Some(offset) = sealed.offset_of(first) {
            return Some(Self { sealed, head: None, offset, len: first.len() });
        }
        let second = second?;
        Some(Self { sealed, head: Some(first), offset: sealed.offset_of(second)?, len: second.len() })
    }

    fn poll_send(&self, tcp: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let send = || match self.head {
            Some(head) => self.sealed.send_after(head, tcp, self.offset, self.len),
            None => self.sealed.send(tcp, self.offset, self.len),
        };
        loop {
            ready!(tcp.poll_write_ready(cx))?;
            match tcp.try_io(Interest::WRITABLE, send) {
                // The stream was not ready after all, and knows that now.
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.refused {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        if self.already.is_empty() {
            ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
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
        let written = self.poll_write_bufs(cx, &[IoSlice::new(buf)]);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.poll_write_bufs(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.activity.flushed();
        // All is with the kernel, which keeps the pages that it needs.
        self.sealed = None;
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
