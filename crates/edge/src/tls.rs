//! TLS before HTTP: handshakes, their limits, and what they are counted as.
//!
//! TLS 1.3 and 1.2 by rustls over aws-lc-rs, X25519MLKEM768 first. Sessions are resumed by tickets whose keys live in memory, change
//! every six hours, and are the same for all workers; early data is never taken, since it can be replayed. A crash loses the ticket
//! keys: clients shake hands in full once.

pub(crate) mod config;
pub(crate) mod gate;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use self::gate::Gate;
use atoll_certs::{Challenges, Store};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{Acceptor, NoServerSessionStorage, ResolvesServerCert};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// HTTP/2 over TLS (RFC 9113, section 3.1).
const H2: &[u8] = b"h2";
/// HTTP/3 over QUIC (RFC 9114, section 3.1).
const H3: &[u8] = b"h3";
/// HTTP/1.1 over TLS (RFC 7301, section 6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The share of the handshakes that may be under way, above which clients over QUIC show their address first.
const BUSY_SHARE: usize = 8;

/// What all workers need to speak TLS.
pub(crate) struct Tls {
    certificates: Arc<Store>,
    config: Arc<ServerConfig>,
    quic: Arc<QuicServerConfig>,
    /// For an authority that looks for its certificate.
    challenge: Arc<ServerConfig>,
    timeout: Duration,
    under_way_max: usize,
    under_way: AtomicUsize,
    counts: Counts,
}

/// Handshakes since the start.
#[derive(Debug, Default)]
struct Counts {
    full: AtomicU64,
    resumed: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

/// Handshakes since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshakes {
    /// Done in full.
    pub full: u64,
    /// Done by resuming an earlier session.
    pub resumed: u64,
    /// Failed: no certificate for the name, nothing in common, or not done in time.
    pub failed: u64,
    /// Not begun, because [`config::Tls::handshakes`] were under way.
    pub refused: u64,
}

/// What client and server agreed to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Tls {
    pub(crate) fn new(config: &config::Tls, certificates: Arc<Store>) -> Result<Self, rustls::Error> {
        let mut challenge = showing(Arc::clone(certificates.challenges()) as _)?;
        challenge.alpn_protocols = vec![Challenges::PROTOCOL.to_vec()];
        let ticketer = aws_lc_rs::Ticketer::new()?;
        let mut server = showing(Arc::clone(&certificates) as _)?;
        server.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        server.ticketer = Arc::clone(&ticketer);
        server.session_storage = Arc::new(NoServerSessionStorage {});
        let mut quic = showing(Arc::clone(&certificates) as _)?;
        quic.alpn_protocols = vec![H3.to_vec()];
        quic.ticketer = ticketer;
        quic.session_storage = Arc::new(NoServerSessionStorage {});
        let unusable = |error: NoInitialCipherSuite| rustls::Error::General(error.to_string());
        Ok(Self {
            certificates,
            config: Arc::new(server),
            quic: Arc::new(QuicServerConfig::try_from(quic).map_err(unusable)?),
            challenge: Arc::new(challenge),
            timeout: config.handshake_timeout,
            under_way_max: config.handshakes,
            under_way: AtomicUsize::new(0),
            counts: Counts::default(),
        })
    }

    /// Shakes hands with a client whose first byte is there; `None` if that does not end in a connection.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> Option<(TlsStream<Gate>, Protocol)> {
        let Some(_place) = Place::take(self) else {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!("a handshake is refused: too many are under way (gateway.tls.handshakes)");
            return None;
        };
        let stream = self.within_time(self.shake(tcp)).await?;
        let (_, connection) = stream.get_ref();
        let resumed = connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let count = if resumed { &self.counts.resumed } else { &self.counts.full };
        count.fetch_add(1, Ordering::Relaxed);
        let protocol = if connection.alpn_protocol() == Some(H2) { Protocol::Http2 } else { Protocol::Http1 };
        Some((stream, protocol))
    }

    /// Shakes hands with a client over QUIC; `None` if that does not end in a connection. Resumed sessions are counted as full ones,
    /// since quinn does not tell them apart.
    pub(crate) async fn accept_quic(&self, incoming: quinn::Incoming) -> Option<quinn::Connection> {
        let Some(_place) = Place::take(self) else {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            incoming.refuse();
            return None;
        };
        let shaking = async { incoming.accept()?.await };
        let connection = self.within_time(async { shaking.await.map_err(io::Error::from) }).await?;
        self.counts.full.fetch_add(1, Ordering::Relaxed);
        Some(connection)
    }

    async fn within_time<T>(&self, shaking: impl Future<Output = io::Result<T>>) -> Option<T> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let shaken = timeout(self.timeout, shaking).await.map_err(late).flatten();
        let counted = shaken.inspect_err(|cause| {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%cause, "a handshake failed");
        });
        counted.ok()
    }

    /// What is spoken over QUIC.
    pub(crate) fn quic(&self) -> Arc<QuicServerConfig> {
        Arc::clone(&self.quic)
    }

    /// Whether many shake hands at this moment.
    pub(crate) fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > self.under_way_max / BUSY_SHARE
    }

    async fn shake(&self, tcp: TcpStream) -> io::Result<TlsStream<Gate>> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), Gate::new(tcp)).await?;
        let is_challenge =
            hello.client_hello().alpn().is_some_and(|mut protocols| protocols.any(|name| name == Challenges::PROTOCOL));
        if is_challenge {
            return hello.into_stream(Arc::clone(&self.challenge)).await;
        }
        let name = hello.client_hello().server_name().map(str::to_ascii_lowercase);
        if let Some(name) = name {
            self.certificates.demand(&name).await;
        }
        hello.into_stream(Arc::clone(&self.config)).await
    }

    /// Handshakes since the start.
    pub(crate) fn handshakes(&self) -> Handshakes {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { full, resumed, failed, refused } = &self.counts;
        Handshakes { full: get(full), resumed: get(resumed), failed: get(failed), refused: get(refused) }
    }
}

/// A server that shows what `certificates` finds.
fn showing(certificates: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(versions.with_no_client_auth().with_cert_resolver(certificates))
}

/// One of the handshakes that may be under way.
struct Place<'a>(&'a Tls);

impl<'a> Place<'a> {
    fn take(tls: &'a Tls) -> Option<Self> {
        let place = Self(tls);
        // Dropping the place gives it back.
        (tls.under_way.fetch_add(1, Ordering::Relaxed) < tls.under_way_max).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
