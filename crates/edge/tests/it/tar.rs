//! Archives, and what UnixFS says of a file beside its bytes.

use atoll_core::block::{DAG_CBOR, DAG_PB};
use atoll_core::dagpb::{Link, Node};
use atoll_core::unixfs;
use atoll_core::{Block, Cid};

use crate::support::{Gateway, Memory, imported};

fn put(memory: &mut Memory, codec: u64, bytes: Vec<u8>) -> Cid {
    let (cid, bytes) = Block::sha2_256(codec, bytes.into()).unwrap().into_parts();
    memory.blocks.insert(cid, bytes);
    cid
}

#[test]
fn a_folder_comes_as_an_archive_under_a_weak_tag() {
    let (memory, root) = imported(&[("a/b.txt", b"deep"), ("c.txt", b"c")]);
    let gateway = Gateway::over(memory);
    let reply = gateway.get(format!("/ipfs/{root}?format=tar"), &[]);
    assert_eq!((reply.status, reply.header("content-type"), reply.complete), (200, Some("application/x-tar"), true));
    assert_eq!(reply.body.len(), 512 * (1 + 1 + 2 + 2 + 2), "two folders, two files of a record each, the end");
    assert!(reply.body.starts_with(format!("{root}/\0").as_bytes()));
    let etag = format!("W/\"{root}.x-tar\"");
    assert_eq!(reply.header("etag").unwrap(), etag);
    let disposition = format!("attachment; filename=\"{root}.tar\"");
    assert!(reply.header("content-disposition").unwrap().starts_with(&disposition));
    let again = gateway.get(format!("/ipfs/{root}?format=tar"), &[&format!("If-None-Match: {etag}")]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    let by_header = gateway.get(format!("/ipfs/{root}/a"), &["Accept: application/x-tar"]);
    assert_eq!(by_header.header("content-location").unwrap(), format!("/ipfs/{root}/a?format=tar"));
}

#[test]
fn an_archive_that_cannot_be_is_an_error_and_one_that_breaks_is_broken() {
    let (mut memory, root) = imported(&[("a", b"a"), ("b", b"b")]);
    let leaf = *Block::sha2_256(0x55, bytes::Bytes::from_static(b"b")).unwrap().cid();
    let entries = vec![Link::new(leaf, "../out", 1)];
    let outside = put(&mut memory, DAG_PB, unixfs::encode_directory(entries));
    let data = put(&mut memory, DAG_CBOR, vec![0x80]);
    memory.missing.lock().unwrap().insert(leaf);
    let gateway = Gateway::over(memory);
    assert_eq!(gateway.get(format!("/ipfs/{outside}?format=tar"), &[]).status, 502);
    assert_eq!(gateway.get(format!("/ipfs/{data}?format=tar"), &[]).status, 406);
    let broken = gateway.get(format!("/ipfs/{root}?format=tar"), &[]);
    assert_eq!((broken.status, broken.complete), (200, false));
}

#[test]
fn a_file_says_when_it_was_modified_if_its_publisher_does() {
    let mut memory = Memory::default();
    // A file of "dated", modified 784,111,777 s after 1970.
    let data = [&[0x08, 2, 0x12, 5][..], b"dated", &[0x18, 5, 0x42, 6, 0x08, 0xa1, 0xb1, 0xf2, 0xf5, 0x02]].concat();
    let dated = put(&mut memory, DAG_PB, Node { links: vec![], data: Some(&data) }.encode());
    let gateway = Gateway::over(memory);
    let path = format!("/ipfs/{dated}");
    let since = "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT";
    // Once as it is made, once as it was kept.
    for _ in 0..2 {
        let reply = gateway.get(&path, &[]);
        assert_eq!((reply.status, &*reply.body), (200, &b"dated"[..]));
        assert_eq!(reply.header("last-modified"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        let unmodified = gateway.get(&path, &[since]);
        assert_eq!((unmodified.status, unmodified.header("last-modified").is_some()), (304, true));
        assert_eq!(gateway.get(&path, &[since, "If-None-Match: \"other\""]).status, 200);
        assert_eq!(gateway.get(&path, &["If-Modified-Since: Sun, 06 Nov 1994 08:49:38 GMT"]).status, 200);
    }
    assert!(gateway.get("/ipfs/bafkqaaa", &[]).header("last-modified").is_none());
}
