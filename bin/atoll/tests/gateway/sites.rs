//! `_redirects`: only on a site's own origin, only for what is not there, the first rule that matches.

use crate::node;

/// The site with `_redirects`, which `dnslink-redirects-examples` names too.
const SITE: &str = "bafybeibhhxtirbi3ikxjstau64vrm6rcb447lwxcbt2aml5rwztxr3nyee";

#[test]
fn rules_hold_on_the_sites_own_origin() {
    let Some(node) = node() else { return };
    let examples = node.cid(&format!("/ipfs/{SITE}/examples"));
    let v1 = node.on("example.com", &format!("/ipfs/{examples}/"), &[]);
    let host = v1.header("location").unwrap().strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
    for host in [host.as_str(), "dnslink-redirects-examples.example.org"] {
        for (path, status, location) in [
            ("/redirect-one", 301, Some("/one.html")),
            ("/301-redirect-one", 301, Some("/one.html")),
            ("/302-redirect-two", 302, Some("/two.html")),
            ("/posts/2022/01/02/hello-world", 301, Some("/articles/2022/01/02/hello-world")),
            ("/splat/one.html", 301, Some("/redirected-splat/one.html")),
            ("/200-index", 200, None),
            ("/not-found/has-no-redirects-entry", 404, None),
            ("/gone/x", 410, None),
            ("/unavail/x", 451, None),
            ("/one.html", 200, None),
        ] {
            let reply = node.on(host, path, &[]);
            assert_eq!((reply.status, reply.header("location")), (status, location), "{host}{path}");
        }
    }
    // On an origin that all share, a site's rules would be rules for others.
    assert_eq!(node.get(&format!("/ipfs/{examples}/redirect-one"), &[]).status, 404);
}
