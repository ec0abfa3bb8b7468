//! The transport against a tiny server that answers with whatever bytes a test gives it, and some hostile habits.

use std::net::{Ipv4Addr, SocketAddr};

use atoll_core::Block;
use atoll_core::block::RAW;
use futures_util::StreamExt;
use serde_bytes::ByteBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

/// What the server does after it has read a request's head.
#[derive(Clone)]
enum Habit {
    /// Sends these bytes, and waits for the next request.
    Sends(Vec<u8>),
    /// Sends these bytes, and closes.
    Closes(Vec<u8>),
    /// Sends these bytes, then nothing, and stays.
    Stalls(Vec<u8>),
    /// Sends these bytes, then zeros for ever.
    Floods(Vec<u8>),
}

/// Starts the server; every request head it reads comes out of the receiver.
async fn server(habit: Habit) -> (Multiaddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, habit.clone(), heads.clone()));
        }
    });
    (gateway_address(address.ip(), address.port()), received)
}

async fn serve(mut stream: TcpStream, habit: Habit, heads: mpsc::UnboundedSender<String>) {
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") else {
            match stream.read(&mut piece).await {
                Ok(read @ 1..) => seen.extend_from_slice(&piece[..read]),
                _ => return,
            }
            continue;
        };
        let head = String::from_utf8_lossy(&seen[..end]).into_owned();
        seen.clear();
        let _ = heads.send(head);
        let sent = match &habit {
            Habit::Sends(bytes) => stream.write_all(bytes).await,
            Habit::Closes(bytes) => return drop(stream.write_all(bytes).await),
            Habit::Stalls(bytes) => {
                let _ = stream.write_all(bytes).await;
                std::future::pending().await
            }
            Habit::Floods(bytes) => {
                let mut sent = stream.write_all(bytes).await;
                while sent.is_ok() {
                    sent = stream.write_all(&[0; 4096]).await;
                }
                sent
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Short enough for a test that waits until it is over, and never compared with a clock.
fn impatient() -> HttpTransport {
    let moment = Duration::from_millis(200);
    HttpTransport::new(HttpConfig { header_timeout: moment, idle_timeout: moment, ..HttpConfig::default() })
}

fn patient() -> HttpTransport {
    HttpTransport::new(HttpConfig::default())
}

fn block() -> Block {
    Block::sha2_256(RAW, Bytes::from_static(b"calm water")).unwrap()
}

#[tokio::test]
async fn a_block_is_asked_for_as_the_trustless_gateway_protocol_says() {
    let block = block();
    let (address, mut heads) = server(Habit::Sends(answer("200 OK", block.bytes()))).await;
    let transport = patient();
    for _ in 0..2 {
        assert_eq!(transport.block(&address, block.cid()).await.as_ref(), Ok(&block));
        let head = heads.recv().await.unwrap();
        assert!(head.starts_with(&format!("GET /ipfs/{}?format=raw HTTP/1.1\r\n", block.cid())), "{head}");
        assert!(head.contains("accept: application/vnd.ipld.raw\r\n"), "{head}");
        assert!(head.contains("cache-control: only-if-cached"), "{head}");
    }
}

#[tokio::test]
async fn a_message_is_posted_to_its_path() {
    let response = Response::Records { epoch: 3, next: 9, records: vec![ByteBuf::from(b"envelope")], more: false };
    let (address, mut heads) = server(Habit::Closes(answer("200 OK", &encode(&response).unwrap()))).await;
    let request = Request::Records { epoch: 3, since: 8 };
    assert_eq!(patient().request(&address, &request).await, Ok(response));
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("POST /atoll/v1/records HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/vnd.ipld.dag-cbor"), "{head}");
    // The answer to another question is none.
    let probe = Request::Probe { nonce: [0; 32], roots: vec![] };
    assert_eq!(patient().request(&address, &probe).await, Err(TransportError::Malformed));
}

#[tokio::test]
async fn statuses_become_causes() {
    for (status, cause) in [
        ("404 Not Found", TransportError::NotFound),
        ("410 Gone", TransportError::NotFound),
        ("412 Precondition Failed", TransportError::NotFound),
        ("429 Too Many Requests", TransportError::Refused),
        ("503 Service Unavailable", TransportError::Refused),
        ("500 Internal Server Error", TransportError::Status(500)),
        // A redirect is never followed: it could lead anywhere.
        ("302 Found\r\nlocation: http://127.0.0.1:1/", TransportError::Status(302)),
    ] {
        let (address, _heads) = server(Habit::Sends(answer(status, b""))).await;
        assert_eq!(patient().block(&address, block().cid()).await, Err(cause), "{status}");
    }
}

#[tokio::test]
async fn who_never_answers_or_stalls_is_left() {
    let timed_out = Err(TransportError::TimedOut(200));
    let started = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\ncalm".to_vec();
    for habit in [Habit::Stalls(vec![]), Habit::Stalls(b"HTTP/1.1 200 OK\r\n".to_vec()), Habit::Stalls(started)] {
        let (address, _heads) = server(habit).await;
        assert_eq!(impatient().block(&address, block().cid()).await, timed_out);
    }
}

#[tokio::test]
async fn bodies_that_are_too_long_or_too_short_are_refused() {
    let over = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", BLOCK_BYTES_MAX + 1).into_bytes();
    for head in [over, b"HTTP/1.1 200 OK\r\n\r\n".to_vec()] {
        let (address, _heads) = server(Habit::Floods(head)).await;
        assert_eq!(patient().block(&address, block().cid()).await, Err(TransportError::Malformed));
    }
    let short = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\ncalm".to_vec();
    let (address, _heads) = server(Habit::Closes(short)).await;
    assert!(matches!(patient().block(&address, block().cid()).await, Err(TransportError::Broken(_))));
}

#[tokio::test]
async fn garbage_and_endless_heads_are_refused() {
    let endless = [&b"HTTP/1.1 200 OK\r\nx: "[..], &[b'x'; 2 * READ_BYTES_MAX]].concat();
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(HEADERS_MAX + 1)).into_bytes();
    for bytes in [b"SSH-2.0-OpenSSH\r\n".to_vec(), endless, many] {
        let (address, _heads) = server(Habit::Closes(bytes)).await;
        let result = patient().block(&address, block().cid()).await;
        assert!(matches!(result, Err(TransportError::Broken(_))), "{result:?}");
    }
    let (address, _heads) = server(Habit::Sends(answer("200 OK", &[0xff; 64]))).await;
    let request = Request::Records { epoch: 0, since: 0 };
    assert_eq!(patient().request(&address, &request).await, Err(TransportError::Malformed));
}

#[tokio::test]
async fn a_car_streams_and_its_break_is_an_error() {
    let whole = answer("200 OK", &[7; 100_000]);
    let (address, mut heads) = server(Habit::Closes(whole.clone())).await;
    let transport = patient();
    let mut stream = transport.car(&address, block().cid()).await.unwrap();
    let mut length = 0;
    while let Some(data) = stream.next().await {
        length += data.unwrap().len();
    }
    assert_eq!(length, 100_000);
    let head = heads.recv().await.unwrap();
    assert!(head.contains("?format=car&dag-scope=all HTTP/1.1"), "{head}");
    assert!(head.contains("accept: application/vnd.ipld.car; version=1; order=dfs; dups=n"), "{head}");

    let (address, _heads) = server(Habit::Closes(whole[..50_000].to_vec())).await;
    let pieces: Vec<_> = transport.car(&address, block().cid()).await.unwrap().collect().await;
    assert!(matches!(pieces.last(), Some(Err(TransportError::Broken(_)))));
}

#[tokio::test]
async fn nobody_there_is_no_connection() {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let address = gateway_address(address.ip(), address.port());
    let result = patient().block(&address, block().cid()).await;
    assert!(matches!(result, Err(TransportError::Connect(_))), "{result:?}");
}

#[test]
fn only_addresses_of_gateways_are_dialled() {
    let peer = "/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
    for (text, expected) in [
        ("/ip4/127.0.0.1/tcp/80/http".to_owned(), Some("http://127.0.0.1:80")),
        ("/ip6/::1/tcp/8080/http".to_owned(), Some("http://[::1]:8080")),
        ("/dns4/reef.example/tcp/80/http".to_owned(), Some("http://reef.example:80")),
        (format!("/dns/reef.example/tcp/80/http{peer}"), Some("http://reef.example:80")),
        ("/ip4/127.0.0.1/tcp/443/https".to_owned(), Some("https://127.0.0.1:443")),
        ("/dns4/reef.example/tcp/443/tls/http".to_owned(), Some("https://reef.example:443")),
        ("/dns4/reef.example/tcp/443/tls/sni/other.example/http".to_owned(), None),
        ("/dns4/reef.example/tcp/443/tls/ws".to_owned(), None),
        ("/ip4/127.0.0.1/udp/80/quic-v1".to_owned(), None),
        ("/unix/socket".to_owned(), None),
        (peer.to_owned(), None),
    ] {
        assert_eq!(origin(&text.parse().unwrap()).as_deref(), expected, "{text}");
    }
    // A name that is no host would otherwise reach into the path.
    let tricky: Multiaddr =
        Multiaddr::empty().with(Protocol::Dns("a@b/c?".into())).with(Protocol::Tcp(80)).with(Protocol::Http);
    assert_eq!(origin(&tricky), None);
}

#[tokio::test]
async fn a_probe_finds_the_address_that_answers_as_a_gateway_does() {
    let (good, mut heads) = server(Habit::Sends(answer("200 OK", b""))).await;
    let (other, _) = server(Habit::Sends(answer("200 OK", b"<p>hello"))).await;
    let (gone, _) = server(Habit::Sends(answer("404 Not Found", b""))).await;
    let (silent, _) = server(Habit::Stalls(Vec::new())).await;
    let all = [silent.clone(), other.clone(), gone.clone(), good.clone()];
    assert_eq!(impatient().probe(&all).await, Ok(good));
    assert!(heads.recv().await.unwrap().starts_with("GET /ipfs/bafkqaaa?format=raw HTTP/1.1\r\n"));
    assert!(impatient().probe(&all[..3]).await.is_err());
    assert_eq!(impatient().probe(&[]).await, Err(TransportError::Refused));
}

#[tokio::test]
async fn blocks_come_over_tls_from_whom_the_roots_vouch_for() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.der().clone(), made.key_pair.serialize_der());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let over = |connector| atoll_trust::with(connector, atoll_trust::trusting(roots));
    let trusting = HttpTransport::over(HttpConfig::default(), over);
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate], key.try_into().unwrap()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sent = answer("200 OK", block().bytes());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&sent).await;
        }
    });
    for kind in ["tls/http", "https"] {
        let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}/{kind}").parse().unwrap();
        assert_eq!(trusting.block(&address, block().cid()).await.as_ref(), Ok(&block()), "{kind}");
        let refused = patient().block(&address, block().cid()).await;
        assert!(matches!(refused, Err(TransportError::Connect(_))), "{kind}: {refused:?}");
    }
}
