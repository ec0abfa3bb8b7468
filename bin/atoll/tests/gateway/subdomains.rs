//! Subdomain Gateway and proxy mode: an origin for each root.

use atoll_testkit::http::{Reply, exchange};

use crate::{HELLOS, LISTING, Node, contains, node};

#[test]
fn a_path_moves_to_its_own_origin() {
    let Some(node) = node() else { return };
    let v0 = node.cid(&format!("/ipfs/{HELLOS}/hello-CIDv0"));
    let moved = |host: &str, target: &str, headers: &[&str]| {
        let reply = node.on(host, target, headers);
        assert_eq!(reply.status, 301, "{target}");
        reply.header("location").unwrap().to_owned()
    };
    let plain = moved("example.com:1", &format!("/ipfs/{LISTING}/a%20b?x=1"), &[]);
    assert_eq!(plain, format!("http://{LISTING}.ipfs.example.com:1/a%20b?x=1"));
    assert!(v0.starts_with("Qm"));
    let v1 = moved("example.com", &format!("/ipfs/{v0}/"), &[]);
    assert!(v1.starts_with("http://bafy") && v1.ends_with(".ipfs.example.com/"), "{v1}");
    let forwarded = ["X-Forwarded-Host: example.com", "X-Forwarded-Proto: https"];
    assert_eq!(
        moved("inner.example", &format!("/ipfs/{LISTING}/"), &forwarded),
        format!("https://{LISTING}.ipfs.example.com/")
    );
    let uri = moved("example.com", &format!("/ipfs/?uri=ipfs%3A%2F%2F{v0}%2Fwiki%2FA.html"), &[]);
    assert_eq!(uri, format!("/ipfs/{v0}/wiki/A.html"));
}

#[test]
fn all_of_an_origin_is_content() {
    let Some(node) = node() else { return };
    let root = node.cid(&format!("/ipfs/{HELLOS}/testdirlisting"));
    let host = format!("{root}.ipfs.example.com");
    assert_eq!(node.on(&host, "/ipfs/file.txt", &[]).text(), "I am a txt file\n");
    assert_eq!(node.on(&host, &format!("/ipfs/{root}/"), &[]).status, 404);
    let page = node.on(&host, "/ipfs/ipns/", &[]);
    contains(page.text(), "<a href=\"/ipfs/ipns/..\">..</a>");
    contains(page.text(), "<a href=\"/ipfs/ipns/bar\">bar</a>");
    contains(page.text(), &format!("/ipfs/<a href=\"//example.com/ipfs/{root}\">{root}</a>"));
    let bare = node.on(&host, "/ipfs/ipns", &[]);
    assert_eq!((bare.status, bare.header("location")), (301, Some("/ipfs/ipns/")));
}

#[test]
fn a_cid_that_is_no_label_is_refused() {
    let Some(node) = node() else { return };
    let long = node.cid(&format!("/ipfs/{HELLOS}/hello-CIDv1_TOO_LONG"));
    for reply in
        [node.on("example.com", &format!("/ipfs/{long}/"), &[]), node.on(&format!("{long}.ipfs.example.com"), "/", &[])]
    {
        assert_eq!(reply.status, 400);
        contains(reply.text(), "CID incompatible with DNS label length limit of 63");
    }
}

#[test]
fn a_client_may_take_it_for_a_proxy_of_its_own_hosts() {
    let Some(node) = node() else { return };
    let cid = node.cid(&format!("/ipfs/{HELLOS}/hello-CIDv1"));
    let host = format!("{cid}.ipfs.example.com");
    let absolute = node.on(&host, &format!("http://{host}/"), &[]);
    assert_eq!(absolute.text(), "hello\n");
    assert_eq!(tunnel(node, "example.com:80", &host).text(), "hello\n");
    let refused = exchange(node.address, b"CONNECT 192.0.2.1:80 HTTP/1.1\r\n\r\n");
    assert_eq!(Reply::parse(&refused, false).status, 403);
}

fn tunnel(node: &Node, through: &str, host: &str) -> Reply {
    let request = format!(
        "CONNECT {through} HTTP/1.1\r\nHost: {through}\r\n\r\nGET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    let answer = exchange(node.address, request.as_bytes());
    let established = b"HTTP/1.1 200 Connection Established\r\n\r\n";
    Reply::parse(answer.strip_prefix(established).unwrap(), false)
}
