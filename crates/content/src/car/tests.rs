//! Tests of CAR import: a CAR that is wrong anywhere is refused, and the place is named.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::*;
use crate::export::{Scope, export};
use crate::memory::Memory;
use crate::reader::resolve;
use crate::reader::tests::{imported, water};

/// A CAR of a file of ten leaves.
async fn car() -> (Vec<u8>, Memory, Cid) {
    let mut memory = Memory::default();
    let root = imported(&mut memory, &water(1000), 100);
    let resolved = resolve(&memory, &root, &[""; 0]).await.unwrap();
    let parts: Vec<Bytes> =
        export(Arc::new(memory.clone()), &resolved, Scope::All).unwrap().try_collect().await.unwrap();
    (parts.concat(), memory, root)
}

/// What of the DAG is not there.
async fn absent(memory: &Memory, root: Cid) -> Vec<Cid> {
    let blocks = Arc::new(memory.clone());
    crate::dag::missing(blocks, |cid| memory.get(cid).is_some(), root).await.unwrap().cids
}

#[tokio::test]
async fn what_was_exported_comes_back() {
    let (car, before, root) = car().await;
    let mut memory = Memory::default();
    let loaded = import_car(&car[..], &mut memory).unwrap();
    assert_eq!((loaded.roots, loaded.blocks), (vec![root], 11));
    assert!(before.cids().all(|cid| memory.get(cid) == before.get(cid)));
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_found_in_its_section() {
    let (car, _, root) = car().await;
    let (mut decoder, mut offsets) = (Decoder::default(), Vec::new());
    decoder.push(&car);
    while let Some(item) = decoder.next_item().unwrap() {
        offsets.extend(if let Item::Section(section) = item { Some(section.offset) } else { None });
    }
    let sections = usize::try_from(offsets[0]).unwrap();
    for at in sections..car.len() {
        let mut broken = car.clone();
        broken[at] ^= 1 << (at % 8);
        let mut memory = Memory::default();
        let Err(error) = import_car(&broken[..], &mut memory) else {
            // Only the codec of a CID is not hashed: then the bytes are right, and the block under its name is missing.
            assert!(
                offsets.iter().any(|offset| (at as u64).checked_sub(*offset).is_some_and(|inside| inside <= 4)),
                "flipped {at}"
            );
            assert!(!absent(&memory, root).await.is_empty(), "flipped {at}");
            continue;
        };
        let (CarImportError::Block { offset, .. } | CarImportError::Car(CarError { offset, .. })) = error else {
            panic!("{error}");
        };
        let expected = offsets.iter().rev().find(|offset| **offset <= at as u64).unwrap();
        // A length that changed moves what follows; the section with the wrong length is the first that can fail.
        assert!(offset >= *expected, "flipped {at}: named {offset}, in {expected}");
        assert!(offset <= expected + 200, "flipped {at}: named {offset}, in {expected}");
    }
}

#[tokio::test]
async fn a_cut_is_found_and_never_a_clean_end_inside_a_section() {
    let (car, _, root) = car().await;
    let mut whole = 0;
    for cut in 0..car.len() {
        match import_car(&car[..cut], &mut Memory::default()) {
            Err(error) => assert!(error.is_truncated(), "cut at {cut}: {error}"),
            // Between two sections the framing cannot tell; what is missing of the root does.
            Ok(loaded) => {
                whole += 1;
                let mut memory = Memory::default();
                import_car(&car[..cut], &mut memory).unwrap();
                assert!(!absent(&memory, root).await.is_empty(), "cut at {cut} with {} blocks", loaded.blocks);
            }
        }
    }
    assert_eq!(whole, 11);
}

#[test]
fn identity_blocks_are_verified_but_not_kept() {
    let cid: Cid = "bafkqabdjnzwgk".parse().unwrap();
    let header = atoll_core::car::encode_header(&[cid]).unwrap();
    let section =
        |bytes: &[u8]| [&header[..], &atoll_core::car::encode_section_prefix(&cid, bytes.len()), bytes].concat();
    let mut memory = Memory::default();
    let right = Block::inline(&cid).unwrap().into_parts().1;
    assert_eq!(import_car(&section(&right)[..], &mut memory).unwrap().blocks, 1);
    assert_eq!(memory.cids().count(), 0);
    assert!(matches!(import_car(&section(b"lies")[..], &mut memory), Err(CarImportError::Block { .. })));
}

struct Full;

impl Sink for Full {
    fn put(&mut self, _block: Block) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[tokio::test]
async fn a_full_disk_is_told_from_a_broken_car() {
    let (car, ..) = car().await;
    assert!(matches!(import_car(&car[..], &mut Full), Err(CarImportError::Sink { .. })));
}
