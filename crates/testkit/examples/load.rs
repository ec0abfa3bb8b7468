//! Many requests for one thing over HTTP/2 or HTTP/3, by one thread: what `cargo xtask bench` loads both with, so that one client is
//! compared with itself. Prints a line of JSON. Owns nothing; a crash loses the run.

use std::cell::RefCell;
use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, Bytes};
use futures_util::future::{join_all, try_join_all};
use h3::client::SendRequest as Http3;
use hdrhistogram::Histogram;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The longest that a request is told apart by, in microseconds.
const MICROS_MAX: u64 = 60_000_000;
/// What a connection may be sent before it is read, in bytes: more than any object of the bench.
const WINDOW_BYTES: u32 = 8 << 20;

/// Whoever asks over one connection.
trait Client: Clone {
    /// Asks once; how many bytes came.
    async fn ask(&mut self, uri: &Uri) -> Result<usize>;
}

/// What came of it.
struct Tally {
    micros: Histogram<u64>,
    until: Instant,
    bytes: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [protocol, url, certificate, connections, streams, seconds] = &arguments[..] else {
        bail!("load h2|h3 https://ADDRESS:PORT/PATH CERTIFICATE CONNECTIONS STREAMS SECONDS");
    };
    let uri: Uri = url.parse()?;
    let at: SocketAddr = uri.authority().context("an authority")?.as_str().parse().context("an address and a port")?;
    let tls = tls(&fs::read_to_string(certificate)?, protocol.as_bytes())?;
    let (connections, streams): (usize, usize) = (connections.parse()?, streams.parse()?);
    let time = Duration::from_secs(seconds.parse()?);
    match &**protocol {
        "h2" => run(try_join_all((0..connections).map(|_| h2(at, &tls))).await?, streams, &uri, time).await,
        "h3" => run(try_join_all((0..connections).map(|_| h3(at, &tls))).await?, streams, &uri, time).await,
        other => bail!("{other} is neither h2 nor h3"),
    }
}

/// Asks over all connections, on each so many requests at a time, and says what came of those that ended in time.
async fn run<C: Client>(clients: Vec<C>, streams: usize, uri: &Uri, time: Duration) -> Result<()> {
    let mut first = clients.first().context("no connection")?.clone();
    let (bytes, micros) = (first.ask(uri).await?, Histogram::new_with_bounds(1, MICROS_MAX, 3)?);
    let tally = RefCell::new(Tally { micros, until: Instant::now() + time, bytes });
    let all = clients.iter().flat_map(|client| (0..streams).map(|_| ask(client.clone(), uri, &tally)));
    join_all(all).await.into_iter().collect::<Result<()>>()?;
    let micros = tally.into_inner().micros;
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    let rate = micros.len() as f64 / time.as_secs_f64();
    let (p50, p99) = (micros.value_at_quantile(0.5), micros.value_at_quantile(0.99));
    println!("{}", serde_json::json!({ "rate": rate, "p50": p50, "p99": p99, "requests": micros.len() }));
    Ok(())
}

async fn ask<C: Client>(mut client: C, uri: &Uri, tally: &RefCell<Tally>) -> Result<()> {
    loop {
        let begun = Instant::now();
        let bytes = client.ask(uri).await?;
        let mut tally = tally.borrow_mut();
        ensure!(bytes == tally.bytes, "{bytes} bytes came, and {} at first", tally.bytes);
        if Instant::now() >= tally.until {
            return Ok(());
        }
        tally.micros.saturating_record(u64::try_from(begun.elapsed().as_micros())?);
    }
}

/// As h2load speaks in the bench: one cipher and one key exchange for all.
fn tls(certificate: &str, protocol: &[u8]) -> Result<Arc<ClientConfig>> {
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(certificate.as_bytes()).filter_map(Result::ok));
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

async fn h2(at: SocketAddr, tls: &Arc<ClientConfig>) -> Result<http2::SendRequest<Empty<Bytes>>> {
    let tcp = TcpStream::connect(at).await?;
    tcp.set_nodelay(true)?;
    let tls = TlsConnector::from(Arc::clone(tls)).connect(ServerName::from(at.ip()), tcp).await?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(4 * WINDOW_BYTES);
    let (sender, connection) = builder.handshake(TokioIo::new(tls)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

impl Client for http2::SendRequest<Empty<Bytes>> {
    async fn ask(&mut self, uri: &Uri) -> Result<usize> {
        let answer = self.send_request(Request::get(uri).body(Empty::new())?).await?;
        ensure!(answer.status() == 200, "status {}", answer.status());
        let (mut body, mut bytes) = (answer.into_body(), 0);
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(bytes)
    }
}

/// With a socket of its own, as a client elsewhere has.
async fn h3(at: SocketAddr, tls: &Arc<ClientConfig>) -> Result<Http3<h3_quinn::OpenStreams, Bytes>> {
    let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(Arc::clone(tls))?));
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(WINDOW_BYTES.into()).receive_window((4 * WINDOW_BYTES).into());
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    let quinn = endpoint.connect(at, &at.ip().to_string())?.await?;
    let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(quinn)).await?;
    tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
    Ok(sender)
}

impl Client for Http3<h3_quinn::OpenStreams, Bytes> {
    async fn ask(&mut self, uri: &Uri) -> Result<usize> {
        let mut stream = self.send_request(Request::get(uri).body(())?).await?;
        stream.finish().await?;
        let answer = stream.recv_response().await?;
        ensure!(answer.status() == 200, "status {}", answer.status());
        let mut bytes = 0;
        while let Some(part) = stream.recv_data().await? {
            bytes += part.remaining();
        }
        Ok(bytes)
    }
}
