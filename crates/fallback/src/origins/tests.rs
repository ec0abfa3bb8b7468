//! Settings of origins, origins over TLS, and what becomes of requests when some of them fail.

use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

mod kept;

#[test]
fn origins_are_read() {
    let parse = |url: &str, host: &str| {
        Origin::parse(&OriginConfig { url: url.to_owned(), host: host.to_owned(), ..OriginConfig::default() })
    };
    for (url, host) in [("https://a.example", ""), ("http://[::1]:3000/", "client"), ("http://10.0.0.7", "b.example")] {
        assert!(parse(url, host).is_ok(), "{url}");
    }
    for (url, host) in [
        ("", ""),
        ("a.example", ""),
        ("ftp://a.example", ""),
        ("https://a.example/path", ""),
        ("https://a.example/?q", ""),
        ("https://user@a.example", ""),
        ("https://a.example", "b/c"),
    ] {
        assert!(parse(url, host).is_err(), "{url} {host}");
    }
}

/// A server with a certificate of its own, which answers with the host that it was told; its port, and roots that vouch for it.
async fn secure(name: &str) -> (u16, rustls::RootCertStore) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (certificate, key) = (made.cert.der().clone(), made.key_pair.serialize_der());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    // Chooses the provider of all.
    drop(atoll_trust::trusting(roots.clone()));
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate], key.try_into().unwrap()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = vec![0; 4096];
            let count = stream.read(&mut head).await.unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..count]).to_ascii_lowercase();
            let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
            let answer =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{host}", host.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, roots)
}

#[tokio::test]
async fn origins_with_tls_are_asked_if_the_roots_vouch_for_them() {
    let (port, roots) = secure("localhost").await;
    let config = |host: &str| OriginConfig {
        url: format!("https://localhost:{port}"),
        host: host.to_owned(),
        ..OriginConfig::default()
    };
    for (host, told) in
        [("", format!("localhost:{port}")), ("client", "visitor.example".into()), ("b.example", "b.example".into())]
    {
        let tls = atoll_trust::trusting(roots.clone());
        let origins = Origins::over(&[config(host)], Settings::default(), &tls, &system()).unwrap();
        assert_eq!(text(ask(&origins, "GET", None).await.unwrap()).await, told);
    }
    let stranger = Origins::new(&[config("")], Settings::default()).unwrap();
    let refused = ask(&stranger, "GET", None).await;
    assert!(matches!(refused, Err(OriginError::Connect { .. })), "{refused:?}");
    // By another name its certificate is not for it.
    let other = OriginConfig { sni: "other.example".to_owned(), ..config("") };
    let origins = Origins::over(&[other], Settings::default(), &atoll_trust::trusting(roots), &system()).unwrap();
    assert!(ask(&origins, "GET", None).await.is_err());
}

async fn ask(origins: &Origins, method: &str, body: Option<&'static str>) -> Result<Answer, OriginError> {
    ask_for(origins, method, "/path", body).await
}

fn hop() -> Hop {
    let client = std::net::IpAddr::from([192, 0, 2, 1]);
    Hop::new("atoll-1", (client, false), &HeaderValue::from_static("visitor.example"), true)
}

async fn ask_for(
    origins: &Origins,
    method: &str,
    path: &str,
    body: Option<&'static str>,
) -> Result<Answer, OriginError> {
    let (head, ()) = Request::builder().method(method).uri(path).body(()).unwrap().into_parts();
    let hop = hop();
    let upload = |body: &'static str| Upload::new(Full::new(Bytes::from(body)).map_err(|never| match never {}));
    let call = Call {
        head: &head,
        hop: &hop,
        body: body.map(upload),
        among: &[],
        hints: None,
        patience: &Patience::default(),
        expects: false,
        once: false,
    };
    origins.send(call).await
}

async fn text(response: Answer) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// What a server does with a request.
#[derive(Clone, Copy)]
enum Does {
    Answers(u16),
    Hangs,
    Closes,
}

/// A server that answers with its name; what it was asked, in order.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(name: &'static str, does: impl Fn(usize) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (noted, does, count) = (Arc::clone(&asked), Arc::new(does), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (noted, does, count) = (Arc::clone(&noted), Arc::clone(&does), Arc::clone(&count));
                tokio::spawn(async move {
                    let mut head = vec![0; 4096];
                    let mut len = 0;
                    while !head[..len].windows(4).any(|end| end == b"\r\n\r\n") {
                        match stream.read(&mut head[len..]).await {
                            Ok(0) | Err(_) => return,
                            Ok(more) => len += more,
                        }
                    }
                    noted.lock().unwrap().push(String::from_utf8_lossy(&head[..len]).into_owned());
                    match does(count.fetch_add(1, Ordering::SeqCst)) {
                        Does::Answers(status) => {
                            let fields = format!("Connection: close\r\nContent-Length: {}", name.len());
                            let answer = format!("HTTP/1.1 {status} X\r\n{fields}\r\n\r\n{name}");
                            let _ = stream.write_all(answer.as_bytes()).await;
                            let _ = stream.shutdown().await;
                        }
                        Does::Hangs => std::future::pending().await,
                        Does::Closes => {}
                    }
                });
            }
        });
        Self { url, asked }
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn pool(urls: &[&str], set: impl FnOnce(&mut Settings)) -> Origins {
    let mut settings = Settings::default();
    set(&mut settings);
    let origin = |url: &&str| OriginConfig { url: (*url).to_owned(), ..OriginConfig::default() };
    let origins: Vec<_> = urls.iter().map(origin).collect();
    Origins::new(&origins, settings).unwrap()
}

/// A URL where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_dead_origin_is_not_noticed_and_soon_left_out() {
    let (dead, well) = (nobody().await, Server::start("well", |_| Does::Answers(200)).await);
    let origins = pool(&[&dead, &well.url], |_| ());
    for _ in 0..10 {
        assert_eq!(text(ask(&origins, "GET", None).await.unwrap()).await, "well");
    }
    let views = origins.views();
    assert_eq!((views[0].ready, views[0].requests, views[0].failures, views[0].ejections), (false, 3, 3, 1));
    assert_eq!((views[1].ready, views[1].requests, views[1].failures, views[1].retries), (true, 10, 0, 0));
}

#[tokio::test]
async fn a_body_goes_to_whoever_can_be_reached_and_to_nobody_twice() {
    let (dead, closes) = (nobody().await, Server::start("", |_| Does::Closes).await);
    let well = Server::start("well", |_| Does::Answers(200)).await;
    let origins = pool(&[&dead, &well.url], |_| ());
    assert_eq!(text(ask(&origins, "POST", Some("body")).await.unwrap()).await, "well");
    let origins = pool(&[&closes.url, &well.url], |_| ());
    assert!(matches!(ask(&origins, "POST", Some("body")).await, Err(OriginError::Broken(_))));
    assert!(matches!(ask(&origins, "POST", None).await, Err(OriginError::Broken(_))));
    assert_eq!((closes.count(), well.count()), (2, 1));
    assert_eq!(text(ask(&origins, "GET", None).await.unwrap()).await, "well");
}

#[tokio::test]
async fn whoever_fails_or_breaks_off_is_followed_by_another_within_the_budget() {
    for does in [Does::Answers(503), Does::Closes] {
        let failing = Server::start("failing", move |_| does).await;
        let well = Server::start("well", |_| Does::Answers(200)).await;
        let origins = pool(&[&failing.url, &well.url], |_| ());
        for _ in 0..5 {
            assert_eq!(text(ask(&origins, "GET", None).await.unwrap()).await, "well");
        }
        assert_eq!((failing.count(), well.count()), (3, 5));
        assert_eq!((origins.views()[1].retries, origins.views()[0].ready), (3, false));
    }
    // All fail: the last answer is returned, and the servers do not get more than the share on top.
    let (one, two) =
        (Server::start("one", |_| Does::Answers(502)).await, Server::start("two", |_| Does::Answers(500)).await);
    let origins = pool(&[&one.url, &two.url], |settings| {
        (settings.pool.failures, settings.pool.gap_percent) = (0, 0);
        (settings.pool.retries_per_second, settings.pool.retry_percent) = (0, 5);
    });
    let asked = (0..100).map(|_| ask(&origins, "GET", None));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.into_iter().all(|answer| is_failure(answer.unwrap().status())));
    assert_eq!(one.count() + two.count(), 105);
}

#[tokio::test]
async fn a_late_answer_is_asked_for_elsewhere_too() {
    let (hangs, well) = (Server::start("", |_| Does::Hangs).await, Server::start("well", |_| Does::Answers(200)).await);
    let origins = pool(&[&hangs.url, &well.url], |settings| {
        settings.pool.hedge = crate::Hedge::After(Duration::from_millis(20));
    });
    for _ in 0..5 {
        assert_eq!(text(ask(&origins, "GET", None).await.unwrap()).await, "well");
    }
    assert_eq!((hangs.count(), well.count()), (3, 5));
    assert_eq!((origins.views()[1].hedges, origins.views()[0].ready), (3, false));
}

#[tokio::test]
async fn an_origin_gets_no_more_requests_than_it_may_have() {
    let (hangs, well) = (Server::start("", |_| Does::Hangs).await, Server::start("well", |_| Does::Answers(200)).await);
    let config = |url: &str| OriginConfig { url: url.to_owned(), requests: 1, pending: 1, ..OriginConfig::default() };
    let mut settings = Settings::default();
    settings.timeouts.connect = Duration::from_millis(50);
    settings.pool.hedge = crate::Hedge::Off;
    let origins = Origins::new(&[config(&hangs.url)], settings.clone()).unwrap();
    let (first, second, third) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(1), ask(&origins, "GET", None)),
        ask(&origins, "GET", None),
        async {
            while hangs.count() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            ask(&origins, "GET", None).await
        }
    );
    assert!(first.is_err(), "still in flight");
    for crowded in [second, third] {
        assert!(matches!(crowded, Err(OriginError::Crowded { .. })), "{crowded:?}");
    }
    assert_eq!(hangs.count(), 1);
    // With another one there, that is asked.
    let origins = Origins::new(&[config(&hangs.url), config(&well.url)], settings).unwrap();
    let hanging = tokio::spawn({
        let origins = origins.clone();
        async move { ask(&origins, "GET", None).await.map(drop) }
    });
    while origins.views()[0].in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(text(ask(&origins, "GET", None).await.unwrap()).await, "well");
    hanging.abort();
}

#[tokio::test]
async fn probes_find_out_who_is_well_before_visitors_do() {
    let ill = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let state = Arc::clone(&ill);
    let does = move |_| Does::Answers(if state.load(Ordering::SeqCst) { 500 } else { 200 });
    let (first, well) = (Server::start("first", does).await, Server::start("well", |_| Does::Answers(200)).await);
    let origins = pool(&[&first.url, &well.url], |settings| {
        settings.pool.slow_start = Duration::ZERO;
        settings.pool.probe.path = "/health".to_owned();
        settings.pool.probe.interval = Duration::from_millis(5);
    });
    let probing = tokio::spawn(origins.clone().probe());
    let until = async |ready: bool| {
        while origins.views()[0].ready != ready {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    until(false).await;
    assert_eq!(text(ask(&origins, "GET", None).await.unwrap()).await, "well");
    ill.store(false, Ordering::SeqCst);
    until(true).await;
    assert_eq!(text(ask(&origins, "GET", None).await.unwrap()).await, "first");
    assert!(first.asked.lock().unwrap()[0].starts_with("GET /health HTTP/1.1\r\n"));
    probing.abort();
}

#[tokio::test]
async fn a_drill_has_an_origin_fail_for_a_while() {
    let (first, second) =
        (Server::start("first", |_| Does::Answers(200)).await, Server::start("second", |_| Does::Answers(200)).await);
    let origins = pool(&[&first.url, &second.url], |settings| settings.pool.slow_start = Duration::ZERO);
    let name = origins.views()[0].name.clone();
    assert!(!origins.set_fault("nobody", None));
    assert!(origins.set_fault(&name, Some((Fault::Dead, Duration::from_secs(60)))));
    assert_eq!(text(ask(&origins, "GET", None).await.unwrap()).await, "second");
    assert_eq!(origins.views()[0].fault, Some(Fault::Dead));
    assert!(origins.set_fault(&name, None));
    assert_eq!(text(ask(&origins, "GET", None).await.unwrap()).await, "first");
}

#[tokio::test]
async fn an_origin_agrees_before_it_is_asked() {
    let agrees = Server::start("visitor.example", |_| Does::Answers(200)).await;
    let other = Server::start("other.example", |_| Does::Answers(200)).await;
    let origins = |url: &str| pool(&[url], |settings| settings.consent = Some(vec!["visitor.example".to_owned()]));
    let (one, two) = (origins(&agrees.url), origins(&other.url));
    assert!(ask(&one, "GET", None).await.is_ok() && ask(&one, "GET", None).await.is_ok());
    let asked =
        agrees.asked.lock().unwrap().iter().map(|head| head.lines().next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(asked, ["GET /.well-known/atoll HTTP/1.1", "GET /path HTTP/1.1", "GET /path HTTP/1.1"]);
    assert!(matches!(ask(&two, "GET", None).await, Err(OriginError::NotAgreed { .. })));
    assert_eq!(other.count(), 1);
    // And where strangers may not lead, nobody is asked at all.
    let reach = pool(&[&agrees.url], |settings| settings.reach = Reach::Public);
    assert!(matches!(ask(&reach, "GET", None).await, Err(OriginError::Connect { .. })));
}

#[tokio::test]
async fn names_are_followed_when_they_move_and_either_family_is_tried() {
    let (old, new) =
        (Server::start("old", |_| Does::Answers(200)).await, Server::start("new", |_| Does::Answers(200)).await);
    let port = |server: &Server| server.url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let (was, is) = (port(&old), port(&new));
    let moved = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let state = Arc::clone(&moved);
    let names = crate::resolve::fixed(move || {
        let port = if state.load(Ordering::SeqCst) { is } else { was };
        // Nobody is at the first, which is of the other family.
        Ok(vec![([0x100, 0, 0, 0, 0, 0, 0, 1], port).into(), ([127, 0, 0, 1], port).into()])
    });
    let mut settings = Settings::default();
    settings.pool.resolve = Duration::from_millis(20);
    let config = OriginConfig { url: "http://moving.example".to_owned(), ..OriginConfig::default() };
    let origins = Origins::over(&[config], settings, &atoll_trust::here(), &names).unwrap();
    assert_eq!(text(ask(&origins, "GET", None).await.unwrap()).await, "old");
    moved.store(true, Ordering::SeqCst);
    while text(ask(&origins, "GET", None).await.unwrap()).await != "new" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(old.asked.lock().unwrap()[0].to_ascii_lowercase().contains(header::HOST.as_str()));
}

#[tokio::test]
async fn origins_that_know_nodes_by_certificates_are_shown_one() {
    let client = rcgen::generate_simple_self_signed(["node.example".to_owned()]).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let roots = |certificate: &rcgen::Certificate| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        roots
    };
    let tls = atoll_trust::trusting(roots(&made.cert));
    let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots(&client.cert))).build().unwrap();
    let config = rustls::ServerConfig::builder().with_client_cert_verifier(verifier);
    let key = made.key_pair.serialize_der().try_into().unwrap();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nknown").await;
            let _ = stream.shutdown().await;
        }
    });
    let folder = std::env::temp_dir().join(format!("atoll-mtls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("node.pem"), folder.join("node.key"));
    std::fs::write(&certificate, client.cert.pem()).unwrap();
    std::fs::write(&key, client.key_pair.serialize_pem()).unwrap();
    let stranger = OriginConfig { url: format!("https://localhost:{port}"), ..OriginConfig::default() };
    let known = OriginConfig {
        client_certificate: certificate.to_str().unwrap().to_owned(),
        client_key: key.to_str().unwrap().to_owned(),
        ..stranger.clone()
    };
    let origins = |config: OriginConfig| Origins::over(&[config], Settings::default(), &tls, &system());
    let known = origins(known).unwrap();
    assert!(ask(&origins(stranger.clone()).unwrap(), "GET", None).await.is_err());
    assert_eq!(text(ask(&known, "GET", None).await.unwrap()).await, "known");
    std::fs::remove_dir_all(&folder).unwrap();
    let gone = OriginConfig { client_certificate: "/nowhere".to_owned(), ..stranger };
    assert!(origins(gone).unwrap_err().contains("/nowhere"));
}
