//! The whole service in one process: over HTTP, with a store in memory and a network that has what a test puts there.

#![expect(clippy::unwrap_used, reason = "a test panics where its set-up fails")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use atoll_core::block::{DAG_PB, RAW};
use atoll_core::dagpb::Link;
use atoll_core::{Block, BoxFuture, Cid, Denied, Deny, Multiaddr, Storage as _, Subject, unixfs};
use atoll_pinning::{Allow, Config, Network, Parts, Service, Store};
use atoll_testkit::http::{Reply, exchange};
use atoll_testkit::{MemoryStorage, SimClock};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Whoever has blocks; found only while `open`.
#[derive(Default)]
struct Elsewhere {
    seeks: AtomicUsize,
    open: AtomicUsize,
}

impl Network for Elsewhere {
    fn seek<'a>(&'a self, _: &'a Cid, _: &'a Cid, _: &'a [String], _: Duration) -> BoxFuture<'a, bool> {
        self.seeks.fetch_add(1, Ordering::SeqCst);
        let found = self.open.load(Ordering::SeqCst) > 0;
        Box::pin(async move { found })
    }

    fn delegates(&self) -> Vec<Multiaddr> {
        vec!["/ip4/192.0.2.1/tcp/4001".parse().unwrap()]
    }
}

/// Denies one block.
struct DenyOne(Cid);

impl Deny for DenyOne {
    fn decide(&self, subject: Subject<'_>) -> Option<Denied> {
        matches!(subject, Subject::Block(cid) if *cid == self.0).then_some(Denied::Legal)
    }

    fn version(&self) -> u64 {
        0
    }
}

struct Bench {
    folder: tempfile::TempDir,
    config: Config,
    /// What others have.
    elsewhere: Arc<MemoryStorage>,
    network: Arc<Elsewhere>,
    storage: Arc<MemoryStorage>,
    running: Option<(Service, SocketAddr, JoinSet<()>, watch::Sender<bool>)>,
}

impl Bench {
    async fn new() -> Self {
        let config = Config {
            allowed_origins: vec!["https://app.example".to_owned()],
            retry_min: Duration::from_millis(20),
            retry_max: Duration::from_millis(40),
            seek_timeout: Duration::from_millis(100),
            ..Config::default()
        };
        let mut bench = Self {
            folder: tempfile::tempdir().unwrap(),
            config,
            elsewhere: Arc::default(),
            network: Arc::default(),
            storage: Arc::default(),
            running: None,
        };
        bench.start().await;
        bench
    }

    async fn start(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock = Arc::new(SimClock::start());
        let parts = Parts {
            store: Store::open(self.folder.path(), Arc::clone(&clock) as _).unwrap(),
            blocks: Arc::clone(&self.elsewhere) as _,
            storage: Arc::clone(&self.storage) as _,
            hold: Box::new(|| Box::new(())),
            network: Arc::clone(&self.network) as _,
            deny: Arc::new(DenyOne(*denied().cid())),
            clock,
            config: self.config.clone(),
        };
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let service = Service::spawn(parts, vec![listener], &mut tasks, &stopped);
        self.running = Some((service, address, tasks, stop));
    }

    /// Ends as a crash would: nothing is said to anybody.
    async fn crash(&mut self) {
        let (service, _, mut tasks, _stop) = self.running.take().unwrap();
        tasks.shutdown().await;
        drop(service);
    }

    fn service(&self) -> &Service {
        &self.running.as_ref().unwrap().0
    }

    async fn token(&self, name: &str, quota: u64) -> String {
        self.service().add_publisher(name, quota, Allow::Any).await.unwrap()
    }

    async fn raw(&self, head: String, body: &[u8]) -> Reply {
        let address = self.running.as_ref().unwrap().1;
        let bytes = [head.as_bytes(), b"Connection: close\r\n\r\n", body].concat();
        let answer = tokio::task::spawn_blocking(move || exchange(address, &bytes)).await.unwrap();
        Reply::parse(&answer, false)
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        let len = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: {len}\r\n"
        );
        let reply = self.raw(head, body.as_bytes()).await;
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
    }

    async fn pin(&self, token: &str, root: &Cid) -> String {
        let (status, answer) = self.ask(token, "POST", "/pins", &json!({ "cid": root.to_string() }).to_string()).await;
        assert_eq!(status, 202, "{answer}");
        answer["requestid"].as_str().unwrap().to_owned()
    }

    /// Waits until a request has this status.
    async fn until(&self, token: &str, id: &str, wanted: &str) -> Value {
        let begun = Instant::now();
        loop {
            let (status, answer) = self.ask(token, "GET", &format!("/pins/{id}"), "").await;
            assert_eq!(status, 200, "{answer}");
            if answer["status"] == wanted {
                return answer;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "not {wanted}: {answer}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A folder of `leaves` that others have.
    fn dag(&self, leaves: &[&[u8]]) -> Cid {
        let leaves: Vec<Block> =
            leaves.iter().map(|leaf| Block::sha2_256(RAW, leaf.to_vec().into()).unwrap()).collect();
        let names: Vec<String> = (0..leaves.len()).map(|n| n.to_string()).collect();
        let link = |(name, leaf): (&String, &Block)| (name.clone(), *leaf.cid(), leaf.bytes().len() as u64);
        let parts: Vec<(String, Cid, u64)> = names.iter().zip(&leaves).map(link).collect();
        let links = parts.iter().map(|(name, cid, size)| Link::new(*cid, name, *size)).collect();
        let folder = unixfs::encode_directory(links);
        let folder = Block::sha2_256(DAG_PB, folder.into()).unwrap();
        self.elsewhere.fill(leaves.iter().chain([&folder]));
        self.network.open.store(1, Ordering::SeqCst);
        *folder.cid()
    }

    async fn reasons(&self, root: &Cid) -> usize {
        self.storage.pins().await.unwrap().iter().filter(|(pinned, _)| pinned == root).count()
    }
}

fn denied() -> Block {
    Block::sha2_256(RAW, b"not here".to_vec().into()).unwrap()
}

fn reason(answer: &Value) -> &str {
    answer["error"]["reason"].as_str().unwrap()
}

#[tokio::test]
async fn a_dag_is_fetched_pinned_counted_and_let_go() {
    let bench = Bench::new().await;
    let (one, two) = (bench.token("one", 1000).await, bench.token("two", 1000).await);
    let root = bench.dag(&[b"calm", b"water"]);
    let id = bench.pin(&one, &root).await;
    let pinned = bench.until(&one, &id, "pinned").await;
    assert_eq!(pinned["pin"]["cid"], root.to_string());
    assert_eq!(pinned["info"]["blocks"], "3");
    assert_eq!(pinned["delegates"][0], "/ip4/192.0.2.1/tcp/4001");
    assert!(bench.storage.holds_whole(&root));
    let other = bench.pin(&two, &root).await;
    bench.until(&two, &other, "pinned").await;
    assert_eq!(bench.reasons(&root).await, 2);
    let used: Vec<u64> = bench.service().publishers().iter().map(|view| view.used).collect();
    assert_eq!(used[0], used[1]);
    assert_eq!(bench.network.seeks.load(Ordering::SeqCst), 1, "what is here is not sought");
    assert_eq!(bench.ask(&two, "DELETE", &format!("/pins/{id}"), "").await.0, 404, "it is not theirs");
    assert_eq!(bench.ask(&one, "DELETE", &format!("/pins/{id}"), "").await.0, 202);
    assert_eq!(bench.ask(&one, "GET", &format!("/pins/{id}"), "").await.0, 404);
    assert_eq!(bench.reasons(&root).await, 1);
    assert_eq!(bench.service().revoke("two", true).await.unwrap(), 1);
    assert_eq!(bench.reasons(&root).await, 0);
    assert_eq!(bench.ask(&two, "GET", "/pins", "").await.0, 401);
}

#[tokio::test]
async fn a_dag_over_the_quota_fails_and_leaves_nothing_pinned() {
    let bench = Bench::new().await;
    let token = bench.token("one", 400).await;
    let large = bench.dag(&[&[1; 300], &[2; 300]]);
    let id = bench.pin(&token, &large).await;
    let failed = bench.until(&token, &id, "failed").await;
    assert!(failed["info"]["status_details"].as_str().unwrap().contains("quota of 400 bytes"), "{failed}");
    assert_eq!((bench.storage.pinned(), bench.service().snapshot().bytes), (0, 0));
    let leaf = Block::sha2_256(RAW, vec![3; 400].into()).unwrap();
    bench.elsewhere.fill([&leaf]);
    let id = bench.pin(&token, leaf.cid()).await;
    bench.until(&token, &id, "pinned").await;
    let (status, answer) = bench.ask(&token, "POST", "/pins", &json!({ "cid": large.to_string() }).to_string()).await;
    assert_eq!((status, reason(&answer)), (409, "INSUFFICIENT_FUNDS"));
    // In its place there is room.
    let small = Block::sha2_256(RAW, vec![4; 10].into()).unwrap();
    bench.elsewhere.fill([&small]);
    let body = json!({ "cid": small.cid().to_string() }).to_string();
    let (status, answer) = bench.ask(&token, "POST", &format!("/pins/{id}"), &body).await;
    assert_eq!(status, 202);
    let new = answer["requestid"].as_str().unwrap();
    assert_ne!(new, id);
    bench.until(&token, new, "pinned").await;
    let begun = Instant::now();
    while bench.reasons(leaf.cid()).await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.ask(&token, "POST", &format!("/pins/{id}"), &body).await.0, 404);
}

#[tokio::test]
async fn what_nobody_has_is_tried_again_until_its_time_is_over() {
    let mut bench = Bench::new().await;
    bench.crash().await;
    bench.config.timeout = Duration::from_secs(2);
    bench.start().await;
    let token = bench.token("one", 1000).await;
    let root = bench.dag(&[b"late"]);
    bench.network.open.store(0, Ordering::SeqCst);
    let id = bench.pin(&token, &root).await;
    let failed = bench.until(&token, &id, "failed").await;
    assert!(failed["info"]["status_details"].as_str().unwrap().contains("nobody was found"), "{failed}");
    assert!(bench.network.seeks.load(Ordering::SeqCst) > 1);
    let again = bench.pin(&token, &root).await;
    bench.network.open.store(1, Ordering::SeqCst);
    bench.until(&token, &again, "pinned").await;
}

#[tokio::test]
async fn a_crash_loses_no_request_and_leaves_no_pin_of_none() {
    let mut bench = Bench::new().await;
    let token = bench.token("one", 1000).await;
    let (kept, waiting) = (bench.dag(&[b"kept"]), bench.dag(&[b"waiting"]));
    let id = bench.pin(&token, &kept).await;
    bench.until(&token, &id, "pinned").await;
    bench.network.open.store(0, Ordering::SeqCst);
    let open = bench.pin(&token, &waiting).await;
    bench.crash().await;
    // As if the crash had come between the removal of a request and that of its pin; and somebody else's pin.
    bench.storage.pin(&kept, "remote:one:00000000000000000000000000000000").await.unwrap();
    bench.storage.pin(&kept, "mine").await.unwrap();
    // And as if an operator had taken the pin of a request away.
    bench.storage.unpin(&kept, &format!("remote:one:{id}")).await.unwrap();
    bench.network.open.store(1, Ordering::SeqCst);
    bench.start().await;
    bench.until(&token, &open, "pinned").await;
    bench.until(&token, &id, "pinned").await;
    let pins = bench.storage.pins().await.unwrap();
    let reasons: Vec<&str> = pins.iter().filter(|(root, _)| *root == kept).map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(reasons, ["mine", format!("remote:one:{id}").as_str()]);
}

#[tokio::test]
async fn what_is_refused_says_why() {
    let bench = Bench::new().await;
    let token = bench.token("one", 1000).await;
    let listed = Allow::parse(&["bafkqaaa"]).unwrap();
    let narrow = bench.service().add_publisher("narrow", 1000, listed).await.unwrap();
    let root = bench.dag(&[b"x"]);
    let pin = json!({ "cid": root.to_string() }).to_string();
    let bad = json!({ "cid": denied().cid().to_string() }).to_string();
    let large = " ".repeat(70_000);
    for (token, method, path, body, status, reason) in [
        ("", "GET", "/pins", "", 401, "UNAUTHORIZED"),
        ("atoll-pin-x", "GET", "/pins", "", 401, "UNAUTHORIZED"),
        (&token, "GET", "/", "", 404, "NOT_FOUND"),
        (&token, "GET", "/pinsx", "", 404, "NOT_FOUND"),
        (&token, "GET", "/pins/0", "", 404, "NOT_FOUND"),
        (&token, "DELETE", "/pins/00000000000000000000000000000000", "", 404, "NOT_FOUND"),
        (&token, "POST", "/pins/00000000000000000000000000000000", &pin, 404, "NOT_FOUND"),
        (&token, "PUT", "/pins", "", 405, "METHOD_NOT_ALLOWED"),
        (&token, "DELETE", "/pins", "", 405, "METHOD_NOT_ALLOWED"),
        (&token, "GET", "/pins?limit=0", "", 400, "BAD_REQUEST"),
        (&token, "GET", "/pins?match=x", "", 400, "BAD_REQUEST"),
        (&token, "POST", "/pins", "{}", 400, "BAD_REQUEST"),
        (&token, "POST", "/pins", &large, 413, "TOO_LARGE"),
        (&token, "POST", "/pins", &bad, 403, "DENIED"),
        (&narrow, "POST", "/pins", &pin, 403, "NOT_ALLOWED"),
    ] {
        let (got, answer) = bench.ask(token, method, path, body).await;
        let told = answer["error"]["reason"].as_str().unwrap_or_default();
        assert_eq!((got, told), (status, reason), "{method} {path}: {answer}");
        assert!(answer["error"]["details"].is_string());
    }
    let reply = bench.raw("GET /pins HTTP/1.1\r\nHost: evil.example\r\n".to_owned(), b"").await;
    assert_eq!(reply.status, 421);
}

#[tokio::test]
async fn lists_go_from_the_newest_to_the_oldest_page_by_page() {
    let bench = Bench::new().await;
    let token = bench.token("one", 1000).await;
    let mut made = Vec::new();
    for n in 0..25 {
        let body = json!({ "cid": "bafkqaaa", "name": format!("N{n}"), "meta": { "odd": (n % 2).to_string() } });
        let (_, answer) = bench.ask(&token, "POST", "/pins", &body.to_string()).await;
        made.push(answer["requestid"].as_str().unwrap().to_owned());
    }
    for id in &made {
        bench.until(&token, id, "pinned").await;
    }
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let (status, page) = bench.ask(&token, "GET", &format!("/pins?{before}"), "").await;
        assert_eq!((status, page["count"].as_u64().unwrap()), (200, 25 - seen.len() as u64));
        let results = page["results"].as_array().unwrap();
        seen.extend(results.iter().map(|one| one["requestid"].as_str().unwrap().to_owned()));
        let Some(last) = results.last() else { break };
        before = format!("before={}", last["created"].as_str().unwrap());
    }
    made.reverse();
    assert_eq!(seen, made);
    let (_, found) =
        bench.ask(&token, "GET", "/pins?meta=%7B%22odd%22:%221%22%7D&match=ipartial&name=n2&limit=2", "").await;
    assert_eq!((&found["count"], found["results"].as_array().unwrap().len()), (&json!(2), 2), "{found}");
}

#[tokio::test]
async fn web_pages_ask_only_when_they_are_allowed_to() {
    let bench = Bench::new().await;
    let token = bench.token("one", 1000).await;
    let from = |method: &str, origin: &str| {
        let preflight = "Access-Control-Request-Method: POST\r\n";
        format!("{method} /pins HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n{preflight}")
    };
    let reply = bench.raw(from("OPTIONS", "https://app.example"), b"").await;
    assert_eq!(reply.status, 204);
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("Authorization, Content-Type"));
    let reply = bench.raw(from("OPTIONS", "https://evil.example"), b"").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, None));
    let head = format!("{}Authorization: Bearer {token}\r\n", from("GET", "https://app.example"));
    let reply = bench.raw(head, b"").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("https://app.example")));
    let head = format!("GET /pins HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
    assert_eq!(bench.raw(head, b"").await.header("access-control-allow-origin"), None);
}
