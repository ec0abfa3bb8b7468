//! Files, directories and redirects on path and subdomain gateways.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use atoll_core::Cid;

use crate::support::{Gateway, import_folder, imported};

const PAGE: &[u8] = b"<!doctype html><title>calm</title>";

fn big() -> Vec<u8> {
    (0..1_250_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn site() -> (Gateway, Cid) {
    let (memory, root) = imported(&[
        ("index.html", PAGE),
        ("style.css", b"a{}"),
        ("notes", b"plain text"),
        ("page", PAGE),
        ("empty.txt", b""),
        ("big.bin", &big()),
        ("docs/a.txt", b"a"),
        ("docs/zą b.txt", b"z"),
    ]);
    (Gateway::over(memory), root)
}

#[test]
fn a_file_comes_with_all_that_a_cache_needs() {
    let (gateway, root) = site();
    let reply = gateway.get(format!("/ipfs/{root}/style.css"), &[]);
    assert_eq!((reply.status, reply.text()), (200, "a{}"));
    assert_eq!(reply.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(reply.header("cache-control"), Some("public, max-age=29030400, immutable"));
    assert_eq!(reply.header("x-ipfs-path").unwrap(), format!("/ipfs/{root}/style.css"));
    let roots: Vec<&str> = reply.header("x-ipfs-roots").unwrap().split(',').collect();
    assert_eq!(roots[0], root.to_string());
    assert_eq!(reply.header("etag").unwrap(), format!("\"{}\"", roots[1]));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert!(reply.header("date").is_some() && reply.header("x-request-id").is_some());
}

#[test]
fn types_come_from_the_name_then_from_the_content() {
    let (gateway, root) = site();
    let content_type =
        |target: &str| gateway.get(format!("/ipfs/{root}/{target}"), &[]).header("content-type").unwrap().to_owned();
    assert_eq!(content_type("notes"), "text/plain; charset=utf-8");
    assert_eq!(content_type("page"), "text/html; charset=utf-8");
    assert_eq!(content_type("big.bin"), "application/octet-stream");
    assert_eq!(content_type("notes?filename=notes.json"), "application/json; charset=utf-8");
}

#[test]
fn a_file_of_many_blocks_comes_whole_and_in_part() {
    let (gateway, root) = site();
    let target = format!("/ipfs/{root}/big.bin");
    // Twice, since the second answer comes from elsewhere.
    for _ in 0..2 {
        let whole = gateway.get(&target, &[]);
        assert_eq!((whole.status, whole.complete), (200, true));
        assert!(whole.body == big());
        for (range, expected) in [
            ("0-0", 0..1),
            ("1048570-1048580", 1_048_570..1_048_581),
            ("-5", 4_999_995..5_000_000),
            ("4999999-", 4_999_999..5_000_000),
            ("10-99999999", 10..5_000_000),
        ] {
            let part = gateway.get(&target, &[&format!("Range: bytes={range}")]);
            assert_eq!(part.status, 206);
            let content_range = format!("bytes {}-{}/5000000", expected.start, expected.end - 1);
            assert_eq!(part.header("content-range"), Some(content_range.as_str()));
            assert!(part.complete && part.body == big()[expected]);
        }
    }
    let beyond = gateway.get(&target, &["Range: bytes=5000000-"]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */5000000")));
    let several = gateway.get(&target, &["Range: bytes=0-1,5-6"]);
    assert_eq!((several.status, several.header("content-range")), (206, Some("bytes 0-1/5000000")));
}

#[test]
fn whoever_has_it_is_not_sent_it_again() {
    let (gateway, root) = site();
    let target = format!("/ipfs/{root}/notes");
    let etag = gateway.get(&target, &[]).header("etag").unwrap().to_owned();
    for value in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let reply = gateway.get(&target, &[&format!("If-None-Match: {value}")]);
        assert_eq!((reply.status, reply.body.len()), (304, 0), "{value}");
        assert_eq!(reply.header("etag"), Some(etag.as_str()));
        assert_eq!(reply.header("cache-control"), Some("public, max-age=29030400, immutable"));
    }
    assert_eq!(gateway.get(&target, &["If-None-Match: \"other\""]).status, 200);
    assert_eq!(gateway.get(&target, &["Range: bytes=0-1", "If-Range: \"other\""]).status, 200);
    assert_eq!(gateway.get(&target, &["Range: bytes=0-1", &format!("If-Range: {etag}")]).status, 206);
}

#[test]
fn head_is_get_without_the_body() {
    let (gateway, root) = site();
    for target in ["", "/", "/notes", "/big.bin", "/docs/", "/none", "/notes?format=raw", "/notes?format=car"] {
        let target = format!("/ipfs/{root}{target}");
        // The second round is answered from the hot cache.
        for _ in 0..2 {
            let head = gateway.request("HEAD", "127.0.0.1", &target, &["X-Request-Id: same"]);
            let get = gateway.request("GET", "127.0.0.1", &target, &["X-Request-Id: same"]);
            let without = |headers: &[(String, String)], names: &[&str]| {
                headers.iter().filter(|(name, _)| !names.contains(&name.as_str())).cloned().collect::<BTreeMap<_, _>>()
            };
            let framing = ["date", "transfer-encoding", "server-timing"];
            assert_eq!(head.status, get.status, "{target}");
            assert_eq!(without(&head.headers, &framing), without(&get.headers, &framing), "{target}");
            assert!(head.body.is_empty(), "{target}");
        }
    }
}

#[test]
fn a_directory_has_a_slash_and_an_index() {
    let (gateway, root) = site();
    let bare = gateway.get(format!("/ipfs/{root}?x=1"), &[]);
    assert_eq!((bare.status, bare.header("location").unwrap()), (301, &*format!("/ipfs/{root}/?x=1")));
    let docs = gateway.get(format!("/ipfs/{root}//docs"), &[]);
    assert_eq!((docs.status, docs.header("location").unwrap()), (301, &*format!("/ipfs/{root}/docs/")));
    let index = gateway.get(format!("/ipfs/{root}/"), &[]);
    assert_eq!((index.status, index.body.as_slice()), (200, PAGE));
    assert_eq!(index.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(index.header("x-ipfs-roots"), Some(root.to_string().as_str()));
}

#[test]
fn a_listing_links_what_it_shows() {
    let (gateway, root) = site();
    let listing = gateway.get(format!("/ipfs/{root}/docs/"), &[]);
    assert_eq!(listing.status, 200);
    assert!(!listing.header("cache-control").unwrap().contains("immutable"));
    assert!(listing.text().contains(&format!("href=\"/ipfs/{root}/docs/z%C4%85%20b.txt\">zą b.txt<")));
    assert!(listing.text().contains(&format!("href=\"/ipfs/{root}/docs/..\">..<")));
    assert_eq!(gateway.get(format!("/ipfs/{root}/docs/z%C4%85%20b.txt"), &[]).text(), "z");
    let etag = listing.header("etag").unwrap();
    assert!(etag.starts_with("\"DirIndex-"));
    assert_eq!(gateway.get(format!("/ipfs/{root}/docs/"), &[&format!("If-None-Match: {etag}")]).status, 304);
}

#[test]
fn names_cannot_become_markup_or_leave_the_root() {
    let hostile = "<img src=x onerror=alert(1)>&\"'";
    let (memory, root) = imported(&[(hostile, b"x"), ("a", b"a")]);
    let gateway = Gateway::over(memory);
    let listing = gateway.get(format!("/ipfs/{root}/"), &[]);
    assert!(!listing.text().contains("<img"));
    assert!(listing.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let link = "%3Cimg%20src=x%20onerror=alert(1)%3E%26%22%27";
    assert!(listing.text().contains(link));
    assert_eq!(gateway.get(format!("/ipfs/{root}/{link}"), &[]).text(), "x");
    for path in ["..", "a/../..", "%2e%2e/x", "..%2fetc%2fpasswd", "a%00", "%zz", "%ff"] {
        assert_eq!(gateway.get(format!("/ipfs/{root}/{path}"), &[]).status, 400, "{path}");
    }
    assert_eq!(gateway.get(format!("/ipfs/{root}/b/../a"), &[]).text(), "a");
}

#[test]
fn a_directory_of_six_thousand_entries_is_listed() {
    let names: Vec<String> = (0..6_000).map(|n| format!("entry-{n:05}.txt")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    let (memory, root) = imported(&files);
    let listing = Gateway::over(memory).get(format!("/ipfs/{root}/"), &[]);
    assert_eq!((listing.status, listing.complete), (200, true));
    let at = |name: &str| listing.text().find(&format!(">{name}<")).unwrap();
    assert!(names.windows(2).all(|pair| at(&pair[0]) < at(&pair[1])));
}

#[test]
fn a_listing_is_bounded_and_says_so() {
    let names: Vec<String> = (0..10_100).map(|n| n.to_string()).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    let (memory, root) = imported(&files);
    let listing = Gateway::over(memory).get(format!("/ipfs/{root}/"), &[]);
    assert_eq!(listing.text().matches("<tr>").count(), 10_000);
    assert!(listing.text().contains("Only 10000 of its entries"));
}

#[test]
fn a_symlink_is_its_target() {
    let folder = tempfile::tempdir().unwrap();
    symlink("/etc/passwd", folder.path().join("link")).unwrap();
    let (memory, root) = import_folder(folder.path());
    let reply = Gateway::over(memory).get(format!("/ipfs/{root}/link"), &[]);
    assert_eq!((reply.status, reply.text()), (200, "/etc/passwd"));
    assert_eq!(reply.header("content-type"), Some("inode/symlink"));
}

#[test]
fn each_root_has_a_host_of_its_own() {
    let (gateway, root) = site();
    let host = format!("{root}.ipfs.localhost:1234");
    let page = gateway.request("GET", &host, "/", &[]);
    assert_eq!((page.status, page.body.as_slice()), (200, PAGE));
    assert_eq!(page.header("x-ipfs-path").unwrap(), format!("/ipfs/{root}/"));
    assert_eq!(gateway.request("GET", &host, "/docs", &[]).header("location"), Some("/docs/"));
    let open = gateway.request("GET", &host, "//docs", &[]);
    assert_eq!(open.header("location"), Some("/docs/"));
    // Nothing but content is there, whatever the path looks like.
    assert_eq!(gateway.request("GET", &host, &format!("/ipfs/{root}/notes"), &[]).status, 404);
    assert_eq!(gateway.request("POST", &host, "/atoll/v1/probe", &[]).status, 405);
    assert_eq!(gateway.request("GET", &host, "/atoll/v1/probe", &[]).status, 404);
}

#[test]
fn path_requests_at_a_subdomain_gateway_move() {
    let (gateway, root) = site();
    let location = |host: &str, target: &str| {
        let reply = gateway.request("GET", host, target, &[]);
        assert_eq!(reply.status, 301, "{target}");
        reply.header("location").unwrap().to_owned()
    };
    let moved = location("localhost:8080", &format!("/ipfs/{root}/a%20b/?q=1&r"));
    assert_eq!(moved, format!("http://{root}.ipfs.localhost:8080/a%20b/?q=1&r"));
    let v0 = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR";
    let v1 = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
    assert_eq!(location("localhost", &format!("/ipfs/{v0}")), format!("http://{v1}.ipfs.localhost/"));
    let base36 = root.to_string_of_base(multibase::Base::Base36Lower).unwrap();
    assert_eq!(location(&format!("{base36}.ipfs.localhost"), "/x"), format!("http://{root}.ipfs.localhost/x"));
    // An address has no subdomains.
    assert_eq!(gateway.request("GET", "127.0.0.1", &format!("/ipfs/{root}/notes"), &[]).status, 200);
    assert_eq!(gateway.request("GET", "[::1]:80", &format!("/ipfs/{root}/notes"), &[]).status, 200);
}

#[test]
fn what_is_no_host_or_no_cid_is_refused() {
    let (gateway, root) = site();
    let status = |host: &str, target: &str| gateway.request("GET", host, target, &[]).status;
    assert_eq!(status(&format!("{}.ipfs.localhost", root.to_string().to_uppercase()), "/"), 400);
    assert_eq!(status(&format!("{}.ipfs.localhost", "b".repeat(64)), "/"), 400);
    assert_eq!(status("bafynonsense.ipfs.localhost", "/"), 400);
    assert_eq!(status("127.0.0.1", "/ipfs/bafynonsense/"), 400);
    assert_eq!(status("127.0.0.1", "/ipfs/"), 400);
    assert_eq!(status("127.0.0.1", "/"), 404);
    assert_eq!(status("127.0.0.1", "/metrics"), 404);
    // A name that is no site's own is a path gateway, and nothing else.
    assert_eq!(status("elsewhere.example", &format!("/ipfs/{root}/")), 200);
    assert_eq!(status("elsewhere.example", "/"), 404);
}

#[test]
fn any_page_may_read_content_and_none_may_write() {
    let (gateway, root) = site();
    let target = format!("/ipfs/{root}/notes");
    let preflight = gateway.request("OPTIONS", "127.0.0.1", &target, &["Access-Control-Request-Method: GET"]);
    assert_eq!(preflight.status, 204);
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("Range"));
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "QUUX"] {
        let reply = gateway.request(method, "127.0.0.1", &target, &[]);
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD, OPTIONS")), "{method}");
    }
}

#[test]
fn a_download_gets_its_name() {
    let (gateway, root) = site();
    let reply = gateway.get(format!("/ipfs/{root}/notes?filename=my%22%20n%C4%85me.txt&download=true"), &[]);
    let disposition = reply.header("content-disposition").unwrap();
    assert!(disposition.starts_with("attachment; filename=\"my_ n_me.txt\"; filename*=UTF-8''my%22%20n%C4%85me.txt"));
}

#[test]
fn a_request_keeps_its_id() {
    let (gateway, root) = site();
    let target = format!("/ipfs/{root}/notes");
    let id = |header: &str| gateway.get(&target, &[header]).header("x-request-id").unwrap().to_owned();
    assert_eq!(id("X-Request-Id: abc-1.2_3"), "abc-1.2_3");
    assert_ne!(id("X-Request-Id: <script>"), "<script>");
    assert_ne!(id(&format!("X-Request-Id: {}", "x".repeat(65))).len(), 65);
    assert_ne!(id("A: b"), id("A: b"));
}

#[test]
fn the_empty_identity_cid_is_always_there() {
    let (gateway, _) = site();
    let reply = gateway.get("/ipfs/bafkqaaa", &[]);
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert_eq!(gateway.request("HEAD", "127.0.0.1", "/ipfs/bafkqaaa", &[]).status, 200);
    assert_eq!(gateway.get("/ipfs/bafkqaaa?format=raw", &[]).status, 200);
}

#[test]
fn a_page_is_made_once_for_each_authority_and_forgotten_on_demand() {
    let (memory, root) = imported(&[("a.txt", b"calm"), ("b.txt", b"water")]);
    let gateway = Gateway::over(memory);
    let page = |port: u16, query: &str| {
        let reply = gateway.request("GET", &format!("{root}.ipfs.localhost:{port}"), &format!("/{query}"), &[]);
        assert_eq!((reply.status, reply.header("accept-ranges")), (200, None));
        assert!(reply.text().contains(&format!("//localhost:{port}/ipfs/")), "{}", reply.text());
        gateway.counters.totals().hot
    };
    assert_eq!([page(1, ""), page(1, ""), page(1, "?again")], [0, 1, 1]);
    // Its links name the gateway as this client sees it, so that one client cannot choose what another is shown.
    assert_eq!([page(2, ""), page(2, "")], [1, 2]);
    gateway.running.kept().forget();
    assert_eq!([page(2, ""), page(2, "")], [2, 3]);
}

#[test]
fn a_tunnel_leads_to_own_hosts_only() {
    let (gateway, root) = site();
    let host = format!("{}.ipfs.localhost", root);
    let get = format!("GET /notes HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let through = |to: &str| {
        let answer = gateway.exchange(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n{get}"));
        String::from_utf8(answer).unwrap()
    };
    let established = "HTTP/1.1 200 Connection Established\r\n\r\nHTTP/1.1 200 OK\r\n";
    for own in ["localhost:80", &format!("{host}:80"), "127.0.0.1:8080"] {
        assert!(through(own).starts_with(established), "{own}");
    }
    for other in ["elsewhere.example:80", "192.0.2.1:80", "127.0.0.2:80", "a/b", "-"] {
        let answer = through(other);
        assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("200 OK"), "{other}: {answer}");
    }
}
