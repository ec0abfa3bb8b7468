//! What members say to each other, over streams of their own: one question and one answer, each as dag-cbor up to the end of
//! its side of the stream (`docs/formats.md`, "Messages").

use std::io;
use std::time::Duration;

use atoll_core::transport::{MESSAGE_BYTES_MAX, Request, Response, decode, encode};
use futures_util::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::StreamProtocol;
use libp2p::request_response::{self, ProtocolSupport};
use serde::{Deserialize, Serialize};

/// The protocol's name.
pub(crate) const PROTOCOL: &str = "/atoll/member/1.0.0";
/// How long a question and its answer may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// The most questions and answers under way over one connection.
const STREAMS_MAX: usize = 32;

/// Questions and answers.
pub(crate) type Behaviour = request_response::Behaviour<Codec>;
/// What becomes of them.
pub(crate) type Event = request_response::Event<Request, Response>;
/// Where an answer goes.
pub(crate) type Channel = request_response::ResponseChannel<Response>;

pub(crate) fn behaviour(protocol: StreamProtocol) -> Behaviour {
    let config =
        request_response::Config::default().with_request_timeout(TIMEOUT).with_max_concurrent_streams(STREAMS_MAX);
    Behaviour::with_codec(Codec, [(protocol, ProtocolSupport::Full)], config)
}

/// Reads and writes messages.
#[derive(Clone)]
pub(crate) struct Codec;

async fn read<M, T>(from: &mut T) -> io::Result<M>
where
    M: for<'de> Deserialize<'de>,
    T: AsyncRead + Unpin + Send,
{
    let mut bytes = Vec::new();
    from.take(MESSAGE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await?;
    decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn write<M, T>(to: &mut T, message: &M) -> io::Result<()>
where
    M: Serialize + Sync,
    T: AsyncWrite + Unpin + Send,
{
    let bytes = encode(message).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    to.write_all(&bytes).await
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Response;

    async fn read_request<T>(&mut self, _protocol: &StreamProtocol, io: &mut T) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _protocol: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(&mut self, _protocol: &StreamProtocol, io: &mut T, request: Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &request).await
    }

    async fn write_response<T>(&mut self, _protocol: &StreamProtocol, io: &mut T, response: Response) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &response).await
    }
}
