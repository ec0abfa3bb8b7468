//! Web _redirects File: a site's rules on its own origin, by its CID and by its names.

use atoll_testkit::http::Reply;

use crate::{Node, contains, node};

/// The folders of the fixture: `examples`, `forced`, `newlines`, `too-large`, `bad-codes`.
const SITES: &str = "bafybeibhhxtirbi3ikxjstau64vrm6rcb447lwxcbt2aml5rwztxr3nyee";
/// The DNSLink of `examples`.
const DOMAIN: &str = "dnslink-redirects-examples.example.org";

/// Asks a site of the fixture on its own origin.
fn ask(node: &Node, site: &str, target: &str, headers: &[&str]) -> Reply {
    let root = node.head(&format!("/ipfs/{SITES}/{site}/?format=raw"), &[]);
    let root = root.header("x-ipfs-roots").unwrap().rsplit(',').next().unwrap().to_owned();
    // As a client would find it: over the redirect to its own origin.
    let moved = node.on("example.com", &format!("/ipfs/{root}/"), &[]);
    let host = moved.header("location").unwrap().strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
    node.on(&host, target, headers)
}

#[test]
fn what_is_missing_follows_the_rules() {
    let Some(node) = node() else { return };
    for (target, status, location) in [
        ("/redirect-one", 301, "/one.html"),
        ("/redirect-one?x=1", 301, "/one.html?x=1"),
        ("/302-redirect-two", 302, "/two.html"),
        ("/posts/2022/01/01/hello-world", 301, "/articles/2022/01/01/hello-world"),
        ("/splat/one.html", 301, "/redirected-splat/one.html"),
    ] {
        for reply in [ask(node, "examples", target, &[]), node.on(DOMAIN, target, &[])] {
            assert_eq!((reply.status, reply.header("location")), (status, Some(location)), "{target}");
        }
    }
    for (target, status, text) in [
        ("/not-found/x", 404, "my 404"),
        ("/gone/x", 410, "my 410"),
        ("/unavail/x", 451, "my 451"),
        ("/x/y", 200, "my index"),
    ] {
        let reply = ask(node, "examples", target, &[]);
        assert_eq!(reply.status, status, "{target}");
        contains(reply.text(), text);
        assert_eq!(reply.header("cache-control"), Some("public, max-age=29030400, immutable"));
        let named = node.on(DOMAIN, target, &[]);
        assert_eq!((named.status, named.header("etag")), (status, reply.header("etag")), "{target}");
        assert!(!named.header("cache-control").unwrap().contains("immutable"), "{target}");
    }
}

#[test]
fn what_is_there_does_not() {
    let Some(node) = node() else { return };
    contains(ask(node, "examples", "/one.html", &[]).text(), "my one");
    contains(ask(node, "bad-codes", "/found.html", &[]).text(), "my found");
}

#[test]
fn files_of_rules_that_cannot_be_used_are_an_error() {
    let Some(node) = node() else { return };
    for (site, text) in
        [("forced", "line 1: forced redirects"), ("too-large", "redirects file size cannot exceed 65536 bytes")]
    {
        let reply = ask(node, site, "/not-found", &[]);
        assert_eq!(reply.status, 500, "{site}");
        contains(reply.text(), &format!("could not parse _redirects: {text}"));
    }
    assert_eq!(ask(node, "newlines", "/redirect-one", &[]).header("location"), Some("/one.html"));
}

#[test]
fn a_path_gateway_has_no_rules() {
    let Some(node) = node() else { return };
    assert_eq!(node.get(&format!("/ipfs/{SITES}/examples/redirect-one"), &[]).status, 404);
}

#[test]
fn a_rewritten_answer_is_validated() {
    let Some(node) = node() else { return };
    let host = "dnslink-enabled-with-spa.example.org";
    let first = node.on(host, "/missing-page", &["Accept: text/html"]);
    let tag = first.header("etag").unwrap();
    assert_eq!(first.status, 200);
    assert_eq!(node.on(host, "/missing-page", &["Accept: text/html", &format!("If-None-Match: {tag}")]).status, 304);
}
