//! Others' vectors: ipld/codec-fixtures, and the CAR and IPNS records of gateway-conformance.
//!
//! They lie beside a checkout or where `ATOLL_VECTORS` says; without them the tests say that they did not run, and with
//! `CI=true` that fails.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in what tests call, a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};

use atoll_core::block::{DAG_CBOR, DAG_PB, IDENTITY};
use atoll_core::car::{Decoder, Item};
use atoll_core::ipns::{Name, Record, RecordError};
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
    for folder in entries(&vectors("codec-fixtures/fixtures")?).into_iter().filter(|path| path.is_dir()) {
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
    let text = fs::read_to_string(path).unwrap();
    let hex: Vec<&str> = text.split("\"hex\": \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(hex.len(), 9);
    for hex in hex {
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        assert!(dagpb::Node::decode(&bytes).is_err(), "{hex}");
    }
}

fn links_of(ipld: &Ipld) -> Vec<Cid> {
    match ipld {
        Ipld::Link(cid) => vec![*cid],
        Ipld::List(list) => list.iter().flat_map(links_of).collect(),
        Ipld::Map(map) => map.values().flat_map(links_of).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn dag_cbor_links_are_those_of_the_whole_value() {
    let Some(fixtures) = fixtures("dag-cbor") else { return };
    assert!(fixtures.len() > 100);
    let mut with_links = 0;
    for (cid, bytes) in fixtures {
        assert_eq!(cid.codec(), DAG_CBOR);
        let mut expected = links_of(&serde_ipld_dagcbor::from_slice(&bytes).unwrap());
        let mut found = links::links(&cid, &bytes).unwrap();
        with_links += usize::from(!expected.is_empty());
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{cid}");
    }
    assert!(with_links > 5);
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
                DAG_CBOR => assert!(links::links(&cid, &bytes).is_ok(), "{cid}"),
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
