//! A site of which a bucket is the server: objects of a store that others wrote, asked for with signatures that it checks.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use atoll_testkit::http::{Reply, request};
use atoll_testkit::process::Node;
use atoll_testkit::trial::{installed, noise, until};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const KEY: &str = "ANISLAND";
const SECRET: &str = "deep-and-blue-water";
const REGION: &str = "eu-1";

/// A store with a bucket `site`. It ends with this value.
struct Store {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Store {
    fn start() -> Option<Self> {
        let binary = installed("ATOLL_VERSITYGW")?;
        let folder = tempfile::tempdir().unwrap();
        for name in ["objects/site", "said-of-them"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(binary);
        command.args(["--port", &format!("127.0.0.1:{port}"), "--region", REGION, "--quiet", "posix", "--sidecar"]);
        command.arg(folder.path().join("said-of-them")).arg(folder.path().join("objects"));
        command.env("ROOT_ACCESS_KEY", KEY).env("ROOT_SECRET_KEY", SECRET).stdout(Stdio::null());
        let store = Self { process: command.spawn().unwrap(), port, folder };
        until("the store listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(store)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Puts an object there, with a client that is not ours.
    fn put(&self, object: &str, kind: &str, bytes: &[u8]) {
        let file = self.path("put");
        fs::write(&file, bytes).unwrap();
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(bytes));
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--request", "PUT", "--aws-sigv4", &format!("aws:amz:{REGION}:s3"), "--user"]);
        curl.arg(format!("{KEY}:{SECRET}")).args(["--header", &format!("content-type: {kind}")]);
        curl.args(["--header", &format!("x-amz-content-sha256: {digest}"), "--data-binary"]);
        curl.arg(format!("@{}", file.display())).arg(format!("http://127.0.0.1:{}/site/{object}", self.port));
        assert!(curl.status().unwrap().success(), "{object}");
    }

    /// The settings of a site that it is the server of.
    fn site(&self, host: &str, credentials: &Path) -> String {
        format!(
            "[[sites]]\nhosts = [\"{host}\"]\n[[sites.origins]]\nurl = \"http://127.0.0.1:{}\"\n\
             bucket = {{ name = \"site\", region = \"{REGION}\", credentials = {credentials:?} }}\n",
            self.port
        )
    }

    fn credentials(&self, name: &str, secret: &str) -> std::path::PathBuf {
        let file = self.path(name);
        fs::write(&file, format!("{KEY}\n{secret}\n")).unwrap();
        file
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ask(node: &Node, method: &str, host: &str, target: &str, fields: &[&str]) -> Reply {
    request(node.gateway(), method, host, target, fields)
}

#[test]
fn objects_of_a_store_are_shown_by_their_paths() {
    let Some(store) = Store::start() else { return };
    let (page, picture) = (b"<p>a shop</p>".to_vec(), noise(4, 300_000));
    for object in ["index.html", "docs/index.html", "docs/a%20b%2Bc.html"] {
        store.put(object, "text/html", &page);
    }
    store.put("drawn.png", "image/png", &picture);
    // Beside the bucket, what nobody may reach through it.
    fs::create_dir(store.path("objects/other")).unwrap();
    fs::write(store.path("objects/other/secret"), "not yours").unwrap();
    let (good, wrong) = (store.credentials("good", SECRET), store.credentials("wrong", "shallow-water"));
    let toml = [store.site("shop.example", &good), store.site("wrong.example", &wrong)].concat();
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&toml).started();
    let get = |target: &str, fields: &[&str]| ask(&node, "GET", "shop.example", target, fields);
    for target in ["/", "/index.html", "/docs/", "/docs/a%20b%2Bc.html", "/?page=2"] {
        let reply = get(target, &["Cookie: a=b", "Authorization: Bearer visitor"]);
        assert_eq!((reply.status, &reply.body), (200, &page), "{target}");
        assert_eq!(reply.header("content-type"), Some("text/html"));
    }
    let head = ask(&node, "HEAD", "shop.example", "/drawn.png", &[]);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("300000"), 0));
    let part = get("/drawn.png", &["Range: bytes=1000-1999"]);
    assert_eq!((part.status, &part.body[..]), (206, &picture[1000..2000]));
    assert_eq!(part.header("content-range"), Some("bytes 1000-1999/300000"));
    let whole = get("/drawn.png", &[]);
    assert_eq!((whole.status, &whole.body), (200, &picture));
    let etag = whole.header("etag").unwrap();
    assert_eq!(get("/drawn.png", &[&format!("If-None-Match: {etag}")]).status, 304);
    assert_eq!(get("/drawn.png", &["Range: bytes=400000-"]).status, 416);

    // What is not there, what is none of the visitors' business, and what leads elsewhere.
    let missing = get("/nowhere", &[]);
    assert_eq!((missing.status, missing.text()), (404, "404 Not Found\n"));
    let headless = ask(&node, "HEAD", "shop.example", "/nowhere", &[]);
    assert_eq!((headless.status, headless.body.len()), (404, 0));
    let refused = ask(&node, "GET", "wrong.example", "/", &[]);
    assert_eq!((refused.status, refused.text()), (403, "403 Forbidden\n"), "nor what was signed, nor with which key");
    assert!(refused.headers.iter().all(|(name, _)| !name.starts_with("x-amz")), "{:?}", refused.headers);
    for target in ["/../other/secret", "/%2e%2e/other/secret", "/docs/..%2f../../other/secret", "/..%2fother/secret"] {
        let reply = get(target, &[]);
        assert!(matches!(reply.status, 400 | 403 | 404), "{target}: {}", reply.status);
        assert!(!reply.body.windows(3).any(|part| part == b"not"), "{target}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let reply = ask(&node, method, "shop.example", "/index.html", &["Content-Length: 0"]);
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(fs::read(store.path("objects/site/index.html")).unwrap(), page);
}

#[test]
fn a_store_that_is_gone_is_outlived_by_what_is_stored() {
    let Some(mut store) = Store::start() else { return };
    store.put("index.html", "text/html", b"<p>a shop</p>");
    let toml =
        format!("{}[sites.cache]\nprofile = \"cdn\"\n", store.site("shop.example", &store.credentials("good", SECRET)));
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&toml).started();
    let now = || ask(&node, "GET", "shop.example", "/", &[]);
    until("it is stored", || {
        now().header("cache-status").is_some_and(|said| said.contains("; hit") || said.contains("stored"))
    });
    store.process.kill().unwrap();
    store.process.wait().unwrap();
    let kept = now();
    assert_eq!((kept.status, kept.text()), (200, "<p>a shop</p>"));
    assert_eq!(ask(&node, "GET", "shop.example", "/another", &[]).status, 502);
}
