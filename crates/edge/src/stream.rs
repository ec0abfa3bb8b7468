//! A client's stream as the HTTP parser sees it, plain or within TLS: guarded, with its activity noted, and sending sealed bytes
//! uncopied where the kernel can.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use atoll_sealed::Sealed;
use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::activity::Activity;
use crate::client::Client;
use crate::config::Http2;
use crate::guard::Guard;
use crate::http2::frames::Frames;
use crate::sending::Sending;
use crate::tls::gate::{self, Gate};

/// A watched stream.
pub(crate) struct ClientStream {
    socket: Socket,
    /// What was read of it before it came here.
    already: Bytes,
    activity: Arc<Activity>,
    watched: Watched,
    refused: bool,
    /// Whether what is written stays here until there is enough of it, or [`ClientStream::poll_release`].
    gathers: bool,
    sending: Arc<Sending>,
    /// What is being sent, until all that was to be written is.
    sealed: Option<Arc<Sealed>>,
    /// What goes before an answer, as far as it is not sent.
    interim: Bytes,
}

/// What a client's bytes come over.
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<Gate>>),
}

/// What a client's bytes are looked at for, before they are parsed.
pub(crate) enum Watched {
    Http1(Guard),
    Http2(Box<Frames>),
}

impl Watched {
    pub(crate) fn http1() -> Self {
        Self::Http1(Guard::default())
    }

    pub(crate) fn http2(limits: Http2) -> Self {
        Self::Http2(Box::new(Frames::new(limits)))
    }

    /// What is wrong with the next bytes.
    fn fault(&mut self, bytes: &[u8]) -> Option<Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::Http1(guard) => guard.inspect(bytes).err().map(Into::into),
            Self::Http2(frames) => frames.inspect(bytes).err().map(Into::into),
        }
    }
}

/// Parts of an answer that are at most so many bytes together are joined.
const JOINED_BYTES_MAX: usize = 4 * 1024;

thread_local! {
    /// Where they are.
    static JOINED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(JOINED_BYTES_MAX));
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
    pub(crate) fn new(socket: Socket, already: Bytes, watched: Watched, client: &Client) -> Self {
        let (activity, sending) = (Arc::clone(&client.activity), Arc::clone(&client.sending));
        Self {
            socket,
            already,
            activity,
            watched,
            refused: false,
            gathers: false,
            sending,
            sealed: None,
            interim: Bytes::new(),
        }
    }

    /// From now on it keeps what it is given within TLS, until there is enough of it or [`ClientStream::poll_release`].
    pub(crate) fn gather(&mut self) {
        if let Socket::Tls(tls) = &mut self.socket {
            gate::limit(tls);
            self.gathers = true;
        }
    }

    /// Sends what is kept.
    pub(crate) fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Writes the first of `bufs`.
    fn poll_write_bufs(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let (Watched::Http1(guard), Some(first)) = (&mut self.watched, bufs.first()) {
            guard.answer(first);
        }
        let next = self.sending.take();
        let tcp = match &mut self.socket {
            Socket::Plain(tcp) => tcp,
            Socket::Tls(tls) if self.gathers => return gate::poll_gather(tls, cx, bufs),
            Socket::Tls(tls) => return Pin::new(tls).poll_write_vectored(cx, bufs),
        };
        if next.is_some() {
            self.sealed = next;
        }
        let sealed = self.sealed.as_deref();
        match sealed.and_then(|sealed| Uncopied::of(sealed, bufs)) {
            Some(uncopied) => uncopied.poll_send(tcp, cx),
            None => poll_write_parts(tcp, cx, bufs),
        }
    }

    /// Writes what goes before an answer. It is taken up only in `poll_flush`, when nothing else is on its way.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Whether bytes of it were refused before they were parsed.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Who counted the frames, if that is who refused them.
    pub(crate) fn faulty(&self) -> Option<&Frames> {
        match &self.watched {
            Watched::Http2(frames) if self.refused => Some(frames),
            _ => None,
        }
    }

    /// What is below it.
    pub(crate) fn tcp(&self) -> &TcpStream {
        self.socket.tcp()
    }

    pub(crate) fn into_socket(self) -> Socket {
        self.socket
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

/// Writes parts. One is less ado for the kernel than a list of them, and so little is soon copied.
fn poll_write_parts(tcp: &mut TcpStream, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    let tcp = Pin::new(tcp);
    match parts {
        [one] => tcp.poll_write(cx, one),
        parts if parts.iter().map(|part| part.len()).sum::<usize>() > JOINED_BYTES_MAX => {
            tcp.poll_write_vectored(cx, parts)
        }
        parts => JOINED.with_borrow_mut(|joined| {
            joined.clear();
            parts.iter().for_each(|part| joined.extend_from_slice(part));
            tcp.poll_write(cx, joined)
        }),
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
            ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        } else {
            let len = self.already.len().min(buf.remaining());
            buf.put_slice(&self.already.split_to(len));
        }
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.activity.received();
        if let Some(cause) = self.watched.fault(fresh) {
            tracing::debug!(%cause, "bytes refused");
            self.refused = true;
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, cause)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = match self.poll_interim(cx) {
            Poll::Ready(Ok(())) => self.poll_write_bufs(cx, &[IoSlice::new(buf)]),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match self.poll_interim(cx) {
            Poll::Ready(Ok(())) => self.poll_write_bufs(cx, bufs),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.activity.flushed();
        // All is with the kernel, which keeps the pages that it needs.
        self.sealed = None;
        if self.interim.is_empty() {
            self.interim = self.sending.take_interim();
        }
        ready!(self.poll_interim(cx))?;
        if self.gathers {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refused {
            // The client is still to be told.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Socket {
    /// What is below it.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0.tcp(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
