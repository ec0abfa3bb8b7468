//! A connection of quinn as `h3` sees it. Against `h3-quinn`, nothing here panics, frames that `h3` would hold are bounded, and a stream
//! that is dropped before its end is reset, so that no client takes a part for the whole.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ConnectionError, ReadError, StoppedError, VarInt, WriteError};
use tokio::io::ReadBuf;

use super::frames::Frames;

/// What is read of a stream at once, in bytes.
const READ_BYTES: usize = 8 * 1024;
/// The largest frame of a control stream, in bytes.
const CONTROL_BYTES_MAX: usize = 4 * 1024;

/// Something that quinn is to do.
type Doing<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A connection.
pub(crate) struct Connection {
    quinn: quinn::Connection,
    head_bytes_max: usize,
    both: Option<Doing<Result<(quinn::SendStream, quinn::RecvStream), ConnectionError>>>,
    one: Option<Doing<Result<quinn::RecvStream, ConnectionError>>>,
    opening: Option<Doing<Result<quinn::SendStream, ConnectionError>>>,
}

impl Connection {
    pub(super) fn new(quinn: quinn::Connection, head_bytes_max: usize) -> Self {
        Self { quinn, head_bytes_max, both: None, one: None, opening: None }
    }

    fn receiving(&self, stream: quinn::RecvStream, frames: Frames) -> Receiving {
        Receiving { stream, frames, connection: self.quinn.clone() }
    }
}

/// Goes on with what is being done, or begins it.
fn poll<T>(doing: &mut Option<Doing<T>>, begin: impl FnOnce() -> Doing<T>, cx: &mut Context<'_>) -> Poll<T> {
    let done = ready!(doing.get_or_insert_with(begin).as_mut().poll(cx));
    *doing = None;
    Poll::Ready(done)
}

impl quic::Connection<Bytes> for Connection {
    type RecvStream = Receiving;
    type OpenStreams = Opening;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Receiving, ConnectionErrorIncoming>> {
        let quinn = self.quinn.clone();
        let stream = ready!(poll(&mut self.one, || Box::pin(async move { quinn.accept_uni().await }), cx));
        let stream = stream.map_err(lost)?;
        Poll::Ready(Ok(self.receiving(stream, Frames::of_control(CONTROL_BYTES_MAX))))
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both, ConnectionErrorIncoming>> {
        let quinn = self.quinn.clone();
        let streams = ready!(poll(&mut self.both, || Box::pin(async move { quinn.accept_bi().await }), cx));
        let (send, receive) = streams.map_err(lost)?;
        let receive = self.receiving(receive, Frames::of_request(self.head_bytes_max));
        Poll::Ready(Ok(Both { send: Sending::new(send), receive }))
    }

    fn opener(&self) -> Opening {
        Opening(Self::new(self.quinn.clone(), self.head_bytes_max))
    }
}

impl quic::OpenStreams<Bytes> for Connection {
    type BidiStream = Both;
    type SendStream = Sending;

    /// Servers open none.
    fn poll_open_bidi(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Both, StreamErrorIncoming>> {
        Poll::Ready(Err(StreamErrorIncoming::Unknown("a server opens no requests".into())))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Sending, StreamErrorIncoming>> {
        let quinn = self.quinn.clone();
        let stream = ready!(poll(&mut self.opening, || Box::pin(async move { quinn.open_uni().await }), cx));
        Poll::Ready(stream.map(Sending::new).map_err(|error| of_stream(lost(error))))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.quinn.close(number(code.value()), reason);
    }
}

/// What opens streams.
pub(crate) struct Opening(Connection);

impl quic::OpenStreams<Bytes> for Opening {
    type BidiStream = Both;
    type SendStream = Sending;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both, StreamErrorIncoming>> {
        self.0.poll_open_bidi(cx)
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Sending, StreamErrorIncoming>> {
        self.0.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.0.close(code, reason);
    }
}

/// The stream of a request.
pub(crate) struct Both {
    send: Sending,
    receive: Receiving,
}

impl quic::BidiStream<Bytes> for Both {
    type SendStream = Sending;
    type RecvStream = Receiving;

    fn split(self) -> (Sending, Receiving) {
        (self.send, self.receive)
    }
}

impl quic::RecvStream for Both {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.receive.poll_data(cx)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.receive.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.receive.recv_id()
    }
}

impl quic::SendStream<Bytes> for Both {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.send.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

/// What is sent on a stream.
pub(crate) struct Sending {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
    /// There once all was handed over: until the client has it.
    arriving: Option<Doing<Result<Option<VarInt>, StoppedError>>>,
    is_over: bool,
}

impl Sending {
    fn new(stream: quinn::SendStream) -> Self {
        Self { stream, writing: None, arriving: None, is_over: false }
    }
}

impl quic::SendStream<Bytes> for Sending {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(data) = self.writing.as_mut().filter(|data| data.has_remaining()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data.chunk()));
            data.advance(written.map_err(unwritten)?);
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            let cause = "a part is handed over before the last was sent".to_owned();
            return Err(of_stream(ConnectionErrorIncoming::InternalError(cause)));
        }
        self.writing = Some(data.into());
        Ok(())
    }

    /// Over once the client has all of it: a connection that is closed before loses what is on its way.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if self.arriving.is_none() {
            self.stream.finish().map_err(|error| StreamErrorIncoming::Unknown(error.into()))?;
            self.is_over = true;
        }
        let stream = &self.stream;
        match ready!(poll(&mut self.arriving, || Box::pin(stream.stopped()), cx)) {
            Ok(None) => Poll::Ready(Ok(())),
            Ok(Some(code)) => Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() })),
            Err(StoppedError::ConnectionLost(error)) => Poll::Ready(Err(of_stream(lost(error)))),
            Err(error @ StoppedError::ZeroRttRejected) => Poll::Ready(Err(StreamErrorIncoming::Unknown(error.into()))),
        }
    }

    fn reset(&mut self, reset_code: u64) {
        self.is_over = true;
        // It may be over already.
        let _ = self.stream.reset(number(reset_code));
    }

    fn send_id(&self) -> StreamId {
        id(self.stream.id())
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = self.stream.reset(number(Code::H3_INTERNAL_ERROR.value()));
        }
    }
}

/// What is received on a stream.
pub(crate) struct Receiving {
    stream: quinn::RecvStream,
    frames: Frames,
    connection: quinn::Connection,
}

impl quic::RecvStream for Receiving {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let mut place = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut place);
        ready!(self.stream.poll_read_buf(cx, &mut read)).map_err(unread)?;
        let bytes = read.filled();
        if let Err(excessive) = self.frames.inspect(bytes) {
            tracing::debug!(%excessive, "a connection over HTTP/3 ends");
            let code = Code::H3_EXCESSIVE_LOAD.value();
            self.connection.close(number(code), b"");
            return Poll::Ready(Err(of_stream(ConnectionErrorIncoming::ApplicationClose { error_code: code })));
        }
        Poll::Ready(Ok((!bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes))))
    }

    fn stop_sending(&mut self, error_code: u64) {
        // It may be over already.
        let _ = self.stream.stop(number(error_code));
    }

    fn recv_id(&self) -> StreamId {
        id(self.stream.id())
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        // What is left of a body that nobody read (RFC 9114, section 4.1).
        let _ = self.stream.stop(number(Code::H3_NO_ERROR.value()));
    }
}

pub(super) fn number(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

#[expect(clippy::expect_used, reason = "quinn has no stream whose number is not one")]
fn id(stream: quinn::StreamId) -> StreamId {
    StreamId::try_from(VarInt::from(stream).into_inner()).expect("a number below 2^62")
}

fn of_stream(connection_error: ConnectionErrorIncoming) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error }
}

fn lost(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into_inner() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        other => ConnectionErrorIncoming::Undefined(Arc::new(other)),
    }
}

fn unread(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::Reset(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        ReadError::ConnectionLost(error) => of_stream(lost(error)),
        other => StreamErrorIncoming::Unknown(other.into()),
    }
}

fn unwritten(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        WriteError::ConnectionLost(error) => of_stream(lost(error)),
        other => StreamErrorIncoming::Unknown(other.into()),
    }
}
