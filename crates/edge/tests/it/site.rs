//! A site's own rules, on its own origin and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use atoll_core::names::SignedName;
use atoll_core::{BoxFuture, Cid, NameError, Names, Resolution, SystemClock};

use crate::support::{Gateway, Memory, Reply, config, imported, services};

const REDIRECTS: &str = "/old /new.html\n/moved/* https://elsewhere.example/:splat?a=1 302\n/gone/* /gone.html 410\n/app/* /app/ 200\n/broken /nothing.html 200\n/lost /nothing.html 451\n/api/* https://api.example/:splat 200\n";
const HEADERS: &str = "/*\n  X-Frame-Options: DENY\n  ! Access-Control-Allow-Origin\n/app/*\n  Cache-Control: no-cache\n/data\n  Content-Type: application/json\n";

const FILES: &[(&str, &[u8])] = &[
    ("_redirects", REDIRECTS.as_bytes()),
    ("_headers", HEADERS.as_bytes()),
    ("index.html", b"home"),
    ("new.html", b"new"),
    ("gone.html", b"gone for good"),
    ("app/index.html", b"the app"),
    ("app/real.txt", b"real"),
    ("data", b"some data"),
    ("folder/x.txt", b"x"),
];

/// One name, which points at a folder below a root.
struct OneName(Arc<Resolution>);

impl Names for OneName {
    fn cached(&self, name: &str) -> Option<Arc<Resolution>> {
        (name == "site.example").then(|| Arc::clone(&self.0))
    }

    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Resolution>, NameError>> {
        Box::pin(async move { self.cached(name).ok_or_else(|| NameError::NotFound(name.to_owned())) })
    }

    fn record<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<SignedName, NameError>> {
        Box::pin(async move { Err(NameError::NotFound(name.to_owned())) })
    }
}

/// A gateway that knows `site.example`, which begins at `path` below the root.
fn named(memory: Memory, root: Cid, path: &[&str]) -> Gateway {
    let (mut services, counters) = services(memory);
    let fresh_until = SystemClock::now().after(Duration::from_secs(300));
    let path = path.iter().map(|name| (*name).to_owned()).collect();
    services.names =
        Arc::new(OneName(Arc::new(Resolution { root, path, via: Vec::new(), fresh_until, valid_until: None })));
    Gateway::of(&config(), services, counters)
}

fn own_host(root: &Cid) -> String {
    format!("{root}.ipfs.localhost")
}

fn get(gateway: &Gateway, host: &str, target: &str, headers: &[&str]) -> Reply {
    gateway.request("GET", host, target, headers)
}

#[test]
fn what_is_missing_follows_the_rules_of_the_site() {
    let (memory, root) = imported(FILES);
    let (gateway, host) = (Gateway::over(memory), own_host(&root));
    let old = get(&gateway, &host, "/old?b=2", &[]);
    assert_eq!((old.status, old.header("location")), (301, Some("/new.html?b=2")));
    let moved = get(&gateway, &host, "/moved/x%2fy", &[]);
    assert_eq!(moved.status, 400, "a name with a slash in it names nothing");
    let moved = get(&gateway, &host, "/moved/x/%C4%85?b", &[]);
    assert_eq!((moved.status, moved.header("location")), (302, Some("https://elsewhere.example/x/%C4%85?a=1&b")));
    let gone = get(&gateway, &host, "/gone/x", &["Range: bytes=0-3", "If-None-Match: *"]);
    assert_eq!((gone.status, gone.text()), (410, "gone for good"));
    assert_eq!(gone.header("cache-control"), Some("public, max-age=29030400, immutable"));
    assert_eq!(gone.header("x-frame-options"), Some("DENY"));
    let head = gateway.request("HEAD", &host, "/gone/x", &[]);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (410, Some("13"), 0));
    // What exists is never redirected, and a name below a file is missing as well.
    assert_eq!(get(&gateway, &host, "/app/real.txt", &[]).text(), "real");
    assert_eq!(get(&gateway, &host, "/app/real.txt/x", &[]).text(), "the app");
    assert_eq!(get(&gateway, &host, "/none", &[]).status, 404);
}

#[test]
fn a_rewrite_is_an_answer_like_any_other() {
    let (memory, root) = imported(FILES);
    let (gateway, host) = (Gateway::over(memory), own_host(&root));
    // Twice, since the second answer comes from elsewhere.
    for _ in 0..2 {
        let app = get(&gateway, &host, "/app/any/view", &[]);
        assert_eq!((app.status, app.text()), (200, "the app"));
        assert_eq!(app.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(app.header("cache-control"), Some("no-cache"));
        let etag = app.header("etag").unwrap();
        assert_eq!(get(&gateway, &host, "/app/any/view", &[&format!("If-None-Match: {etag}")]).status, 304);
    }
}

#[test]
fn rules_that_lead_nowhere_say_so() {
    let (memory, root) = imported(FILES);
    let (gateway, host) = (Gateway::over(memory), own_host(&root));
    for (target, status, text) in [
        ("/broken", 404, "line 5 of the site's _redirects"),
        ("/lost", 451, "line 6 of the site's _redirects"),
        ("/api/x", 500, "could not parse _redirects: line 7: "),
    ] {
        let reply = get(&gateway, &host, target, &[]);
        assert_eq!(reply.status, status, "{target}");
        assert!(reply.text().contains(text), "{target}: {}", reply.text());
    }
}

#[test]
fn a_broken_or_oversized_file_of_rules_is_an_error_for_what_is_missing_only() {
    let large = "#\n".repeat(40_000);
    for (file, text) in [
        ("/a /b 301!", "could not parse _redirects: line 1: forced redirects"),
        (&*large, "could not parse _redirects: redirects file size cannot exceed 65536 bytes"),
    ] {
        let (memory, root) = imported(&[("_redirects", file.as_bytes()), ("a.txt", b"a")]);
        let (gateway, host) = (Gateway::over(memory), own_host(&root));
        let reply = get(&gateway, &host, "/none", &[]);
        assert_eq!(reply.status, 500);
        assert!(reply.text().contains(text), "{}", reply.text());
        assert_eq!(get(&gateway, &host, "/a.txt", &[]).status, 200);
    }
}

#[test]
fn rules_that_cannot_be_had_are_an_error_until_they_can() {
    let (memory, root) = imported(FILES);
    let redirects = atoll_core::Block::sha2_256(0x55, REDIRECTS.as_bytes().into()).unwrap();
    memory.missing.lock().unwrap().insert(*redirects.cid());
    let memory = Arc::new(memory);
    let (mut services, counters) = services(Memory::default());
    (services.blocks, services.local) = (Arc::clone(&memory) as _, Arc::clone(&memory) as _);
    let (gateway, host) = (Gateway::of(&config(), services, counters), own_host(&root));
    assert_eq!(get(&gateway, &host, "/old", &[]).status, 500);
    assert_eq!(get(&gateway, &host, "/new.html", &[]).status, 200);
    memory.missing.lock().unwrap().clear();
    assert_eq!(get(&gateway, &host, "/old", &[]).status, 301);
}

#[test]
fn heads_are_the_sites_to_change_on_its_own_origin() {
    let (memory, root) = imported(FILES);
    let (gateway, host) = (Gateway::over(memory), own_host(&root));
    for _ in 0..2 {
        let home = get(&gateway, &host, "/", &[]);
        assert_eq!(home.header("x-frame-options"), Some("DENY"));
        assert_eq!(home.header("access-control-allow-origin"), None);
        assert_eq!(get(&gateway, &host, "/data", &[]).header("content-type"), Some("application/json"));
        let shared = gateway.get(format!("/ipfs/{root}/data"), &[]);
        assert_eq!(shared.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(shared.header("x-frame-options"), None);
    }
    // A listing is the gateway's own page, and rules are of the web's form of content only.
    assert_eq!(get(&gateway, &host, "/folder/", &[]).header("x-frame-options"), None);
    assert_eq!(get(&gateway, &host, "/data?format=raw", &[]).header("x-frame-options"), None);
    assert_eq!(get(&gateway, &host, "/old?format=raw", &[]).status, 404);
}

#[test]
fn path_gateways_have_no_rules() {
    let (memory, root) = imported(FILES);
    let gateway = Gateway::over(memory);
    for target in ["old", "gone/x", "app/any", "api/x"] {
        assert_eq!(gateway.get(format!("/ipfs/{root}/{target}"), &[]).status, 404, "{target}");
    }
}

/// Whether an answer may be cached for what is left of the name's 300 seconds.
fn is_of_the_name(cache_control: &str) -> bool {
    let seconds = cache_control.strip_prefix("public, max-age=").and_then(|seconds| seconds.parse::<u64>().ok());
    seconds.is_some_and(|seconds| (200..=300).contains(&seconds))
}

#[test]
fn a_name_shows_the_site_that_it_points_at() {
    let below: Vec<(String, &[u8])> = FILES.iter().map(|(name, bytes)| (format!("sites/one/{name}"), *bytes)).collect();
    let below: Vec<(&str, &[u8])> = below.iter().map(|(name, bytes)| (&**name, *bytes)).collect();
    let (memory, root) = imported(&below);
    let gateway = named(memory, root, &["sites", "one"]);
    for host in ["site.example", "site-example.ipns.localhost"] {
        assert_eq!(get(&gateway, host, "/old", &[]).header("location"), Some("/new.html"));
        let gone = get(&gateway, host, "/gone/x", &[]);
        assert_eq!((gone.status, gone.text()), (410, "gone for good"));
        assert!(is_of_the_name(gone.header("cache-control").unwrap()), "{gone:?}");
        // What the site says about its age holds for the answer that is kept too.
        for _ in 0..2 {
            assert_eq!(get(&gateway, host, "/app/any", &[]).header("cache-control"), Some("no-cache"));
            let home = get(&gateway, host, "/", &[]).header("cache-control").unwrap().to_owned();
            assert!(is_of_the_name(&home), "{home}");
        }
    }
}

#[test]
fn the_nearest_page_for_what_is_missing_is_shown_to_browsers() {
    let (memory, root) =
        imported(&[("ipfs-404.html", b"lost at the root"), ("a/ipfs-404.html", b"lost in a"), ("a/b/x.txt", b"x")]);
    let gateway = Gateway::over(memory);
    let html = &["Accept: text/html,*/*;q=0.8"][..];
    for (target, text) in [("none", "lost at the root"), ("a/b/none", "lost in a"), ("a/none/none", "lost in a")] {
        for reply in [
            gateway.get(format!("/ipfs/{root}/{target}"), html),
            get(&gateway, &own_host(&root), &format!("/{target}"), html),
        ] {
            assert_eq!((reply.status, reply.text()), (404, text), "{target}");
            assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        }
    }
    let plain = gateway.get(format!("/ipfs/{root}/none"), &["Accept: image/png"]);
    assert!(plain.status == 404 && !plain.text().contains("lost"));
    let deep = gateway.get(format!("/ipfs/{root}/{}", "x/".repeat(250)), html);
    assert_eq!((deep.status, deep.text()), (404, "lost at the root"));
}
