//! Routers of every kind, on loopback: the honest one is heard whatever the others do.

use std::collections::HashSet;

use atoll_core::delegated::{JSON, NDJSON};
use atoll_core::keys::IdentityKey;
use atoll_core::{Block, BoxFuture};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{HttpConfig, TokioClock};

/// What a router does with a request, once it has read its head.
#[derive(Clone)]
enum Habit {
    Says(String),
    /// This for providers, that for peers.
    Tells(String, String),
    Hangs,
    /// Repeats this for ever after its head.
    Floods(String, String),
}

async fn server(habit: Habit) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, habit.clone()));
        }
    });
    url
}

async fn serve(mut stream: TcpStream, habit: Habit) {
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(read @ 1..) => seen.extend_from_slice(&piece[..read]),
            _ => return,
        }
    }
    match habit {
        Habit::Says(answer) => drop(stream.write_all(answer.as_bytes()).await),
        Habit::Tells(providers, peers) => {
            let answer = if seen.starts_with(b"GET /routing/v1/peers/") { peers } else { providers };
            drop(stream.write_all(answer.as_bytes()).await);
        }
        Habit::Hangs => std::future::pending().await,
        Habit::Floods(head, line) => {
            let mut sent = stream.write_all(head.as_bytes()).await;
            while sent.is_ok() {
                sent = stream.write_all(line.repeat(100).as_bytes()).await;
            }
        }
    }
}

fn head(media_type: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\nconnection: close\r\n\r\n")
}

fn peer(seed: u8) -> PeerId {
    IdentityKey::from_seed(&[seed; 32]).peer_id()
}

fn line(seed: u8, address: &str, protocol: &str) -> String {
    let record = serde_json::json!({ "Schema": "peer", "ID": peer(seed).to_base58(), "Addrs": [address], "Protocols": [protocol] });
    format!("{record}\n")
}

/// Everybody whose address is good is there; the others hang.
struct Good(HashSet<Multiaddr>);

impl Transport for Good {
    fn request<'a>(
        &'a self,
        _to: &'a Multiaddr,
        _request: &'a atoll_core::transport::Request,
    ) -> BoxFuture<'a, Result<atoll_core::transport::Response, TransportError>> {
        Box::pin(async { Err(TransportError::Refused) })
    }

    fn block<'a>(&'a self, _to: &'a Multiaddr, _cid: &'a Cid) -> BoxFuture<'a, Result<Block, TransportError>> {
        Box::pin(async { Err(TransportError::NotFound) })
    }

    fn probe<'a>(&'a self, addresses: &'a [Multiaddr]) -> BoxFuture<'a, Result<Multiaddr, TransportError>> {
        Box::pin(async move {
            match addresses.iter().find(|address| self.0.contains(*address)) {
                Some(good) => Ok(good.clone()),
                None => std::future::pending().await,
            }
        })
    }

    fn car<'a>(
        &'a self,
        _to: &'a Multiaddr,
        _root: &'a Cid,
    ) -> BoxFuture<'a, Result<atoll_core::transport::ByteStream, TransportError>> {
        Box::pin(async { Err(TransportError::NotFound) })
    }
}

const GOOD: &str = "/ip4/127.0.0.1/tcp/8080/http";

fn routers(urls: Vec<String>, more: RoutersConfig) -> Routers {
    let config = RoutersConfig { urls, ..more };
    assert_eq!(config.problems(), Vec::<String>::new());
    let parts = RoutersParts {
        http: HttpTransport::new(HttpConfig::default()),
        transport: Arc::new(Good(HashSet::from([GOOD.parse().unwrap()]))),
        clock: Arc::new(TokioClock),
        me: peer(0),
        peers: false,
    };
    Routers::new(&config, parts)
}

fn cid() -> Cid {
    *Block::sha2_256(atoll_core::block::RAW, Bytes::from_static(b"calm water")).unwrap().cid()
}

async fn honest() -> String {
    let lines = [line(1, "/ip4/127.0.0.1/tcp/1/http", GATEWAY), line(2, GOOD, GATEWAY)].concat();
    server(Habit::Says(head(NDJSON) + &lines)).await
}

#[tokio::test]
async fn the_honest_router_is_heard_beside_dead_hanging_and_lying_ones() {
    let dead = "http://127.0.0.1:1".to_owned();
    let hanging = server(Habit::Hangs).await;
    let garbage = server(Habit::Floods(head(NDJSON), "not json\n".to_owned())).await;
    let endless = server(Habit::Floods(head(NDJSON), "x".repeat(1000))).await;
    let many = server(Habit::Floods(head(NDJSON), line(3, "/ip4/127.0.0.1/tcp/2/http", GATEWAY))).await;
    let unknown = server(Habit::Floods(head(NDJSON), "{\"Schema\":\"odd\"}\n".to_owned())).await;
    let list = server(Habit::Floods(head(JSON) + "{\"Providers\":[", "{\"Schema\":\"odd\"},".to_owned())).await;
    let page = server(Habit::Says(head("text/html") + "<p>hello")).await;
    let liars = [dead, hanging, garbage, endless, many, unknown, list, page];
    let limits = RoutersConfig { timeout: Duration::from_secs(300), ..RoutersConfig::default() };
    let all = routers([liars.to_vec(), vec![honest().await]].concat(), limits);
    // Nothing of the others' may end this: their time is far longer than the test's.
    let mut found = all.find(&cid());
    assert_eq!(found.next().await, Some(GOOD.parse().unwrap()));
    drop(found);
}

#[tokio::test]
async fn who_fails_rests_for_longer_each_time_but_never_do_all() {
    let page = server(Habit::Says(head("text/html") + "<p>hello")).await;
    let long = RoutersConfig { backoff_min: Duration::from_secs(300), ..RoutersConfig::default() };
    let both =
        routers(vec![page.clone(), honest().await], RoutersConfig { backoff_max: long.backoff_min, ..long.clone() });
    for round in 1..=3 {
        let all: Vec<Multiaddr> = both.find(&cid()).take(1).collect().await;
        assert_eq!(all, [GOOD.parse().unwrap()]);
        while both.views()[0].failed == 0 {
            tokio::task::yield_now().await;
            let _ = both.find(&cid()).next().await;
        }
        assert!(both.views()[0].resting, "round {round}");
        assert_eq!(both.views()[0].failed, 1, "round {round}: it was asked although it rests");
    }
    let alone = routers(vec![page], RoutersConfig { backoff_max: long.backoff_min, ..long });
    for round in 1..=3 {
        assert_eq!(alone.find(&cid()).next().await, None);
        assert_eq!(alone.views()[0].asked, round);
        assert!(alone.views()[0].trouble.as_ref().unwrap().contains("text/html"));
    }
}

#[tokio::test]
async fn lists_lines_and_nothing_are_read() {
    let record = line(2, GOOD, GATEWAY);
    let list = format!("{{\"Providers\":[{}]}}", record.trim());
    let good = || vec![GOOD.parse().unwrap()];
    for (answer, expected) in [
        (head("application/json; charset=utf-8") + &list, good()),
        (head(NDJSON) + record.trim(), good()),
        (head(NDJSON) + "{\"Schema\":\"odd\"}\n\n" + &record, good()),
        (head(JSON) + "{\"Providers\":[]}", vec![]),
        (head(NDJSON), vec![]),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(), vec![]),
    ] {
        let one = routers(vec![server(Habit::Says(answer.clone())).await], RoutersConfig::default());
        let found: Vec<Multiaddr> = one.find(&cid()).collect().await;
        assert_eq!(found, expected, "{answer}");
        assert_eq!(one.views()[0].failed, 0, "{answer}");
    }
}

#[tokio::test]
async fn who_is_named_without_an_address_is_looked_up() {
    let bare = line(2, GOOD, GATEWAY).replace(&format!("\"{GOOD}\""), "");
    let other = line(3, "/ip4/127.0.0.1/tcp/3/http", GATEWAY);
    let peers = head(NDJSON) + &other + &line(2, GOOD, GATEWAY);
    let url = server(Habit::Tells(head(NDJSON) + &bare, peers)).await;
    let found: Vec<Multiaddr> = routers(vec![url], RoutersConfig::default()).find(&cid()).collect().await;
    assert_eq!(found, [GOOD.parse().unwrap()]);
}

#[test]
fn a_routers_records_lead_only_where_a_stranger_may() {
    let public = Rule { me: peer(0), reach: Reach::Public, peers: true };
    let near = Rule { reach: Reach::Loopback, ..public };
    let deaf = Rule { peers: false, ..near };
    let me = format!("/p2p/{}", peer(1));
    let dialled = |rule: &Rule, address: &str, protocols: &[&str]| {
        let protocols = protocols.iter().map(ToString::to_string).collect();
        let record = PeerRecord { id: peer(1), addresses: vec![address.parse().unwrap()], protocols };
        let found = rule.apply(&record).concat();
        found.first().map(ToString::to_string).unwrap_or_default()
    };
    let bitswap: &[&str] = &["transport-bitswap"];
    let gateway: &[&str] = &["Transport-IPFS-Gateway-HTTP", "transport-unheard-of"];
    for (address, protocols, from_public, from_near, without_libp2p) in [
        ("/ip4/127.0.0.1/tcp/1/http", gateway, false, true, true),
        ("/ip4/10.0.0.1/tcp/1/http", gateway, false, true, true),
        ("/ip4/198.51.100.1/tcp/1/http", gateway, true, true, true),
        ("/ip4/198.51.100.1/tcp/1/http", &[][..], true, true, true),
        ("/ip4/198.51.100.1/tcp/1/http", bitswap, false, false, false),
        ("/dns4/reef.example/tcp/443/tls/http", gateway, true, true, true),
        ("/dns/reef.example/tcp/443/https", gateway, true, true, true),
        ("/dns4/reef.example/tcp/80/http", gateway, false, true, true),
        ("/dns4/localhost/tcp/443/tls/http", gateway, false, true, true),
        ("/ip4/198.51.100.1/udp/1/quic-v1/http", gateway, false, false, false),
        ("/ip4/198.51.100.1/tcp/4001", bitswap, true, true, false),
        ("/ip4/198.51.100.1/udp/4001/quic-v1", &[][..], true, true, false),
        ("/ip6/::ffff:192.168.0.1/tcp/4001", bitswap, false, true, false),
        ("/dnsaddr/reef.example", bitswap, false, false, false),
        ("/ip6zone/eth0/ip6/fe80::1/tcp/4001", bitswap, false, false, false),
        ("/unix/x", bitswap, false, false, false),
    ] {
        let named = if address.contains("http") { address.to_owned() } else { format!("{address}{me}") };
        for (rule, passes) in [(&public, from_public), (&near, from_near), (&deaf, without_libp2p)] {
            let expected = if passes { named.clone() } else { String::new() };
            assert_eq!(dialled(rule, address, protocols), expected, "{rule:?} {address} {protocols:?}");
        }
    }
    let relayed = format!("/ip4/198.51.100.1/tcp/1/p2p/{}/p2p-circuit", peer(5));
    assert_eq!(dialled(&public, &relayed, bitswap), "");
    let own = PeerRecord { id: peer(0), addresses: vec![GOOD.parse().unwrap()], protocols: Vec::new() };
    assert!(near.apply(&own).is_empty());
}

#[test]
fn urls_are_read_and_problems_name_their_setting() {
    for (url, reach) in [
        ("https://delegated-ipfs.dev", Some(Reach::Public)),
        ("http://127.0.0.1:8190/", Some(Reach::Loopback)),
        ("http://[::1]:8190/prefix/", Some(Reach::Loopback)),
        ("http://localhost", Some(Reach::Loopback)),
        ("http://192.168.1.1", Some(Reach::Private)),
        ("ftp://192.0.2.1", None),
        ("192.0.2.1:80", None),
        ("http://user@192.0.2.1", None),
        ("http://192.0.2.1/?q", None),
        ("", None),
    ] {
        assert_eq!(Base::parse(url).map(|base| base.reach), reach, "{url}");
    }
    let text = toml::to_string(&RoutersConfig::default()).unwrap();
    assert_eq!(toml::from_str::<RoutersConfig>(&text).unwrap(), RoutersConfig::default());
    let wrong = RoutersConfig { urls: vec!["x y".to_owned()], probes_max: 0, ..RoutersConfig::default() };
    assert_eq!(wrong.problems().len(), 2);
}
