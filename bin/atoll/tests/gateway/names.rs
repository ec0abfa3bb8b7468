//! IPNS and DNSLink: names in paths, in subdomains, on a site's own domain, and as signed records.

use crate::{Node, contains, node};

/// Points at [`crate::NESTED`].
const KEY: &str = "k51qzi5uqu5dlxdsdu5fpuu7h69wu4ohp32iwm9pdt9nq3y5rpn3ln9j12zfhe";
/// Points at `NESTED/root2`.
const KEY_WITH_PATH: &str = "k51qzi5uqu5djokp3m1keo36hoxtd6u3a1d2rg1camf6al7p3huy63dojlm57c";
/// Ed25519, in base58 as Kubo prints it.
const BASE58: &str = "12D3KooWLQzUv2FHWGVPXTXSZpdHs7oHbXub2G5WC8Tx4NQhyd2d";
/// RSA, in base58.
const RSA: &str = "QmVujd5Vb7moysJj8itnGufN7MEtPRCNHkKpNuA4onsRa3";

#[test]
fn a_record_is_followed_only_if_its_key_signed_it() {
    let Some(node) = node() else { return };
    for (key, status) in [
        ("k51qzi5uqu5dit2ku9mutlfgwyz8u730on38kd10m97m36bjt66my99hb6103f", 200),
        ("k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w", 200),
        ("k51qzi5uqu5dilgf7gorsh9vcqqq4myo6jd4zmqkuy9pxyxi5fua3uf7axph4y", 200),
        // Without signatureV2, with a wrong one, with a value in V1 that is not the signed one.
        ("k51qzi5uqu5dm4tm0wt8srkg9h9suud4wuiwjimndrkydqm81cqtlb5ak6p7ku", 502),
        ("k51qzi5uqu5diamp7qnnvs1p1gzmku3eijkeijs3418j23j077zrkok63xdm8c", 502),
        ("k51qzi5uqu5dlmit2tuwdvnx4sbnyqgmvbxftl0eo3f33wwtb9gr7yozae9kpw", 502),
        // Nobody knows it.
        ("k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8", 404),
    ] {
        assert_eq!(node.get(&format!("/ipns/{key}"), &[]).status, status, "{key}");
    }
}

#[test]
fn what_a_name_shows_is_as_fresh_as_its_record() {
    let Some(node) = node() else { return };
    for (path, page) in [("root2/root3/root4/index.html", false), ("root2/root3/root4/", false), ("root2/root3/", true)]
    {
        let reply = node.get(&format!("/ipns/{KEY}/{path}"), &[]);
        assert_eq!((reply.status, reply.header("x-ipfs-path").unwrap()), (200, &*format!("/ipns/{KEY}/{path}")));
        let age = reply.header("cache-control").unwrap().strip_prefix("public, max-age=").unwrap();
        assert_eq!(age.contains("stale-while-revalidate"), page, "{path}");
        let etag = format!("If-None-Match: {}", reply.header("etag").unwrap());
        let again = node.get(&format!("/ipns/{KEY}/{path}"), &[&etag]);
        assert!(again.status == 304 && again.header("cache-control").is_some());
    }
    assert_eq!(node.get(&format!("/ipns/{KEY_WITH_PATH}/root3/root4/index.html"), &[]).text(), "hello\n");
}

#[test]
fn a_record_is_handed_on_as_it_was_signed() {
    let Some(node) = node() else { return };
    let target = format!("/ipns/{KEY}?format=ipns-record");
    let record = node.get(&target, &[]);
    assert_eq!(record.header("content-type"), Some("application/vnd.ipfs.ipns-record"));
    contains(record.header("content-disposition").unwrap(), "attachment; filename=");
    let name = KEY.parse().unwrap();
    assert!(atoll_core::ipns::Record::verify(&name, record.body.clone().into()).is_ok());
    assert_eq!(node.get(&format!("/ipns/{KEY}"), &["Accept: application/vnd.ipfs.ipns-record"]).body, record.body);
    for wrong in ["/ipns/dnslink-test.example.org", &format!("/ipns/{KEY}/root2"), "/ipfs/bafkqaaa"] {
        assert_eq!(node.get(&format!("{wrong}?format=ipns-record"), &[]).status, 400, "{wrong}");
    }
}

#[test]
fn a_key_has_one_address_of_each_kind() {
    let Some(node) = node() else { return };
    for base58 in [BASE58, RSA] {
        let moved = node.get(&format!("/ipns/{base58}/a?x=1"), &[]);
        assert_eq!(moved.status, 302);
        let location = moved.header("location").unwrap();
        let key = location.strip_prefix("/ipns/").unwrap().strip_suffix("/a?x=1").unwrap();
        let moved = node.on("example.com", &format!("/ipns/{base58}"), &[]);
        assert_eq!(
            (moved.status, moved.header("location").unwrap()),
            (301, &*format!("http://{key}.ipns.example.com/"))
        );
        assert_eq!(node.on(&format!("{key}.ipns.example.com"), "/", &[]).text(), "hello\n");
    }
}

#[test]
fn a_host_name_is_a_site() {
    let Some(node) = node() else { return };
    let hello = |node: &Node, host: &str| assert_eq!(node.on(host, "/", &[]).text(), "hello\n", "{host}");
    for host in [
        "dnslink-test.example.org",
        "dnslink-test.example.org.ipns.example.com",
        "dnslink--test-example-org.ipns.example.com",
        "dnslink-over-ipns.example.org",
        "dnslink-over-ipns-cidv1.example.org",
    ] {
        hello(node, host);
    }
    assert_eq!(node.on("dnslink-subpath.example.org", "/root3/root4/index.html", &[]).text(), "hello\n");
    let moved = node.on("example.com", "/ipns/en.wikipedia-on-ipfs.example.org/wiki/", &["X-Forwarded-Proto: https"]);
    let inlined = "https://en-wikipedia--on--ipfs-example-org.ipns.example.com/wiki/";
    assert_eq!((moved.status, moved.header("location")), (301, Some(inlined)));
    let page = node.on("dnslink-dir-listing.example.org", "/%C4%85/%C4%99/", &[]);
    contains(page.text(), "/ipns/<a href=\"//dnslink-dir-listing.example.org/\">dnslink-dir-listing.example.org</a>");
    assert_eq!(node.on("no-such-site.example.org", "/", &[]).status, 404);
}
