//! The socket below TLS, which can be shut for a moment: records then gather where they were made, and leave several at a time.
//!
//! HTTP/2 hands its frames over one by one, and flushes each. A call of the system, a packet and its acknowledgement for each
//! record cost more than the record itself. A crash loses what was gathered.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The most of a record that is not its content: its head, its tag and its type (RFC 8446, section 5.2), in bytes.
const RECORD_MORE_BYTES: usize = 5 + 16 + 1;
/// The content of the largest record (RFC 8446, section 5.1), in bytes.
pub(crate) const RECORD_BYTES_MAX: usize = 16 * 1024;
/// Records that are gathered before some are sent.
const RECORDS_MAX: usize = 4;

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    tcp: TcpStream,
    shut: bool,
}

impl Gate {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, shut: false }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

/// Has a connection gather no more than what [`poll_gather`] is to send at once.
pub(crate) fn limit(tls: &mut TlsStream<Gate>) {
    tls.get_mut().1.set_buffer_limit(Some(RECORDS_MAX * (RECORD_BYTES_MAX + RECORD_MORE_BYTES)));
}

/// Writes into records that stay here until there are enough of them, or until they are flushed.
pub(crate) fn poll_gather(
    tls: &mut TlsStream<Gate>,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    tls.get_mut().0.shut = true;
    let gathered = Pin::new(&mut *tls).poll_write_vectored(cx, bufs);
    tls.get_mut().0.shut = false;
    match gathered {
        Poll::Ready(written) => Poll::Ready(written),
        // There is no room for more.
        Poll::Pending => {
            ready!(Pin::new(&mut *tls).poll_flush(cx))?;
            Pin::new(tls).poll_write_vectored(cx, bufs)
        }
    }
}

impl AsyncRead for Gate {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gate {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.shut {
            // Nobody waits for it: who shut it opens it before it is polled again.
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.shut {
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
