//! Tests of the framing: any cut, any length, any order of chunks.

use super::*;
use crate::block::{Block, DAG_PB, RAW};

fn blocks() -> Vec<Block> {
    let mut blocks: Vec<_> =
        [&b"calm"[..], b"", b"water"].map(|text| Block::sha2_256(RAW, Bytes::from_static(text)).unwrap()).into();
    let dag_pb = Block::sha2_256(DAG_PB, Bytes::from_static(b"\x0a\x02\x08\x01")).unwrap();
    let v0 = Cid::new_v0(*dag_pb.cid().hash()).unwrap();
    blocks.push(Block::verified(v0, dag_pb.into_parts().1).unwrap());
    blocks
}

/// A CAR, and where its sections begin.
fn car() -> (Vec<u8>, Vec<u64>) {
    let mut car = encode_header(&[*blocks()[0].cid()]).unwrap().to_vec();
    let mut offsets = Vec::new();
    for block in blocks() {
        offsets.push(car.len() as u64);
        car.extend_from_slice(&encode_section_prefix(block.cid(), block.bytes().len()));
        car.extend_from_slice(block.bytes());
    }
    (car, offsets)
}

fn read(car: &[u8], chunk: usize) -> Result<Vec<Item>, CarError> {
    let (mut decoder, mut items) = (Decoder::default(), Vec::new());
    for chunk in car.chunks(chunk) {
        decoder.push(chunk);
        while let Some(item) = decoder.next_item()? {
            items.push(item);
        }
    }
    decoder.finish()?;
    Ok(items)
}

fn expected(offsets: &[u64]) -> Vec<Item> {
    let sections = blocks().into_iter().zip(offsets).map(|(block, &offset)| {
        let (cid, bytes) = block.into_parts();
        Item::Section(Section { offset, cid, bytes })
    });
    [Item::Header(vec![*blocks()[0].cid()])].into_iter().chain(sections).collect()
}

fn fault(car: &[u8]) -> CarError {
    let error = read(car, 1).unwrap_err();
    assert_eq!(read(car, usize::MAX), Err(error.clone()), "chunks must not matter");
    error
}

#[test]
fn chunks_of_any_size_give_the_same_items() {
    let (car, offsets) = car();
    for chunk in 1..=car.len() {
        assert_eq!(read(&car, chunk).unwrap(), expected(&offsets), "chunks of {chunk}");
    }
}

#[test]
fn a_cut_anywhere_but_between_sections_is_named() {
    let (car, offsets) = car();
    for cut in 0..car.len() {
        let cut_at = cut as u64;
        if offsets.contains(&cut_at) {
            assert!(read(&car[..cut], 7).is_ok());
            continue;
        }
        let begin = offsets.iter().rev().find(|offset| **offset < cut_at).copied().unwrap_or(0);
        assert_eq!(fault(&car[..cut]), CarError { offset: begin, fault: CarFault::Truncated }, "cut at {cut}");
    }
}

#[test]
fn lengths_are_bounded_before_anything_is_reserved() {
    let header = encode_header(&[]).unwrap();
    let at = header.len() as u64;
    let section = |len: &[u8]| fault(&[&header[..], len].concat());
    let too_large = |len, max| CarFault::TooLarge { len, max };
    for (len, expected) in [
        (&[0x00][..], CarFault::Empty),
        (&[0x80, 0x00], CarFault::BadVarint),
        (&[0xff; 10], CarFault::BadVarint),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], too_large(u64::MAX, SECTION_BYTES_MAX)),
        (&[0xe5, 0x80, 0x80, 0x01], too_large(SECTION_BYTES_MAX as u64 + 1, SECTION_BYTES_MAX)),
    ] {
        assert_eq!(section(len), CarError { offset: at, fault: expected }, "{len:?}");
    }
    assert_eq!(fault(&[0x81, 0x80, 0x02, 0xa2]).fault, too_large(32_769, HEADER_BYTES_MAX));
}

#[test]
fn a_block_over_two_mebibytes_is_refused() {
    let block = Block::sha2_256(RAW, Bytes::from(vec![0; BLOCK_BYTES_MAX])).unwrap();
    let header = encode_header(&[]).unwrap();
    let with = |len: usize| [&header[..], &encode_section_prefix(block.cid(), len), &vec![0; len]].concat();
    assert!(read(&with(BLOCK_BYTES_MAX), 100_000).is_ok());
    let error = read(&with(BLOCK_BYTES_MAX + 1), 100_000).unwrap_err();
    assert_eq!(error.offset, header.len() as u64);
    assert!(matches!(error.fault, CarFault::TooLarge { max: BLOCK_BYTES_MAX, .. }));
}

#[test]
fn a_section_must_begin_with_a_cid() {
    let header = encode_header(&[]).unwrap();
    for section in [&[0x01, 0xff][..], &[0x02, 0x01, 0x55], &[0x04, 0x01, 0x55, 0x12, 0x20]] {
        let error = fault(&[&header[..], section].concat());
        assert_eq!(error, CarError { offset: header.len() as u64, fault: CarFault::BadCid });
    }
}

#[test]
fn headers_that_are_none_are_refused() {
    let framed = |cbor: &[u8]| [&[u8::try_from(cbor.len()).unwrap()][..], cbor].concat();
    let roots = b"\x65roots\x80";
    for (cbor, expected) in [
        (&b"\xa1\x67version\x01"[..], CarFault::BadHeader),
        (&[b"\xa2", &roots[..], b"\x67version\x03"].concat(), CarFault::Version(3)),
        (&[b"\xa2", &roots[..], b"\x67version\x02"].concat(), CarFault::BadHeader),
        (&[b"\xa3", &roots[..], b"\x61x\x00\x67version\x01"].concat(), CarFault::BadHeader),
        (b"\xff", CarFault::BadHeader),
        (b"\xa2\x65roots\x9b\xff\xff\xff\xff\xff\xff\xff\xff", CarFault::BadHeader),
    ] {
        assert_eq!(fault(&framed(cbor)), CarError { offset: 0, fault: expected }, "{cbor:?}");
    }
    assert!(read(&framed(&[b"\xa2", &roots[..], b"\x67version\x01"].concat()), 1).is_ok());
}

/// Wraps a CAR of version 1 into one of version 2, with padding before and an index behind.
fn version_2(car: &[u8], data_offset: u64, data_size: u64) -> Vec<u8> {
    let mut out = b"\x0a\xa1\x67version\x02".to_vec();
    out.extend_from_slice(&[0; 16]);
    for number in [data_offset, data_size, data_offset.wrapping_add(data_size)] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.resize(out.len().max(usize::try_from(data_offset.min(4096)).unwrap()), 0);
    out.extend_from_slice(car);
    out.extend_from_slice(b"an index that nobody reads");
    out
}

#[test]
fn version_2_is_read_up_to_its_index() {
    let (car, offsets) = car();
    let offsets: Vec<_> = offsets.iter().map(|offset| offset + 100).collect();
    let car = version_2(&car, 100, car.len() as u64);
    for chunk in [1, 3, 50, car.len()] {
        assert_eq!(read(&car, chunk).unwrap(), expected(&offsets));
    }
}

#[test]
fn version_2_out_of_bounds_is_refused() {
    let (car, offsets) = car();
    let size = car.len() as u64;
    for (offset, size) in [(0, size), (50, size), (u64::MAX, size), (100, u64::MAX), (2 << 20, size)] {
        let error = fault(&version_2(&car, offset, size));
        assert_eq!(error, CarError { offset: 11, fault: CarFault::BadV2Header });
    }
    // A payload that ends inside a section: the length is not believed beyond it.
    let error = fault(&version_2(&car, 100, size - 1));
    assert_eq!(error, CarError { offset: 100 + offsets[3], fault: CarFault::Truncated });
    let inner = version_2(&version_2(&car, 51, size), 51, size);
    assert_eq!(fault(&inner).fault, CarFault::BadHeader);
}

#[test]
fn nothing_is_read_after_an_error() {
    let mut decoder = Decoder::default();
    decoder.push(&[0, 0, 0]);
    assert_eq!(decoder.next_item().unwrap_err().fault, CarFault::Empty);
    assert_eq!(decoder.next_item().unwrap_err().fault, CarFault::Failed);
    assert!(decoder.finish().is_err());
}
