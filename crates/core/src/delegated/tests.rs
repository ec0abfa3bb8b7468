//! The specification's examples, its rules for filters, and what strangers send.

use super::*;

const ID: &str = "12D3KooWM8sovaEGU1bmiWGWAzvs47DEcXKZZTuJnpQyVTkRs2Vn";

fn record(addresses: &[&str], protocols: &[&str]) -> PeerRecord {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    PeerRecord { id: ID.parse().unwrap(), addresses, protocols: protocols.iter().map(ToString::to_string).collect() }
}

#[test]
fn the_peer_schema_comes_back_and_unknown_fields_are_ignored() {
    let known = record(&["/ip4/192.0.2.1/tcp/4001"], &[BITSWAP, "protocol-a"]);
    let json = serde_json::to_value(&known).unwrap();
    let expected = serde_json::json!({
        "Schema": "peer", "ID": ID, "Addrs": ["/ip4/192.0.2.1/tcp/4001"], "Protocols": [BITSWAP, "protocol-a"],
    });
    assert_eq!(json, expected);
    let mut more = json;
    more["protocol-a"] = serde_json::json!("[base64-blob]");
    more["protocol-b"] = serde_json::json!({ "foo": "bar" });
    more["Addrs"] = serde_json::json!(["/ip4/192.0.2.1/tcp/4001", "/future-protocol/7", 5]);
    assert_eq!(PeerRecord::parse(more.to_string().as_bytes()), Some(known));
}

#[test]
fn ids_are_read_in_every_form() {
    let peer: PeerId = ID.parse().unwrap();
    let cid = Cid::new_v1(0x72, peer.as_ref().resize().unwrap());
    for text in [ID.to_owned(), cid.to_string(), cid.to_string_of_base(cid::multibase::Base::Base36Lower).unwrap()] {
        assert_eq!(parse_peer(&text), Some(peer), "{text}");
        assert_eq!(parse_key(&text), Some(peer.to_bytes()), "{text}");
    }
    assert_eq!(parse_key("bafkreidcd7frenco2m6ch7mny63wztgztv3q6fctaffgowkro6kljre5ei").unwrap().len(), 34);
    for text in ["", "x", "12D3", &"Q".repeat(1000)] {
        assert_eq!((parse_peer(text), parse_key(text)), (None, None), "{text}");
    }
}

#[test]
fn legacy_schemas_are_read_and_others_left_out() {
    let legacy =
        format!(r#"{{"Protocol":"{BITSWAP}","Schema":"bitswap","ID":"{ID}","Addrs":["/ip4/192.0.2.1/tcp/1"]}}"#);
    assert_eq!(PeerRecord::parse(legacy.as_bytes()), Some(record(&["/ip4/192.0.2.1/tcp/1"], &[BITSWAP])));
    let empty = format!(r#"{{"Schema":"peer","ID":"{ID}","Addrs":null,"Protocols":null}}"#);
    assert_eq!(PeerRecord::parse(empty.as_bytes()), Some(record(&[], &[])));
    for other in [
        format!(r#"{{"Schema":"unheard-of","ID":"{ID}"}}"#),
        r#"{"Schema":"peer","ID":"me"}"#.to_owned(),
        r#"{"Schema":"peer"}"#.to_owned(),
        "[".repeat(10_000),
        "[]".to_owned(),
        "5".to_owned(),
    ] {
        assert_eq!(PeerRecord::parse(other.as_bytes()), None, "{other:.40}");
    }
}

#[test]
fn one_record_that_cannot_be_read_does_not_spoil_a_list() {
    let list = format!(r#"{{"Providers":[{{"Schema":"odd"}},7,{{"Schema":"peer","ID":"{ID}"}}],"More":1}}"#);
    assert_eq!(records(list.as_bytes()), Ok(vec![record(&[], &[])]));
    assert_eq!(records(br#"{"Peers":null}"#), Ok(Vec::new()));
    assert_eq!(records(br#"{"Providers":7}"#), Err(NotAnAnswer));
    assert_eq!(records(b"<html>"), Err(NotAnAnswer));
}

#[test]
fn a_record_has_a_limit_of_addresses_and_protocols() {
    let addresses: Vec<String> = (0..100).map(|port| format!("/ip4/192.0.2.1/tcp/{port}")).collect();
    let protocols: Vec<String> = (0..100).map(|n| format!("p{n}")).chain(["x".repeat(64)]).collect();
    let json = serde_json::json!({ "Schema": "peer", "ID": ID, "Addrs": addresses, "Protocols": protocols });
    let mut read = PeerRecord::parse(json.to_string().as_bytes()).unwrap();
    assert_eq!((read.addresses.len(), read.protocols.len()), (ADDRESSES_MAX, PROTOCOLS_MAX));
    read.merge(record(&["/ip4/192.0.2.9/tcp/1"], &["one-more"]));
    assert_eq!((read.addresses.len(), read.protocols.len()), (ADDRESSES_MAX, PROTOCOLS_MAX));
}

#[test]
fn filters_follow_the_rules_of_ipip_484() {
    const TCP: &str = "/ip4/192.0.2.1/tcp/4001";
    const QUIC: &str = "/ip4/192.0.2.1/udp/4001/quic-v1";
    const QUIC6: &str = "/ip6/2001:db8::1/udp/4001/quic-v1";
    const WEB: &str = "/dns4/reef.example/tcp/443/tls/http";
    let all = record(&[TCP, QUIC, QUIC6, WEB], &[BITSWAP, GATEWAY]);
    let bare = record(&[], &[]);
    let cases: [(&str, &[&str], bool); 16] = [
        ("", &[TCP, QUIC, QUIC6, WEB], true),
        ("filter-addrs=", &[TCP, QUIC, QUIC6, WEB], true),
        ("filter-addrs=tls", &[WEB], false),
        ("filter-addrs=TLS,Quic-V1", &[QUIC, QUIC6, WEB], false),
        ("filter-addrs=!ip6,!quic-v1", &[TCP, WEB], false),
        ("filter-addrs=tcp,!tls", &[TCP], false),
        ("filter-addrs=%21ip6%2Cquic-v1", &[QUIC], false),
        ("filter-addrs=webrtc-direct", &[], false),
        ("filter-addrs=unknown", &[], true),
        ("filter-addrs=unknown,http", &[WEB], true),
        ("filter-protocols=unknown", &[], true),
        ("filter-protocols=TRANSPORT-bitswap", &[TCP, QUIC, QUIC6, WEB], false),
        ("filter-protocols=transport-x,transport-ipfs-gateway-http", &[TCP, QUIC, QUIC6, WEB], false),
        ("filter-protocols=transport-x", &[], false),
        ("filter-protocols=transport-x,unknown&filter-addrs=tcp", &[], false),
        ("x=y&filter-protocols=transport-bitswap&filter-addrs=!tcp", &[QUIC, QUIC6], false),
    ];
    for (query, passing, bare_passes) in cases {
        let filter = Filter::parse(query).unwrap();
        let expected = (!passing.is_empty()).then(|| record(passing, &[BITSWAP, GATEWAY]));
        assert_eq!(filter.apply(all.clone()), expected, "{query}");
        assert_eq!(filter.apply(bare.clone()).is_some(), bare_passes, "{query}, nothing known");
    }
    assert_eq!(Filter::parse(&format!("filter-protocols={}", "x".repeat(65))), Err(FilterError::Length));
    assert_eq!(Filter::parse(&format!("filter-addrs={}", "tcp,".repeat(33))), Err(FilterError::Names));
}

#[test]
fn lines_come_out_of_any_pieces() {
    let text = b"{\"a\":1}\r\n\n  \n{\"b\":2}\n{\"c\":3}";
    for size in 1..=text.len() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for piece in text.chunks(size) {
            lines.push(piece);
            while let Some(line) = lines.next_line().unwrap() {
                seen.push(String::from_utf8(line.trim_ascii().to_vec()).unwrap());
            }
        }
        assert_eq!(seen, [r#"{"a":1}"#, r#"{"b":2}"#], "pieces of {size}");
        assert_eq!(lines.rest(), Some(&b"{\"c\":3}"[..]));
    }
}

#[test]
fn a_line_without_end_is_given_up() {
    let mut lines = Lines::default();
    let mut pushed = 0;
    while lines.next_line() == Ok(None) {
        lines.push(&[b'x'; 4096]);
        pushed += 4096;
    }
    assert!(pushed <= LINE_BYTES_MAX + 4096);
}
