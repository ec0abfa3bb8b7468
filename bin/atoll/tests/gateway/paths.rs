//! Path Gateway: files, listings, caching, cross-origin reading.

use crate::{FILES, INLINE, LISTING, NESTED, NOWHERE, SYMLINK, contains, node};

#[test]
fn a_listing_links_names_and_cids() {
    let Some(node) = node() else { return };
    let root = node.get(&format!("/ipfs/{LISTING}/"), &[]);
    contains(root.text(), "Index of");
    assert!(!root.text().contains(">..<"), "the root has no parent");
    let bare = node.get(&format!("/ipfs/{LISTING}/%C4%85/%C4%99"), &[]);
    assert_eq!((bare.status, bare.header("location").unwrap()), (301, &*format!("/ipfs/{LISTING}/%C4%85/%C4%99/")));
    let page = node.get(&format!("/ipfs/{LISTING}/%C4%85/%C4%99/"), &[]);
    assert!(page.header("etag").unwrap().starts_with("\"DirIndex-"));
    let base = format!("/ipfs/{LISTING}/%C4%85/%C4%99");
    contains(page.text(), &format!("<a href=\"{base}/..\">..</a>"));
    contains(page.text(), &format!("<a href=\"{base}/file-%C5%BA%C5%82.txt\">file-źł.txt</a>"));
    contains(page.text(), &format!("<a href=\"/ipfs/{LISTING}/%C4%85\">ą</a>/<a href=\"{base}\">ę</a>"));
    let file = node.cid(&format!("{base}/file-%C5%BA%C5%82.txt"));
    contains(page.text(), &format!("href=\"/ipfs/{file}?filename="));
}

#[test]
fn what_never_changes_may_be_kept_for_ever() {
    let Some(node) = node() else { return };
    let index = node.get(&format!("/ipfs/{NESTED}/root2/root3/root4/"), &[]);
    assert_eq!((index.status, index.text()), (200, "hello\n"));
    assert_eq!(index.header("cache-control"), Some("public, max-age=29030400, immutable"));
    assert_eq!(index.header("x-ipfs-path").unwrap(), format!("/ipfs/{NESTED}/root2/root3/root4/"));
    let roots: Vec<&str> = index.header("x-ipfs-roots").unwrap().split(',').collect();
    assert_eq!((roots[0], roots.len()), (NESTED, 4));
    // The index stands for its directory, so that the directory is what does not change.
    assert_eq!(index.header("etag").unwrap(), format!("\"{}\"", roots[3]));
    let listing = node.get(&format!("/ipfs/{NESTED}/root2/root3/"), &[]);
    assert_eq!(listing.header("cache-control"), Some("public, max-age=604800, stale-while-revalidate=2678400"));
    for reply in [index, listing] {
        let etag = reply.header("etag").unwrap();
        for tag in [etag.to_owned(), format!("W/{etag}"), format!("\"a\", \"b\", {etag}"), "*".to_owned()] {
            let target = reply.header("x-ipfs-path").unwrap();
            let again = node.get(target, &[&format!("If-None-Match: {tag}")]);
            assert_eq!((again.status, again.body.len()), (304, 0), "{target} {tag}");
            assert_eq!(again.header("etag"), Some(etag));
        }
    }
}

#[test]
fn only_if_cached_asks_nobody() {
    let Some(node) = node() else { return };
    for (cid, status) in [(FILES, 200), (NOWHERE, 412)] {
        let target = format!("/ipfs/{cid}?format=raw");
        assert_eq!(node.get(&target, &["Cache-Control: only-if-cached"]).status, status);
        assert_eq!(node.head(&target, &["Cache-Control: only-if-cached"]).status, status);
    }
    assert_eq!(node.get(&format!("/ipfs/{NOWHERE}"), &[]).status, 404);
}

#[test]
fn names_symlinks_and_inlined_blocks() {
    let Some(node) = node() else { return };
    assert_eq!(node.get(&format!("/ipfs/{LISTING}/i-do-not-exist"), &[]).status, 404);
    let symlink = node.get(&format!("/ipfs/{SYMLINK}/bar"), &[]);
    assert_eq!((symlink.text(), symlink.header("content-type")), ("foo", Some("inode/symlink")));
    assert_eq!(node.get(&format!("/ipfs/{INLINE}"), &[]).text(), "hello\n");
    assert_eq!(node.get("/ipfs/bafkqaaa", &[]).status, 200);
    let named = node.get(&format!("/ipfs/{INLINE}?filename=test%D1%82.txt&download=true"), &[]);
    let disposition = "attachment; filename=\"test_.txt\"; filename*=UTF-8''test%D1%82.txt";
    assert_eq!(named.header("content-disposition"), Some(disposition));
    let bad = node.get("/ipfs/QmInvalidCID", &[]);
    assert_eq!(bad.status, 400);
    contains(bad.text(), "invalid path \"/ipfs/QmInvalidCID\"");
}

#[test]
fn any_page_may_read() {
    let Some(node) = node() else { return };
    let reply = node.get(&format!("/ipfs/{INLINE}"), &[]);
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    for name in ["Content-Range", "Content-Length", "X-Ipfs-Path", "X-Ipfs-Roots"] {
        contains(reply.header("access-control-expose-headers").unwrap(), name);
    }
}

#[test]
fn a_block_is_served_as_it_is() {
    let Some(node) = node() else { return };
    for headers in [vec![], vec!["Accept: application/vnd.ipld.raw"]] {
        let query = if headers.is_empty() { "?format=raw" } else { "" };
        let block = node.get(&format!("/ipfs/{NESTED}/root2/root3/root4{query}"), &headers);
        assert_eq!(block.header("content-type"), Some("application/vnd.ipld.raw"));
        assert_eq!(block.header("x-content-type-options"), Some("nosniff"));
        assert!(block.header("content-disposition").unwrap().starts_with("attachment; filename=\""));
        assert!(block.header("etag").unwrap().ends_with(".raw\""));
        assert_eq!(block.body.len(), 58);
    }
}
