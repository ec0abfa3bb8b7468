//! IPLD data: which form is sent to whom, and where paths end.

use atoll_core::block::{CBOR, DAG_CBOR, DAG_JSON, JSON};
use atoll_core::{Block, Cid};

use crate::support::{Gateway, Memory, Reply};

fn put(memory: &mut Memory, codec: u64, bytes: impl Into<bytes::Bytes>) -> Cid {
    let (cid, bytes) = Block::sha2_256(codec, bytes.into()).unwrap().into_parts();
    memory.blocks.insert(cid, bytes);
    cid
}

fn told(reply: &Reply) -> (u16, Option<&str>) {
    (reply.status, reply.header("content-type"))
}

#[test]
fn a_block_is_sent_in_its_own_codec_or_not_at_all() {
    let mut memory = Memory::default();
    let codecs = [
        (DAG_JSON, "dag-json", "json"),
        (DAG_CBOR, "dag-cbor", "cbor"),
        (JSON, "json", "json"),
        (CBOR, "cbor", "cbor"),
    ];
    let blocks = codecs.map(|(codec, ..)| {
        put(
            &mut memory,
            codec,
            if matches!(codec, JSON | DAG_JSON) { &br#"{"a":1}"#[..] } else { &[0xa1, 0x61, 0x61, 1] },
        )
    });
    let gateway = Gateway::over(memory);
    let types =
        ["application/vnd.ipld.dag-json", "application/vnd.ipld.dag-cbor", "application/json", "application/cbor"];
    for ((cid, (_, own, extension)), own_type) in blocks.into_iter().zip(codecs).zip(types) {
        let plain = gateway.get(format!("/ipfs/{cid}"), &[]);
        assert_eq!(told(&plain), (200, Some(own_type)));
        assert_eq!(plain.header("etag").unwrap(), format!("\"{cid}.{own}\""));
        assert_eq!(plain.header("vary"), Some("accept"));
        let disposition = if extension == "json" { "inline" } else { "attachment" };
        let disposition = format!("{disposition}; filename=\"{cid}.{extension}\"");
        assert!(plain.header("content-disposition").unwrap().starts_with(&disposition));
        for ((_, wanted, _), wanted_type) in codecs.into_iter().zip(types) {
            let is_form = wanted == own || wanted == extension;
            let expected = if is_form { (200, Some(wanted_type)) } else { (406, Some("text/plain; charset=utf-8")) };
            let by_query = gateway.get(format!("/ipfs/{cid}?format={wanted}"), &["Accept: application/vnd.ipld.raw"]);
            let by_header = gateway.get(format!("/ipfs/{cid}"), &[&format!("Accept: {wanted_type}")]);
            assert_eq!((told(&by_query), told(&by_header)), (expected, expected), "{own} as {wanted}");
            let location = format!("/ipfs/{cid}?format={wanted}");
            assert_eq!(by_header.header("content-location"), is_form.then_some(&*location));
        }
        let again = gateway.get(format!("/ipfs/{cid}"), &[&format!("If-None-Match: \"{cid}.{own}\"")]);
        assert_eq!((again.status, again.body.len()), (304, 0));
        let part = gateway.get(format!("/ipfs/{cid}"), &["Range: bytes=1-2"]);
        assert_eq!((part.status, &*part.body), (206, &plain.body[1..3]));
    }
}

#[test]
fn people_are_shown_a_page_under_a_tag_of_its_own() {
    let mut memory = Memory::default();
    let data = put(&mut memory, DAG_JSON, &br#"{"a":{"/":"bafkqaaa"}}"#[..]);
    let plain = put(&mut memory, JSON, &b"{}"[..]);
    let gateway = Gateway::over(memory);
    let browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";
    let moved = gateway.get(format!("/ipfs/{data}?x=1"), &[browser]);
    assert_eq!((moved.status, moved.header("location").unwrap()), (301, &*format!("/ipfs/{data}/?x=1")));
    let page = gateway.get(format!("/ipfs/{data}/"), &[browser]);
    assert_eq!(told(&page), (200, Some("text/html; charset=utf-8")));
    assert!(String::from_utf8(page.body.clone()).unwrap().contains("href=\"/ipfs/bafkqaaa\""));
    let etag = page.header("etag").unwrap();
    assert!(etag.contains("DagIndex-") && page.header("content-disposition").is_none());
    assert_eq!(page.header("cache-control"), Some("public, max-age=604800, stale-while-revalidate=2678400"));
    assert_eq!(gateway.get(format!("/ipfs/{data}/"), &[browser, &format!("If-None-Match: {etag}")]).status, 304);
    for (target, accept) in [
        (format!("/ipfs/{data}/?format=dag-json"), browser),
        (format!("/ipfs/{data}/?download=true"), browser),
        (format!("/ipfs/{data}/"), "Accept: text/html, application/vnd.ipld.dag-json"),
    ] {
        assert_eq!(told(&gateway.get(&target, &[accept])), (200, Some("application/vnd.ipld.dag-json")), "{target}");
    }
    assert_eq!(told(&gateway.get(format!("/ipfs/{plain}"), &[browser])), (200, Some("application/json")));
}

#[test]
fn a_path_ends_at_a_block_a_value_or_nowhere() {
    let mut memory = Memory::default();
    let inner = put(&mut memory, DAG_JSON, &br#"{"b":[true]}"#[..]);
    let outer = put(&mut memory, DAG_JSON, format!(r#"{{"a":{{"l":{{"/":"{inner}"}}}}}}"#));
    let gateway = Gateway::over(memory);
    let reply = gateway.get(format!("/ipfs/{outer}/a/l?format=dag-json"), &[]);
    assert_eq!((reply.status, &*reply.body), (200, &br#"{"b":[true]}"#[..]));
    assert_eq!(reply.header("x-ipfs-roots").unwrap(), format!("{outer},{inner}"));
    for form in ["", "?format=dag-json", "?format=raw", "?format=json", "?format=tar"] {
        assert_eq!(gateway.get(format!("/ipfs/{outer}/a/l/b/0{form}"), &[]).status, 501, "{form}");
        assert_eq!(gateway.get(format!("/ipfs/{outer}/a/l/b/1{form}"), &[]).status, 404, "{form}");
    }
    assert_eq!(gateway.get(format!("/ipfs/{outer}/a/l/b/0?format=car"), &[]).status, 200);
}
