//! HTTP/3 (RFC 9114), beta: each request goes down the same pipeline; its limits are those of `gateway.http3`. One worker has all
//! connections, so that a client that changes its address still reaches its own. A crash loses the connections.

mod cid;
pub(crate) mod config;
pub(crate) mod frames;
pub(crate) mod socket;
mod transport;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::select_all;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use h3::error::Code;
use h3::server::{RequestResolver, RequestStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body_util::BodyExt as _;
use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime, TransportConfig};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::activity::Activity;
use crate::body::Body;
use crate::client::Client;
use crate::connection::answer;
use crate::draining::{self, Drained, Draining};
use crate::gateway::Gateway;
use crate::http2::name_host;
use crate::incoming;
use crate::passed::Passed;
use cid::{Ids, Key};
use config::Http3;
use socket::Socket;
pub(crate) use transport::Receiving;
use transport::{Connection, Sending, number};

/// The most of an answer that is handed over at once, in bytes. Whoever takes less within `timeouts.slow_reader` is cut off.
const PART_BYTES_MAX: usize = 16 * 1024;
/// Streams in one direction that a client may have open; it needs three.
const ONE_WAY_MAX: u32 = 8;
/// The time in which requests are counted that clients give up.
const WINDOW: Duration = Duration::from_secs(10);
/// How long a client may take to hear that the connection is left, and the requests that it may begin meanwhile.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_REQUESTS: usize = 1024;
const KIB: u32 = 1024;
/// Fields that belong to a connection over HTTP/1 (RFC 9114, section 4.2).
const OF_CONNECTIONS: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// A socket of HTTP/3, bound.
pub(crate) struct Bound {
    udp: UdpSocket,
    key: Key,
    /// Where connections of the process before are.
    before: Option<(Key, OwnedFd)>,
}

/// Takes connections on its sockets.
pub(crate) struct Quic(Vec<(Endpoint, Arc<Socket>)>);

impl Quic {
    /// Wants to be made within a runtime.
    pub(crate) fn open(bound: Vec<Bound>, gateway: &Gateway) -> io::Result<Self> {
        let mut server = quinn::ServerConfig::with_crypto(gateway.tls.quic());
        server.transport_config(Arc::new(limits(&gateway.http3, gateway.timeouts.idle)));
        let open = |Bound { udp, key, before }| {
            let socket = Socket::new(udp, before)?;
            let mut config = EndpointConfig::default();
            config.cid_generator(move || Box::new(Ids(key)));
            let (server, runtime) = (Some(server.clone()), Arc::new(TokioRuntime));
            let endpoint = Endpoint::new_with_abstract_socket(config, server, Arc::clone(&socket) as _, runtime)?;
            Ok((endpoint, socket))
        };
        Ok(Self(bound.into_iter().map(open).collect::<io::Result<_>>()?))
    }

    /// Another process reads the sockets from now on; what is for connections of this one comes through `channels`.
    pub(crate) fn pass_on(&self, channels: &[OwnedFd]) {
        for ((_, socket), channel) in self.0.iter().zip(channels) {
            if let Err(cause) = channel.try_clone().and_then(|channel| socket.pass_on(channel)) {
                tracing::error!(%cause, "connections over HTTP/3 are lost to the next process");
            }
        }
    }

    /// A connection that a client has begun already.
    pub(crate) fn begun(&self) -> Option<Incoming> {
        self.0.iter().find_map(|(endpoint, _)| endpoint.accept().now_or_never().flatten())
    }

    /// The next connection that a client begins.
    pub(crate) async fn accept(&self) -> Incoming {
        while !self.0.is_empty() {
            let next = self.0.iter().map(|(endpoint, _)| Box::pin(endpoint.accept()));
            if let (Some(incoming), ..) = select_all(next).await {
                return incoming;
            }
        }
        std::future::pending().await
    }

    /// Waits until what was sent last has gone out.
    pub(crate) async fn close(&self) {
        for (endpoint, _) in &self.0 {
            endpoint.close(number(Code::H3_NO_ERROR.value()), b"");
            endpoint.wait_idle().await;
        }
    }
}

fn limits(config: &Http3, idle: Duration) -> TransportConfig {
    let mut limits = TransportConfig::default();
    limits
        .max_concurrent_bidi_streams(config.streams.into())
        .max_concurrent_uni_streams(ONE_WAY_MAX.into())
        .stream_receive_window(config.stream_window_kib.saturating_mul(KIB).into())
        .receive_window(config.connection_window_kib.saturating_mul(KIB).into())
        .send_window(u64::from(config.send_window_kib) * u64::from(KIB))
        .max_idle_timeout(idle.try_into().ok())
        .datagram_receive_buffer_size(None);
    limits
}

/// A socket for each address, of those that another process passed on, or bound here; and where they are.
///
/// # Errors
/// What the system says, with the address.
pub(crate) fn bind(config: &Http3, passed: &mut Passed) -> Result<Vec<(Bound, SocketAddr)>, (SocketAddr, io::Error)> {
    let mut bind = |address: SocketAddr| {
        let udp = passed.take_udp(&Passed::http3(address)).map_or_else(|| UdpSocket::bind(address), Ok)?;
        let before = passed.take(&Passed::before(address)).pop();
        let before = before.and_then(|before| Some((Key::of_text(&before.note)?, before.descriptor)));
        let key = Key::random().map_err(io::Error::other)?;
        let at = udp.local_addr()?;
        Ok((Bound { udp, key, before }, at))
    };
    config.listen.iter().map(|address| bind(*address).map_err(|error| (*address, error))).collect()
}

impl Bound {
    /// Adds what the next process needs of it, made for an address; where that sends on what is for this one.
    pub(crate) fn offer(&self, address: SocketAddr, passed: &mut Passed) -> io::Result<OwnedFd> {
        let (ours, theirs) = socket::channel()?;
        passed.add(&Passed::http3(address), "", self.udp.try_clone()?);
        passed.add(&Passed::before(address), &self.key.to_text(), theirs);
        Ok(ours)
    }
}

/// Serves a connection until it ends, or until `draining` turns true and its requests are answered.
pub(crate) async fn serve(incoming: Incoming, client: Client, activity: Arc<Activity>, draining: Drained) {
    let Some(quinn) = client.gateway.tls.accept_quic(incoming).await else { return };
    activity.multiplex();
    let client = Arc::new(client);
    let head_bytes_max = client.gateway.head_bytes_max;
    let mut builder = h3::server::builder();
    builder.max_field_section_size(head_bytes_max as u64);
    let mut connection = match builder.build(Connection::new(quinn.clone(), head_bytes_max)).await {
        Ok(connection) => connection,
        Err(cause) => return tracing::debug!(%cause, "connection failed"),
    };
    let mut requests = JoinSet::new();
    let mut given_up = GivenUp::new(client.gateway.http3.resets);
    let mut farewells = std::pin::pin!(farewells(draining));
    let mut is_over = false;
    while !is_over || !requests.is_empty() {
        tokio::select! {
            next = connection.accept() => match next {
                Ok(Some(resolver)) => drop(requests.spawn(request(Arc::clone(&client), resolver))),
                Ok(None) => break,
                Err(cause) => return tracing::debug!(%cause, "connection failed"),
            },
            Some(ended) = requests.join_next() => if ended.is_ok_and(|ended| ended.is_err()) && given_up.is_too_often() {
                tracing::debug!("too many requests are given up: gateway.http3.resets");
                return quinn.close(number(Code::H3_EXCESSIVE_LOAD.value()), b"");
            },
            Some(more) = farewells.next() => {
                is_over = more == 0;
                if connection.shutdown(more).await.is_err() {
                    return;
                }
            }
        }
    }
    // The client leaves when it has heard that nothing more is taken, or is left.
    let left = async {
        // Whoever asks all the same is told that it was not taken.
        while let Ok(Some(_)) = connection.accept().await {}
        quinn.closed().await
    };
    let _ = timeout(FAREWELL, left).await;
}

/// How many requests are still taken, each time that the client is to be told: first some that may be on their way, then none (RFC 9114,
/// section 5.2).
fn farewells(draining: Drained) -> impl Stream<Item = usize> {
    stream::unfold((draining, Some(FAREWELL_REQUESTS)), |(mut draining, next)| async move {
        let next = next?;
        if next > 0 {
            draining::begun(&mut draining).await;
            if matches!(*draining.borrow(), Draining::Gently(_)) {
                return Some((next, (draining, Some(0))));
            }
        } else {
            let _ = timeout(FAREWELL, draining::now(&mut draining)).await;
        }
        Some((0, (draining, None)))
    })
}

/// How many requests of a connection its client gave up lately.
struct GivenUp {
    most: u32,
    since: Instant,
    count: u32,
}

impl GivenUp {
    fn new(most: u32) -> Self {
        Self { most, since: Instant::now(), count: 0 }
    }

    /// Counts one more.
    fn is_too_often(&mut self) -> bool {
        if self.since.elapsed() >= WINDOW {
            (self.since, self.count) = (Instant::now(), 0);
        }
        self.count += 1;
        self.count > self.most
    }
}

/// A request that was not answered as a whole.
#[derive(Debug)]
struct Unanswered;

impl<E: std::error::Error> From<E> for Unanswered {
    fn from(cause: E) -> Self {
        tracing::debug!(%cause, "a request over HTTP/3 ends early");
        Self
    }
}

/// Reads a request, answers it, and sends the answer as fast as the client takes it.
async fn request(client: Arc<Client>, resolver: RequestResolver<Connection, Bytes>) -> Result<(), Unanswered> {
    let (request, stream) = timeout(client.gateway.timeouts.head, resolver.resolve_request()).await??;
    let (mut send, mut receive) = stream.split();
    if is_malformed(request.headers()) {
        let code = Code::H3_MESSAGE_ERROR;
        receive.stop_sending(code);
        send.stop_stream(code);
        return Err(Unanswered);
    }
    let body = incoming::Incoming::quic(receive, request.method(), request.headers());
    let body = timeout(client.gateway.timeouts.body, body).await?;
    let mut request = request.map(|()| body);
    name_host(&mut request);
    let Ok(response) = answer(&client, request).await;
    let patience = client.gateway.timeouts.slow_reader;
    let sent = deliver(&mut send, response, patience).await;
    if sent.is_err() {
        send.stop_stream(Code::H3_INTERNAL_ERROR);
    }
    sent
}

/// Whether a request has fields that no request over HTTP/3 may have (RFC 9114, section 4.2), or says of its body's length what is no
/// number.
fn is_malformed(headers: &HeaderMap) -> bool {
    let has_te = headers.get_all(header::TE).iter().any(|value| value != "trailers");
    let is_number = |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    let has_length = headers.get_all(header::CONTENT_LENGTH).iter().any(|value| !is_number(value));
    has_te || has_length || OF_CONNECTIONS.iter().any(|name| headers.contains_key(name))
}

async fn deliver(
    send: &mut RequestStream<Sending, Bytes>,
    response: Response<Body>,
    patience: Duration,
) -> Result<(), Unanswered> {
    let (mut head, mut body) = response.into_parts();
    for name in OF_CONNECTIONS {
        head.headers.remove(name);
    }
    let len = http_body::Body::size_hint(&body).exact().filter(|len| *len > 0);
    if let Some(len) = len.filter(|_| !head.headers.contains_key(header::CONTENT_LENGTH)) {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    }
    timeout(patience, send.send_response(Response::from_parts(head, ()))).await??;
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    let part = data.split_to(data.len().min(PART_BYTES_MAX));
                    timeout(patience, send.send_data(part)).await??;
                }
            }
            Err(other) => {
                if let Ok(trailers) = other.into_trailers() {
                    timeout(patience, send.send_trailers(trailers)).await??;
                }
            }
        }
    }
    // The request is over; what is on its way is no concern of it.
    drop(body);
    timeout(patience, send.finish()).await??;
    Ok(())
}
