//! Raw blocks and CARs, and what happens when blocks are missing.

use atoll_core::car::{Decoder, Item};
use atoll_core::{Block, Cid};

use crate::support::{Gateway, Memory, Reply, imported};

fn folder() -> (Memory, Cid) {
    let big = vec![7; 2_500_000];
    imported(&[("a/b.txt", b"deep"), ("big.bin", &big), ("c.txt", b"c")])
}

/// The blocks of a CAR, each checked.
fn blocks(reply: &Reply) -> Vec<Cid> {
    let mut decoder = Decoder::default();
    decoder.push(&reply.body);
    let mut found = Vec::new();
    while let Some(item) = decoder.next_item().unwrap() {
        if let Item::Section(section) = item {
            Block::verified(section.cid, section.bytes).unwrap();
            found.push(section.cid);
        }
    }
    decoder.finish().unwrap();
    found
}

#[test]
fn a_block_comes_as_it_is() {
    let (memory, root) = folder();
    let bytes = memory.blocks[&root].clone();
    let gateway = Gateway::over(memory);
    for (target, header) in [("?format=raw", "Accept: */*"), ("", "Accept: application/vnd.ipld.raw")] {
        let reply = gateway.get(format!("/ipfs/{root}{target}"), &[header]);
        assert_eq!((reply.status, reply.body.as_slice()), (200, &bytes[..]));
        assert_eq!(reply.header("content-type"), Some("application/vnd.ipld.raw"));
        assert_eq!(reply.header("etag").unwrap(), format!("\"{root}.raw\""));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        let disposition = reply.header("content-disposition").unwrap();
        assert!(disposition.starts_with(&format!("attachment; filename=\"{root}.bin\"")));
        let elsewhere = format!("/ipfs/{root}?format=raw");
        assert_eq!(reply.header("content-location"), target.is_empty().then_some(elsewhere.as_str()));
    }
    let part = gateway.get(format!("/ipfs/{root}?format=raw"), &["Range: bytes=1-3"]);
    assert_eq!((part.status, part.body.as_slice()), (206, &bytes[1..4]));
}

#[test]
fn a_car_holds_what_its_scope_says() {
    let (memory, root) = folder();
    let all = memory.blocks.len();
    let gateway = Gateway::over(memory);
    let count = |target: &str| {
        let reply = gateway.get(format!("/ipfs/{root}{target}"), &[]);
        assert_eq!((reply.status, reply.complete), (200, true), "{target}");
        blocks(&reply).len()
    };
    assert_eq!(count("?format=car"), all);
    assert_eq!(count("?format=car&dag-scope=block"), 1);
    assert_eq!(count("?format=car&dag-scope=entity"), 1);
    assert_eq!(count("/a/b.txt?format=car"), 3);
    // Three leaves with two contents.
    assert_eq!(count("/big.bin?format=car&dag-scope=entity"), 4);
    assert_eq!(count("/big.bin?format=car&dag-scope=block"), 2);
}

#[test]
fn a_car_says_how_it_is_made() {
    let (memory, root) = folder();
    let all = memory.blocks.len();
    let gateway = Gateway::over(memory);
    let reply =
        gateway.get(format!("/ipfs/{root}"), &["Accept: application/vnd.ipld.car; version=1; order=unk; dups=y"]);
    assert_eq!(reply.header("content-type"), Some("application/vnd.ipld.car; version=1; order=dfs; dups=y"));
    assert_eq!(blocks(&reply).len(), all + 1, "one leaf of the big file comes twice");
    assert!(reply.header("content-disposition").unwrap().contains(&format!("{root}.car")));
    let location = format!("/ipfs/{root}?format=car&car-version=1&car-order=unk&car-dups=y");
    assert_eq!(reply.header("content-location"), Some(location.as_str()));
    let same = gateway.get(location, &[]);
    assert_eq!((same.header("etag"), &same.body), (reply.header("etag"), &reply.body));
    let url = gateway.get(format!("/ipfs/{root}?format=car&car-dups=n"), &["Accept: application/vnd.ipld.car; dups=y"]);
    assert_eq!(url.header("content-type"), Some("application/vnd.ipld.car; version=1; order=dfs; dups=n"));
    assert_eq!(url.header("content-location"), Some(format!("/ipfs/{root}?format=car&car-dups=n").as_str()));
}

#[test]
fn each_selection_has_its_tag() {
    let (memory, root) = folder();
    let gateway = Gateway::over(memory);
    let tag = |target: &str| gateway.get(format!("/ipfs/{root}{target}"), &[]).header("etag").unwrap().to_owned();
    let targets = [
        "?format=car",
        "?format=car&dag-scope=entity",
        "?format=car&dag-scope=block",
        "?format=car&car-dups=y",
        "?format=raw",
        "/big.bin?format=car&dag-scope=entity",
        "/big.bin?format=car&entity-bytes=0:7",
        "/big.bin?format=car&entity-bytes=0:8",
        "/big.bin?format=car&entity-bytes=-8:*",
    ];
    let tags: std::collections::HashSet<String> = targets.into_iter().map(tag).collect();
    assert_eq!(tags.len(), targets.len(), "{tags:?}");
    let all = tag("?format=car");
    let again = gateway.get(format!("/ipfs/{root}?format=car"), &[&format!("If-None-Match: {all}")]);
    assert_eq!(again.status, 304);
}

#[test]
fn a_range_of_a_file_comes_with_its_blocks_only() {
    let big: Vec<u8> = (0..750_000_u32).flat_map(u32::to_le_bytes).collect();
    let (memory, root) = imported(&[("big.bin", &big)]);
    let leaf = |n: usize| {
        let bytes = big[n << 20..big.len().min((n + 1) << 20)].to_vec();
        *Block::sha2_256(atoll_core::block::RAW, bytes.into()).unwrap().cid()
    };
    let gateway = Gateway::over(memory);
    let range = |range: &str| gateway.get(format!("/ipfs/{root}/big.bin?format=car&entity-bytes={range}"), &[]);
    for (text, leaves) in [
        ("0:*", &[0, 1, 2][..]),
        ("0:1048575", &[0]),
        ("1048575:1048576", &[0, 1]),
        ("-1:*", &[2]),
        ("-99999999:0", &[0]),
        ("2097152:99999999", &[2]),
        // From both ends they meet in nothing: then the root tells why.
        ("2000000:-2000000", &[]),
    ] {
        let reply = range(text);
        assert_eq!((reply.status, reply.complete), (200, true), "{text}");
        let leaves: Vec<Cid> = leaves.iter().map(|n| leaf(*n)).collect();
        assert_eq!(blocks(&reply)[2..], leaves, "{text}");
    }
    for outside in ["3000000:*", "99999999:999999999", "-9000000:-8000000"] {
        assert_eq!(range(outside).status, 400, "{outside}");
        let head = format!("/ipfs/{root}/big.bin?format=car&entity-bytes={outside}");
        assert_eq!(gateway.request("HEAD", "127.0.0.1", &head, &[]).status, 400, "{outside}");
    }
    // A folder has no bytes to choose from.
    let folder = gateway.get(format!("/ipfs/{root}?format=car&entity-bytes=7:9"), &[]);
    assert_eq!((folder.status, blocks(&folder)), (200, vec![root]));
}

#[test]
fn what_a_path_leads_to_nowhere_is_proved() {
    let (memory, root) = folder();
    let gateway = Gateway::over(memory);
    for (path, count) in [("none", 1), ("a/none", 2), ("a/b.txt/x", 3), ("none/x/y", 1)] {
        let reply = gateway.get(format!("/ipfs/{root}/{path}?format=car&dag-scope=entity"), &[]);
        assert_eq!((reply.status, reply.complete, blocks(&reply).len()), (404, true, count), "{path}");
        assert_eq!(reply.header("content-type"), Some("application/vnd.ipld.car; version=1; order=dfs; dups=n"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let head = gateway.request("HEAD", "127.0.0.1", &format!("/ipfs/{root}/{path}?format=car"), &[]);
        assert_eq!((head.status, head.body.len()), (404, 0));
    }
}

#[test]
fn the_probe_is_answered_whatever_is_held() {
    let gateway = Gateway::over(Memory::default());
    for method in ["GET", "HEAD"] {
        for format in ["raw", "car"] {
            let target = format!("/ipfs/bafkqaaa?format={format}");
            assert_eq!(gateway.request(method, "127.0.0.1", &target, &[]).status, 200, "{method} {format}");
        }
    }
    let car = gateway.get("/ipfs/bafkqaaa?format=car&car-dups=y", &[]);
    assert!(car.complete && blocks(&car).is_empty());
}

#[test]
fn the_format_in_the_url_wins_and_unknown_ones_are_told() {
    let (memory, root) = folder();
    let gateway = Gateway::over(memory);
    let reply = gateway.get(format!("/ipfs/{root}?format=raw"), &["Accept: application/vnd.ipld.car"]);
    assert_eq!(reply.header("content-type"), Some("application/vnd.ipld.raw"));
    assert_eq!(gateway.get(format!("/ipfs/{root}?format=dag-json"), &[]).status, 406);
    assert_eq!(gateway.get(format!("/ipfs/{root}?format=ipns-record"), &[]).status, 400);
    assert_eq!(gateway.get(format!("/ipfs/{root}/?format=gif"), &[]).status, 200);
    assert_eq!(gateway.get(format!("/ipfs/{root}?format=car&dag-scope=some"), &[]).status, 400);
    assert_eq!(gateway.get(format!("/ipfs/{root}?format=car&entity-bytes=9:1"), &[]).status, 400);
    // A codec of which nothing is known here.
    let data = Block::sha2_256(0x78, bytes::Bytes::from_static(&[0xa0])).unwrap();
    let mut memory = Memory::default();
    memory.blocks.insert(*data.cid(), data.bytes().clone());
    assert_eq!(Gateway::over(memory).get(format!("/ipfs/{}", data.cid()), &[]).status, 406);
}

#[test]
fn what_is_not_held_is_not_found_in_any_format() {
    let (memory, root) = folder();
    let absent = Block::sha2_256(atoll_core::block::RAW, bytes::Bytes::from_static(b"absent")).unwrap();
    let gateway = Gateway::over(memory);
    for format in ["", "?format=raw", "?format=car"] {
        assert_eq!(gateway.get(format!("/ipfs/{}{format}", absent.cid()), &[]).status, 404, "{format}");
        assert_eq!(gateway.get(format!("/ipfs/{root}/a/none{format}"), &[]).status, 404, "{format}");
        let only = gateway.get(format!("/ipfs/{}{format}", absent.cid()), &["Cache-Control: only-if-cached"]);
        assert_eq!(only.status, 412, "{format}");
        assert_eq!(gateway.get(format!("/ipfs/{root}/c.txt{format}"), &["Cache-Control: only-if-cached"]).status, 200);
    }
}

/// A gateway that lacks the last leaf of a file.
fn broken() -> (Gateway, Cid) {
    let big: Vec<u8> = (0..750_000_u32).flat_map(u32::to_le_bytes).collect();
    let (memory, root) = imported(&[("big.bin", &big)]);
    let last = Block::sha2_256(atoll_core::block::RAW, big[2 * 1024 * 1024..].to_vec().into()).unwrap();
    assert!(memory.blocks.contains_key(last.cid()));
    memory.missing.lock().unwrap().insert(*last.cid());
    (Gateway::over(memory), root)
}

#[test]
fn what_breaks_off_never_looks_complete() {
    let (gateway, root) = broken();
    for target in ["?format=car", "/big.bin"] {
        let reply = gateway.get(format!("/ipfs/{root}{target}"), &[]);
        assert_eq!((reply.status, reply.complete), (200, false), "{target}");
        assert!(reply.body.len() > 1024 * 1024);
    }
    let totals = gateway.counters.totals();
    assert_eq!((totals.classes[1], totals.broken), (2, 2));
}

#[test]
fn where_only_the_end_of_the_connection_ends_a_body_it_is_reset() {
    use std::io::{Read, Write};
    let (gateway, root) = broken();
    let mut tcp = gateway.connect();
    write!(tcp, "GET /ipfs/{root}?format=car HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let ended = tcp.read_to_end(&mut answer);
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}
