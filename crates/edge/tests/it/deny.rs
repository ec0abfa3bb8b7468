//! What is denied is not shown, in whatever form it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use atoll_core::names::SignedName;
use atoll_core::{BoxFuture, Cid, Denied, Deny, NameError, Names, Resolution, Subject, SystemClock};
use atoll_edge::Config;

use crate::support::{Gateway, config, imported, services};

/// Denies what it is told to, from a version on.
#[derive(Default)]
struct Rules {
    path: Option<(Cid, &'static str)>,
    names: Vec<&'static str>,
    version: AtomicU64,
}

impl Deny for Rules {
    fn decide(&self, subject: Subject<'_>) -> Option<Denied> {
        let denied = match subject {
            Subject::Block(_) => return None,
            Subject::Path { root, names } => self.path == Some((*root, &*names.join("/"))),
            Subject::Name { name, .. } => self.names.contains(&name),
        };
        (denied && self.version() > 0).then_some(Denied::Legal)
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }
}

/// Every name points at one root, over `behind.example`.
struct AllNames(Cid);

impl Names for AllNames {
    fn cached(&self, _name: &str) -> Option<Arc<Resolution>> {
        let fresh_until = SystemClock::now().after(Duration::from_secs(300));
        let via = vec!["behind.example".to_owned()];
        Some(Arc::new(Resolution { root: self.0, path: Vec::new(), via, fresh_until, valid_until: None }))
    }

    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Resolution>, NameError>> {
        Box::pin(async move { self.cached(name).ok_or_else(|| NameError::NotFound(name.to_owned())) })
    }

    fn record<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<SignedName, NameError>> {
        Box::pin(async move { Err(NameError::NotFound(name.to_owned())) })
    }
}

#[test]
fn a_path_is_denied_in_every_form_and_from_memory_too() {
    let (memory, root) = imported(&[("index.html", b"home"), ("a/page.html", b"page"), ("a/other", b"x")]);
    let (mut services, counters) = services(memory);
    let rules = Arc::new(Rules { path: Some((root, "a/page.html")), ..Rules::default() });
    services.deny = Arc::clone(&rules) as _;
    let config = Config { abuse_contact: "abuse@edge.example".to_owned(), ..config() };
    let gateway = Gateway::of(&config, services, counters);
    let page = format!("/ipfs/{root}/a/page.html");
    // Twice, so that it is kept ready when it is taken down.
    assert_eq!((gateway.get(&page, &[]).status, gateway.get(&page, &[]).status), (200, 200));
    rules.version.store(1, Ordering::Relaxed);
    for format in ["", "?format=raw", "?format=car", "?format=tar", "?format=dag-json", "?filename=x.txt"] {
        for method in ["GET", "HEAD"] {
            let reply = gateway.request(method, "127.0.0.1", &format!("{page}{format}"), &[]);
            assert_eq!(reply.status, 451, "{method} {format}");
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            assert_eq!(reply.header("link"), Some("<mailto:abuse@edge.example>; rel=\"blocked-by\""));
        }
    }
    let own = gateway.request("GET", &format!("{root}.ipfs.localhost"), "/a/page.html", &["Accept: text/html"]);
    assert_eq!(own.status, 451);
    assert!(own.text().contains("<a href=\"mailto:abuse@edge.example\""));
    assert_eq!(gateway.get(format!("/ipfs/{root}/a/other"), &[]).status, 200);
}

#[test]
fn a_folder_around_what_is_denied_changes_nothing() {
    let (memory, root) = imported(&[("around/a/page.html", b"page"), ("around/b", b"b")]);
    let below = imported(&[("a/page.html", b"page"), ("b", b"b")]).1;
    let (mut services, counters) = services(memory);
    let rules = Rules { path: Some((below, "a/page.html")), version: AtomicU64::new(1), ..Rules::default() };
    services.deny = Arc::new(rules);
    let gateway = Gateway::of(&config(), services, counters);
    assert_eq!(gateway.get(format!("/ipfs/{root}/around/a/page.html"), &[]).status, 451);
    assert_eq!(gateway.get(format!("/ipfs/{root}/around/b"), &[]).status, 200);
}

#[test]
fn names_are_denied_wherever_they_stand() {
    for denied in ["site.example", "behind.example"] {
        let (memory, root) = imported(&[("index.html", b"home")]);
        let (mut services, counters) = services(memory);
        services.names = Arc::new(AllNames(root));
        services.deny = Arc::new(Rules { names: vec![denied], version: AtomicU64::new(1), ..Rules::default() });
        let gateway = Gateway::of(&config(), services, counters);
        for (host, target) in [
            ("site.example", "/"),
            ("site-example.ipns.localhost", "/"),
            ("127.0.0.1", "/ipns/site.example/"),
            ("127.0.0.1", "/ipns/site.example?format=car"),
        ] {
            assert_eq!(gateway.request("GET", host, target, &[]).status, 451, "{host}{target}");
        }
        assert_eq!(gateway.get(format!("/ipfs/{root}/"), &[]).status, 200);
    }
}
