//! Ranges of files (RFC 9110, section 14), of some of which not all blocks are there.

use crate::{FILES, HOLED, node};

#[test]
fn parts_of_a_file() {
    let Some(node) = node() else { return };
    let target = format!("/ipfs/{FILES}/ascii.txt");
    let whole = node.get(&target, &[]);
    assert_eq!((whole.body.len(), whole.header("accept-ranges")), (31, Some("bytes")));
    for (range, content_range, bytes) in [
        ("bytes=6-16", "bytes 6-16/31", 6..17),
        ("bytes=-3", "bytes 28-30/31", 28..31),
        ("bytes=6-16,0-4", "bytes 6-16/31", 6..17),
    ] {
        let part = node.get(&target, &[&format!("Range: {range}")]);
        assert_eq!((part.status, part.header("content-range")), (206, Some(content_range)));
        assert_eq!(part.body, whole.body[bytes]);
    }
    assert_eq!(node.get(&target, &["Range: bytes=31-"]).status, 416);
}

#[test]
fn what_lies_outside_a_range_may_be_missing() {
    let Some(node) = node() else { return };
    let part = |range: &str| node.get(&format!("/ipfs/{HOLED}"), &[&format!("Range: bytes={range}")]);
    for (range, content_range) in [("997-1000", "bytes 997-1000/3072"), ("2200-2201", "bytes 2200-2201/3072")] {
        let reply = part(range);
        assert_eq!((reply.status, reply.header("content-range")), (206, Some(content_range)));
        assert!(reply.complete);
    }
    assert_eq!(part("1100-1101").status, 404);
    // What breaks off cannot be read as complete.
    let whole = node.get(&format!("/ipfs/{HOLED}"), &[]);
    assert!(!whole.complete && whole.body.len() < 3072);
}
