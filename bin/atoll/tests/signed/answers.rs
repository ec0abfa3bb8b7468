//! Which answers are signed, what is said of them, and within which budget.

use atoll_core::manifest::digest;
use atoll_core::signed::{NO_NONCE, Unsound, hex};
use atoll_testkit::http::{Reply, request};
use atoll_testkit::origin::Origin;

use super::{Site, big, checked, home};

const NONCE: &str = "Atoll-Nonce: 0x0101010101010101010101010101010101010101010101010101010101010101";
/// The status and the key of a signed answer.
type Signed = Option<(u16, &'static str)>;

/// What is signed on the site's own host.
const OWN: [(&str, &[&str], u16, Signed); 32] = [
    ("/", &[], 200, Some((200, "/"))),
    ("/index.html", &[], 200, Some((200, "/index.html"))),
    ("/index.html?v=3", &[], 200, Some((200, "/index.html"))),
    ("/a%20b.txt", &[], 200, Some((200, "/a%20b.txt"))),
    ("/%61%20b.txt", &[], 200, Some((200, "/a%20b.txt"))),
    ("/big.txt", &[], 200, Some((200, "/big.txt"))),
    ("/dir/", &[], 200, Some((200, "/dir/"))),
    ("/dir/index.html", &["Accept: text/html"], 200, Some((200, "/dir/index.html"))),
    ("/dir", &[], 301, Some((301, "/dir"))),
    ("/old", &[], 301, Some((301, "/old"))),
    ("/old/", &[], 301, Some((301, "/old/"))),
    ("/found", &[], 302, Some((302, "/found"))),
    ("/tmp", &[], 307, Some((307, "/tmp"))),
    ("/kept", &[], 308, Some((308, "/kept"))),
    ("/app/any/where", &[], 200, Some((200, "/app.html"))),
    ("/own/way", &[], 200, Some((200, "/own/app.html"))),
    ("/nowhere", &[], 404, Some((404, "/nowhere"))),
    ("/nowhere/", &["Accept: text/html"], 404, Some((404, "/nowhere/"))),
    ("/index.html/below", &[], 404, Some((404, "/index.html/below"))),
    // A rewrite with headers that its target does not have, redirects that no list holds, and pages of other statuses.
    ("/own/deep/way", &[], 200, None),
    ("/see", &[], 303, None),
    ("/wild/x", &[], 301, None),
    ("/old?x=1", &[], 301, None),
    ("/dir?x=1", &[], 301, None),
    ("/gone/x", &[], 410, None),
    // Parts, listings, other forms, other names.
    ("/index.html", &["Range: bytes=0-3"], 206, None),
    ("/big.txt", &["Range: bytes=6000000-"], 416, None),
    ("/bare/", &[], 200, None),
    ("/index.html?format=raw", &[], 200, None),
    ("/?format=car", &[], 200, None),
    ("/index.html?download=true", &[], 200, None),
    ("/index.html?filename=x.txt", &[], 200, None),
];

fn assert_signed(site: &Site, reply: &Reply, authority: &str, signed: Signed, what: &str) {
    match (checked(reply, authority), signed) {
        (Ok(found), Some((status, key))) => {
            assert_eq!((reply.status, &*found.key), (status, key), "{what}");
            assert_eq!(found.node.to_string(), site.node.status()["node_id"].as_str().unwrap());
        }
        (Err(Unsound::Unsigned), None) => {
            for name in ["unencoded-digest", "atoll-bundle", "atoll-key", "atoll-head", "atoll-nonce", "signature"] {
                assert_eq!(reply.header(name), None, "{what}");
            }
        }
        (found, expected) => panic!("{what}: {found:?}, not {expected:?}\n{:?}", reply.headers),
    }
}

#[test]
fn what_the_manifest_says_is_signed_and_nothing_else() {
    let site = Site::on(home().started());
    // The third time it is ready in memory.
    for round in 0..3 {
        for (target, headers, status, signed) in OWN {
            for method in ["GET", "HEAD"] {
                let what = format!("{method} {target} {headers:?}, round {round}");
                let reply = request(site.node.gateway(), method, &site.host(), target, headers);
                assert_eq!(reply.status, status, "{what}");
                assert_signed(&site, &reply, &site.host(), signed, &what);
                if let (Ok(found), "GET") = (checked(&reply, &site.host()), method) {
                    assert_eq!(found.digest, digest(&reply.body), "{what}");
                    assert_eq!((found.nonce, found.bundle.to_string()), (NO_NONCE, site.signed()), "{what}");
                }
            }
        }
    }
    for method in ["POST", "OPTIONS", "PUT", "DELETE"] {
        let reply = request(site.node.gateway(), method, &site.host(), "/index.html", &[]);
        assert_signed(&site, &reply, &site.host(), None, method);
    }
    let etag = site.get("/index.html", &[]).header("etag").unwrap().to_owned();
    for round in 0..2 {
        let reply = site.get("/index.html", &[&format!("If-None-Match: {etag}")]);
        assert_eq!(reply.status, 304);
        assert_signed(&site, &reply, &site.host(), None, &format!("304, round {round}"));
    }
}

#[test]
fn path_gateways_sign_what_is_the_same_there() {
    let site = Site::on(home().started());
    let authority = site.node.gateway().to_string();
    for (below, status, signed) in [
        ("/index.html", 200, Some((200, "/index.html"))),
        ("/", 200, Some((200, "/"))),
        ("/a%20b.txt", 200, Some((200, "/a%20b.txt"))),
        ("/nowhere", 404, Some((404, "/nowhere"))),
        // The site's own headers do not hold here, and links are others.
        ("/dir/", 200, None),
        ("/dir", 301, None),
        ("/bare/", 200, None),
    ] {
        for round in 0..2 {
            let target = format!("/ipfs/{}{below}", site.root);
            let reply = request(site.node.gateway(), "GET", &authority, &target, &[]);
            assert_eq!(reply.status, status, "{target}");
            assert_signed(&site, &reply, &authority, signed, &format!("{target}, round {round}"));
        }
    }
    // Another name for the same door is another authority.
    let target = format!("/ipfs/{}/index.html", site.root);
    let reply = request(site.node.gateway(), "GET", "192.0.2.1", &target, &[]);
    assert_signed(&site, &reply, "192.0.2.1", Some((200, "/index.html")), "another authority");
    assert!(matches!(checked(&reply, &authority), Err(Unsound::Forged(_))));
}

#[test]
fn an_answer_over_a_nonce_is_for_one_request() {
    let site = Site::on(home().set(&["gateway.signing.nonces_per_address=2", "gateway.signing.burst=2"]).started());
    site.get("/dir/", &[]);
    // Two seconds' worth of two, whatever is asked for; those who ask on are given what all others get.
    let mut nonces = 0;
    for _ in 0..20 {
        let reply = site.get("/dir/", &[NONCE]);
        let found = checked(&reply, &site.host()).unwrap();
        assert_eq!((found.digest, &*found.key), (digest(&reply.body), "/dir/"));
        if found.nonce == NO_NONCE {
            assert_eq!(reply.header("cache-control"), Some("max-age=7"));
        } else {
            assert_eq!((hex(&found.nonce), reply.header("cache-control")), (hex(&[1; 32]), Some("no-store")));
            nonces += 1;
        }
    }
    assert!((4..20).contains(&nonces), "{nonces}");
    for malformed in ["Atoll-Nonce: x", "Atoll-Nonce: 0x01", "Atoll-Nonce: ", &NONCE.to_uppercase()] {
        assert_eq!(checked(&site.get("/", &[malformed]), &site.host()).unwrap().nonce, NO_NONCE, "{malformed}");
    }
}

#[test]
fn over_the_budget_answers_are_unsigned() {
    let site = Site::on(home().set(&["gateway.signing.per_address=1", "gateway.signing.burst=1"]).started());
    assert!(checked(&site.get("/", &[]), &site.host()).is_ok());
    let others = ["/index.html", "/dir/", "/app.html", "/old", "/nowhere", "/a%20b.txt"];
    let unsigned =
        others.iter().filter(|target| matches!(checked(&site.get(target, &[]), &site.host()), Err(Unsound::Unsigned)));
    assert!(unsigned.count() > 0);
    assert!(checked(&site.get("/", &[]), &site.host()).is_ok(), "what is signed is reused");
    let metrics = request(site.node.admin(), "GET", "127.0.0.1", "/metrics", &[]);
    assert!(metrics.text().contains("atoll_bundles{state=\"signed\"} 1"), "{}", metrics.text());
    assert!(!metrics.text().contains("atoll_signatures_total{form=\"none\"} 0"), "{}", metrics.text());
}

#[test]
fn nothing_is_signed_where_signing_is_off() {
    let site = Site::on(home().set(&["gateway.signing.enabled=false"]).started());
    assert_signed(&site, &site.get("/", &[]), &site.host(), None, "off");
}

#[test]
fn what_is_no_sites_is_not_signed() {
    let origin = Origin::answering(|_| ("Atoll-Note: 1\r\n".to_owned(), b"an origin's".to_vec()));
    let settings = format!("[[sites]]\nhosts = [\"shop.example\"]\n[[sites.origins]]\nurl = \"{}\"\n", origin.url());
    let node = home().configured(&settings).started();
    let other = node.path("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("index.html"), big()).unwrap();
    let imported = node.import(&other);
    let site = Site::on(node);
    let reply = request(site.node.gateway(), "GET", "shop.example", "/", &[NONCE]);
    assert_eq!(reply.text(), "an origin's");
    assert_signed(&site, &reply, "shop.example", None, "an origin's answer");
    let host = format!("{imported}.ipfs.localhost:{}", site.node.gateway().port());
    let reply = request(site.node.gateway(), "GET", &host, "/", &[]);
    assert_eq!(reply.status, 200);
    assert_signed(&site, &reply, &host, None, "what was imported and never published");
}
