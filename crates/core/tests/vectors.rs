//! Others' vectors: ipld/codec-fixtures, the CAR and IPNS records of gateway-conformance, Wycheproof's signatures.
//!
//! They lie beside a checkout or where `ATOLL_VECTORS` says; without them the tests say that they did not run, and with
//! `CI=true` that fails.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in what tests call, a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};

use atoll_core::block::{DAG_CBOR, DAG_JSON, DAG_PB, IDENTITY, Multihash, RAW};
use atoll_core::car::{Decoder, Item};
use atoll_core::data::{self, DataError, Event};
use atoll_core::ipns::{Name, Record, RecordError};
use atoll_core::keys::signer_p256;
use atoll_core::unixfs::Node;
use atoll_core::{Block, Cid, SystemClock, dagpb, links};
use bytes::Bytes;
use ipld_core::ipld::Ipld;

/// A folder of vectors.
fn vectors(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let found = std::env::var_os("ATOLL_VECTORS").map_or_else(beside, PathBuf::from).join(name);
    if found.exists() {
        return Some(found);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{} is not there, but CI is set", found.display());
    println!("did not run: there are no vectors at {}", found.display());
    None
}

/// The fixtures of one codec: their CIDs and bytes.
fn fixtures(codec: &str) -> Option<Vec<(Cid, Vec<u8>)>> {
    let mut found = Vec::new();
    let entries = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    // Beside the folders lies a file of the repository that they come from.
    let mut folders = entries(&vectors("codec-fixtures/fixtures")?);
    folders.retain(|path| path.is_dir());
    folders.sort();
    for folder in folders {
        for path in entries(&folder) {
            if path.extension().is_some_and(|extension| extension == codec) {
                let cid = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
                found.push((cid, fs::read(path).unwrap()));
            }
        }
    }
    Some(found)
}

#[test]
fn dag_pb_fixtures_decode_and_encode_to_the_same_bytes() {
    let Some(fixtures) = fixtures("dag-pb") else { return };
    assert!(fixtures.len() >= 17);
    for (cid, bytes) in fixtures {
        let node = dagpb::Node::decode(&bytes).unwrap();
        assert_eq!(node.encode(), bytes, "{cid}");
        assert!(Block::verified(cid, bytes.into()).is_ok());
    }
}

#[test]
fn dag_pb_that_must_be_refused_is_refused() {
    let Some(path) = vectors("codec-fixtures/negative-fixtures/dag-pb/decode/edges.json") else { return };
    let blocks = hex_fixtures(&path);
    assert_eq!(blocks.len(), 9);
    for bytes in blocks {
        assert!(dagpb::Node::decode(&bytes).is_err(), "{bytes:?}");
    }
}

/// The blocks of a file of negative fixtures. Those of forms that are no dag-pb node need no test: [`dagpb::Node`] has no
/// way to say them.
fn hex_fixtures(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path).unwrap();
    let hex = text.split("\"hex\": \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    hex.map(|hex| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()).collect()
}

/// What a block holds, as [`data::walk`] tells it.
fn value(codec: u64, bytes: &[u8]) -> Result<Ipld, DataError> {
    let mut open: Vec<(Option<String>, Ipld)> = Vec::new();
    let (mut key, mut whole) = (None, None);
    data::walk(codec, bytes, &mut |event| {
        let ended = match event {
            Event::Key(next) => {
                key = Some(next.to_owned());
                return;
            }
            Event::ListStart => return open.push((key.take(), Ipld::List(Vec::new()))),
            Event::MapStart => return open.push((key.take(), Ipld::Map(Default::default()))),
            Event::ListEnd | Event::MapEnd => open.pop().unwrap(),
            Event::Null => (key.take(), Ipld::Null),
            Event::Bool(value) => (key.take(), Ipld::Bool(value)),
            Event::Integer(value) => (key.take(), Ipld::Integer(value)),
            Event::Float(value) => (key.take(), Ipld::Float(value)),
            Event::Text(value) => (key.take(), Ipld::String(value.to_owned())),
            Event::Bytes(value) => (key.take(), Ipld::Bytes(value.to_vec())),
            Event::Link(cid) => (key.take(), Ipld::Link(cid.to_bytes().try_into().unwrap())),
        };
        match (open.last_mut(), ended) {
            (None, (_, value)) => whole = Some(value),
            (Some((_, Ipld::List(list))), (_, value)) => list.push(value),
            (Some((_, Ipld::Map(map))), (key, value)) => assert!(map.insert(key.unwrap(), value).is_none()),
            other => panic!("{other:?}"),
        }
    })?;
    Ok(whole.unwrap())
}

#[test]
fn data_fixtures_decode_and_encode_to_the_same_block_and_mean_the_same_in_both_codecs() {
    let (Some(cbor), Some(json)) = (fixtures("dag-cbor"), fixtures("dag-json")) else { return };
    assert!(cbor.len() == json.len() && cbor.len() >= 128);
    let mut links_seen = 0;
    for ((cbor_cid, cbor), (json_cid, json)) in cbor.into_iter().zip(json) {
        let meaning = value(DAG_CBOR, &cbor).unwrap();
        assert_eq!(meaning, value(DAG_JSON, &json).unwrap(), "{json_cid}");
        assert_eq!(serde_ipld_dagcbor::to_vec(&meaning).unwrap(), cbor, "{cbor_cid}");
        assert_eq!(serde_ipld_dagjson::to_vec(&meaning).unwrap(), json, "{json_cid}");
        let mut links = links::links(&cbor_cid, &cbor).unwrap();
        let mut same = links::links(&json_cid, &json).unwrap();
        links_seen += links.len();
        // The codecs order keys differently.
        links.sort();
        same.sort();
        assert_eq!(links, same, "{cbor_cid}");
        assert!(Block::verified(cbor_cid, cbor.into()).is_ok() && Block::verified(json_cid, json.into()).is_ok());
    }
    assert!(links_seen > 20);
}

#[test]
fn data_that_must_be_refused_is_refused() {
    for (codec, name) in [(DAG_CBOR, "dag-cbor"), (DAG_JSON, "dag-json")] {
        let path = format!("codec-fixtures/negative-fixtures/{name}/decode/duplicate-keys.json");
        let Some(path) = vectors(&path) else { return };
        let bytes = hex_fixtures(&path);
        assert_eq!(bytes.len(), 1);
        assert!(bytes.iter().all(|bytes| value(codec, bytes).is_err()), "{name}");
    }
}

/// The rows of a CSV, but for the first.
fn rows(name: &str) -> Option<Vec<Vec<String>>> {
    let text = fs::read_to_string(vectors(name)?).unwrap();
    Some(text.lines().skip(1).map(|line| line.split(',').map(|cell| cell.trim().to_owned()).collect()).collect())
}

#[test]
fn whole_digests_of_safe_hashes_are_checked_and_all_others_refused() {
    let Some(rows) = rows("multiformats/multihash-test_cases.csv") else { return };
    let mut checked = 0;
    for row in rows {
        let [algorithm, bits, input, multihash] = row.as_slice() else { panic!("{row:?}") };
        let bytes = |hex: &str| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        let cid = Cid::new_v1(RAW, Multihash::from_bytes(&bytes(multihash)).unwrap());
        let verified = Block::verified(cid, Bytes::from(input.clone()));
        let whole = matches!((&**algorithm, &**bits), ("sha2-256", "256") | ("sha2-512" | "sha3", "512"));
        assert_eq!(verified.is_ok(), whole, "{algorithm} {bits} {multihash}: {verified:?}");
        checked += usize::from(whole);
    }
    assert_eq!(checked, 60);
}

#[test]
fn multibase_texts_are_read_and_written() {
    for (name, expected) in [
        ("basic", "yes mani !"),
        ("leading_zero", "\0yes mani !"),
        ("two_leading_zeros", "\0\0yes mani !"),
        ("case_insensitivity", "hello world"),
    ] {
        let Some(rows) = rows(&format!("multiformats/multibase-{name}.csv")) else { return };
        for row in rows {
            let text = row.get(1).unwrap().trim_matches('"');
            let (base, bytes) = multibase::decode(text).unwrap_or_else(|error| panic!("{row:?}: {error}"));
            assert_eq!(bytes, expected.as_bytes(), "{row:?}");
            assert!(name == "case_insensitivity" || multibase::encode(base, &bytes) == text, "{row:?}");
        }
    }
}

#[test]
fn every_block_of_the_gateway_fixtures_is_understood() {
    let Some(path) = vectors("gateway/fixtures.car") else { return };
    let (mut decoder, mut blocks, mut unixfs) = (Decoder::default(), 0, 0);
    for chunk in fs::read(path).unwrap().chunks(1000) {
        decoder.push(chunk);
        while let Some(item) = decoder.next_item().unwrap() {
            let Item::Section(section) = item else { continue };
            let block = Block::verified(section.cid, section.bytes).unwrap();
            let (cid, bytes): (Cid, Bytes) = block.into_parts();
            blocks += 1;
            match cid.codec() {
                DAG_PB => {
                    assert!(links::links(&cid, &bytes).is_ok(), "{cid}");
                    unixfs += usize::from(Node::decode(&cid, &bytes).map_err(|e| println!("{cid}: {e}")).is_ok());
                }
                DAG_CBOR | DAG_JSON => assert!(links::links(&cid, &bytes).is_ok(), "{cid}"),
                _ => {}
            }
            assert_ne!(cid.hash().code(), IDENTITY, "identity blocks are never sent");
        }
    }
    decoder.finish().unwrap();
    println!("{blocks} blocks, {unixfs} of them UnixFS in dag-pb");
    assert!(unixfs > 50);
}

#[test]
fn the_gateway_fixtures_records_verify_as_their_names_say() {
    let Some(folder) = vectors("gateway") else { return };
    let (mut valid, mut refused) = (0, Vec::new());
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let file = path.file_name().unwrap().to_str().unwrap();
        let Some(stem) = file.strip_suffix(".ipns-record") else { continue };
        // A name, then what the record is about.
        let (name, about) = stem.split_once('_').unwrap();
        let name: Name = name.parse().unwrap();
        match Record::verify(&name, fs::read(&path).unwrap().into()) {
            Ok(record) => {
                assert!(record.is_live(SystemClock::now()), "{file}");
                assert!(record.target().is_ok(), "{file}");
                valid += 1;
            }
            Err(error) => refused.push((about.rsplit_once('_').unwrap().0.to_owned(), error)),
        }
    }
    refused.sort_by(|one, two| one.0.cmp(&two.0));
    let expected = [
        ("v1", RecordError::NotV2),
        ("v1-v2-broken-signature-v2", RecordError::Signature),
        ("v1-v2-broken-v1-value", RecordError::Differs("Value")),
    ];
    assert_eq!(refused, expected.map(|(about, error)| (about.to_owned(), error)));
    assert_eq!(valid, 9);
}

/// Wycheproof's ECDSA over P-256 with SHA-256, signatures as r‖s (IEEE P1363), the form of RFC 9421: what it calls valid is found to be
/// of its key, s in either half, and nothing else is.
#[test]
fn wycheproof_p256() {
    let Some(path) = vectors("wycheproof/ecdsa_secp256r1_sha256_p1363_test.json") else { return };
    let suite: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let hex = |value: &serde_json::Value| data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap();
    let mut counts = [0, 0];
    for group in suite["testGroups"].as_array().unwrap() {
        let point = hex(&group["publicKey"]["uncompressed"]);
        let node = atoll_core::id::NodeId(atoll_core::manifest::digest(&point));
        for case in group["tests"].as_array().unwrap() {
            let valid = case["result"] == "valid";
            let found = <[u8; 64]>::try_from(hex(&case["sig"])).ok();
            let found = found.and_then(|signature| signer_p256(&node, &hex(&case["msg"]), &signature));
            assert_eq!(found.is_some(), valid, "{case}");
            assert!(found.is_none_or(|key| key[1..] == point[1..33]));
            counts[usize::from(valid)] += 1;
        }
    }
    assert_eq!(counts.iter().sum::<u64>(), suite["numberOfTests"].as_u64().unwrap());
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}
