//! What is refused, and where paths lead.

use super::*;

fn json(text: &str) -> Result<Vec<String>, DataError> {
    let mut told = Vec::new();
    walk(DAG_JSON, text.as_bytes(), &mut |event| told.push(format!("{event:?}")))?;
    Ok(told)
}

fn find(text: &str, path: &str) -> Found {
    let path: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    lookup(DAG_JSON, text.as_bytes(), &path).unwrap()
}

#[test]
fn whole_numbers_stay_whole() {
    let told = json("[-18446744073709551616,18446744073709551615,-0,0.5,1e3]").unwrap();
    assert_eq!(
        told[1..6],
        [
            "Integer(-18446744073709551616)",
            "Integer(18446744073709551615)",
            "Integer(0)",
            "Float(0.5)",
            "Float(1000.0)"
        ]
    );
}

#[test]
fn json_with_another_meaning_for_others_is_refused() {
    for bad in [
        "",
        "[",
        "[1,]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"/\":1}",
        "{\"/\":\"bafkqaaa\",\"a\":1}",
        "{\"/\":\"no cid\"}",
        "{\"/\":{\"bytes\":\"AQID\",\"a\":1}}",
        "{\"/\":{\"bytes\":\"A\"}}",
        "{\"/\":{\"bytes\":1}}",
        "\"\\ud800\"",
        "\"\\x\"",
        "\"\n\"",
        "\"open\\\"",
        "01",
        "+1",
        "-",
        "1.",
        ".5",
        "1e999",
        "18446744073709551616",
        "nul",
        "NaN",
        "1 1",
        "\u{feff}1",
    ] {
        assert!(matches!(json(bad), Err(DataError::DagJson { .. })), "{bad}");
    }
    assert!(walk(DAG_JSON, b"\"\xff\"", &mut |_| {}).is_err());
}

#[test]
fn json_of_old_writers_is_read() {
    let told = json(" {\"b\" : [ ] ,\n\"a\":{\"/\":{\"bytes\":\"AQ==\"}},\"/\":\"\\u00e9\\n\"}\r\n").unwrap();
    assert_eq!(
        told.join(" "),
        "MapStart Key(\"b\") ListStart ListEnd Key(\"a\") Bytes([1]) Key(\"/\") Text(\"é\\n\") MapEnd"
    );
}

#[test]
fn cbor_that_is_not_canonical_is_refused() {
    for bad in [
        &[][..],
        &[0x18, 0x01],                                     // 1 in two bytes
        &[0xf9, 0x3c, 0x00],                               // a float of 16 bits
        &[0xfa, 0x3f, 0x80, 0, 0],                         // a float of 32 bits
        &[0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0],             // NaN
        &[0xfb, 0x80, 0, 0, 0, 0, 0, 0, 0],                // -0.0
        &[0x9f, 0xff],                                     // a list without a length
        &[0x7f, 0x61, 0x61, 0xff],                         // a text in parts
        &[0xa2, 0x61, b'b', 1, 0x61, b'a', 2],             // keys out of order
        &[0xa1, 0x01, 0x01],                               // a key that is no text
        &[0xc1, 0x01],                                     // a tag
        &[0xc2, 0x41, 0x01],                               // a large number
        &[0xd8, 0x2a, 0x41, 0x00],                         // a link to nothing
        &[0xd8, 0x2a, 0x46, 0x00, 0x01, 0x55, 0, 0, 0x00], // bytes behind a CID
        &[0xf7],                                           // undefined
        &[0x61, 0xff],                                     // not UTF-8
        &[0x01, 0x01],                                     // two values
    ] {
        assert!(matches!(walk(DAG_CBOR, bad, &mut |_| {}), Err(DataError::DagCbor(_))), "{bad:x?}");
    }
}

#[test]
fn both_codecs_go_down_to_the_same_depth() {
    let json = |depth: usize| walk(DAG_JSON, ["[".repeat(depth), "]".repeat(depth)].concat().as_bytes(), &mut |_| {});
    let cbor = |depth: usize| {
        let mut bytes = vec![0x81; depth - 1];
        bytes.push(0x80);
        walk(DAG_CBOR, &bytes, &mut |_| {})
    };
    assert_eq!((json(DEPTH_MAX), cbor(DEPTH_MAX)), (Ok(()), Ok(())));
    assert_eq!((json(DEPTH_MAX + 1), cbor(DEPTH_MAX + 1)), (Err(DataError::TooDeep), Err(DataError::TooDeep)));
    for bomb in ["[", "{\"a\":", "{\"/\":"] {
        assert!(walk(DAG_JSON, bomb.repeat(BLOCK_BYTES_MAX / bomb.len()).as_bytes(), &mut |_| {}).is_err(), "{bomb}");
    }
}

#[test]
fn a_block_larger_than_any_is_refused() {
    let bytes = vec![b' '; BLOCK_BYTES_MAX + 1];
    assert_eq!(walk(DAG_JSON, &bytes, &mut |_| {}), Err(DataError::TooLarge(BLOCK_BYTES_MAX + 1)));
    assert_eq!(walk(0x55, b"", &mut |_| {}), Err(DataError::Codec(0x55)));
}

#[test]
fn identity_links_of_128_bytes_are_read() {
    let digest = [7; 128];
    let cid = Cid::new_v1(0x55, crate::block::Multihash::wrap(0, &digest).unwrap());
    let bytes = cid.to_bytes();
    let block = [&[0xd8, 0x2a, 0x58, u8::try_from(bytes.len() + 1).unwrap(), 0x00][..], &bytes].concat();
    assert_eq!(lookup(DAG_CBOR, &block, &["x"]).unwrap(), Found::Link { cid, segments: 0 });
}

#[test]
fn a_path_leads_to_a_link_a_value_or_nowhere() {
    const TEXT: &str = r#"{"a":[[1],{"x":1},{"/":"bafkqaaa"},{"l":{"/":"bafkqaaa"},"":5}],"0":{"b":{}},"b":"a"}"#;
    let link = |segments| Found::Link { cid: "bafkqaaa".parse().unwrap(), segments };
    for (path, expected) in [
        ("", Found::Value),
        ("a", Found::Value),
        ("a/0/0", Found::Value),
        ("a/1/x", Found::Value),
        ("a/2", link(2)),
        ("a/2/0/b", link(2)),
        ("a/3/l", link(3)),
        ("0/b", Found::Value),
        ("b", Found::Value),
        ("x", Found::Missing { segment: 0 }),
        ("l", Found::Missing { segment: 0 }),
        ("a/x", Found::Missing { segment: 1 }),
        ("a/4", Found::Missing { segment: 1 }),
        ("a/00", Found::Missing { segment: 1 }),
        ("a/+1", Found::Missing { segment: 1 }),
        ("a/0/1", Found::Missing { segment: 2 }),
        ("a/0/0/0", Found::Missing { segment: 3 }),
        ("a/1/y", Found::Missing { segment: 2 }),
        ("0/b/b", Found::Missing { segment: 2 }),
        ("b/a", Found::Missing { segment: 1 }),
    ] {
        assert_eq!(find(TEXT, path), expected, "{path}");
    }
    assert_eq!(find(r#"{"/":"bafkqaaa"}"#, "a"), link(0));
    assert_eq!(find("[[[]],[[5]]]", "1/0/0"), Found::Value);
}

#[test]
fn the_start_of_json_is_known() {
    for json in ["{}", " [1,\n{\"a\": 5}]\n", "{\"a\":\"cut", "[1, 2", "[\"\u{e9}"] {
        assert!(is_json_start(json.as_bytes()), "{json}");
    }
    assert!(is_json_start(&"[\"\u{e9}".as_bytes()[..3]), "cut through a character");
    for other in ["", "5", "\"a\"", "{{ template }}", "[section]\nkey = 1", "{} {}", "{a: 1}", "[1] see below"] {
        assert!(!is_json_start(other.as_bytes()), "{other}");
    }
}
