//! The bytes of a pack, against docs/formats.md and against damage.

use atoll_core::Block;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const SALT: Salt = *b"saltsalt";

/// The golden pack of docs/formats.md.
const GOLDEN: &str = include_str!("../../../testdata/pack.hex");

fn block(bytes: &[u8]) -> Block {
    Block::sha2_256(RAW, Bytes::copy_from_slice(bytes)).unwrap()
}

fn push_block(pack: &mut Vec<u8>, block: &Block) {
    let len = u32::try_from(block.bytes().len()).unwrap();
    Record::Block { hash: *block.cid().hash(), len }.encode(&SALT, pack);
    pack.extend_from_slice(block.bytes());
}

fn push_pin(pack: &mut Vec<u8>, block: &Block, name: &str, on: bool) {
    let pin = Pin { cid: *block.cid(), name: name.to_owned() };
    Record::Pin { pin, on }.encode(&SALT, pack);
}

fn header() -> Vec<u8> {
    PackHeader { version: PACK_VERSION, number: 7, salt: SALT }.encode().to_vec()
}

fn golden() -> Vec<u8> {
    let mut pack = header();
    let block = block(b"calm water");
    push_block(&mut pack, &block);
    push_pin(&mut pack, &block, "site", true);
    push_pin(&mut pack, &block, "site", false);
    pack
}

fn scan(pack: &[u8]) -> Vec<Found> {
    let mut scanner = Scanner::new(&pack, SALT, PACK_HEADER_BYTES, pack.len() as u64);
    std::iter::from_fn(|| scanner.next().unwrap()).collect()
}

#[test]
fn the_golden_pack_is_what_the_format_says() {
    let digits: String = GOLDEN.lines().flat_map(|line| line.split('#').next()).collect();
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let expected: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    let hex: String = golden().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(golden(), expected, "now: {hex}");
    assert_eq!(scan_bytes(&expected), Some(Scanned { blocks: 1, damaged: 0, pins: 2, skipped: 0 }));
    let header = PackHeader::read(&expected.as_slice()).unwrap();
    assert_eq!(header, Some(PackHeader { version: 1, number: 7, salt: SALT }));
}

#[test]
fn a_damaged_head_hides_one_record_and_no_more() {
    let mut pack = header();
    let blocks = [block(b"one"), block(b"two"), block(b"three")];
    blocks.iter().for_each(|block| push_block(&mut pack, block));
    let second = HEADER_LEN + 10 + 34 + 3;
    pack[second + 4] ^= 0x40;
    let found = scan(&pack);
    assert!(
        matches!(&found[..], [Found::Block { .. }, Found::Gap { at, .. }, Found::Block { hash, .. }]
        if *at == second as u64 && hash == blocks[2].cid().hash()),
        "{found:?}"
    );
}

#[test]
fn a_pin_inside_a_block_is_not_found_behind_a_damaged_head() {
    let innocent = block(b"innocent");
    let mut inner = Vec::new();
    // Who makes a block does not know the salt of the pack that it will lie in.
    let pin = Pin { cid: *innocent.cid(), name: "forged".to_owned() };
    Record::Pin { pin, on: true }.encode(b"guessed!", &mut inner);
    let mut pack = header();
    push_block(&mut pack, &block(&inner));
    pack[HEADER_LEN] ^= 1;
    push_block(&mut pack, &innocent);
    let found = scan(&pack);
    assert!(matches!(&found[..], [Found::Gap { .. }, Found::Block { .. }]), "{found:?}");
}

#[test]
fn names_of_files_are_numbers_in_one_form_only() {
    assert_eq!(pack_number("00000042.pack"), Some(42));
    assert_eq!(pack_number("4294967295.pack"), Some(u32::MAX));
    for name in ["42.pack", "+0000042.pack", "00000042.pack~", "00000042", ".pack", "4294967296.pack"] {
        assert_eq!(pack_number(name), None, "{name}");
    }
}

/// What a pack may hold: a block of these bytes, or a pin of this name.
#[derive(Clone, Debug)]
enum Entry {
    Block(Vec<u8>),
    Pin(String, bool),
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let block = vec(any::<u8>(), 0..300).prop_map(Entry::Block);
    let pin = ("[a-zé]{0,40}", any::<bool>()).prop_map(|(name, on)| Entry::Pin(name, on));
    vec(prop_oneof![block, pin], 0..12)
}

/// A pack of the entries, and where each record ends.
fn pack_of(entries: &[Entry]) -> (Vec<u8>, Vec<usize>) {
    let mut pack = header();
    let mut ends = Vec::new();
    for entry in entries {
        match entry {
            Entry::Block(bytes) => push_block(&mut pack, &block(bytes)),
            Entry::Pin(name, on) => push_pin(&mut pack, &block(b"root"), name, *on),
        }
        ends.push(pack.len());
    }
    (pack, ends)
}

proptest! {
    #[test]
    fn what_is_written_is_found(entries in entries()) {
        let (pack, _) = pack_of(&entries);
        let found = scan(&pack);
        prop_assert_eq!(found.len(), entries.len());
        for (found, entry) in found.iter().zip(&entries) {
            match (found, entry) {
                (Found::Block { data, .. }, Entry::Block(bytes)) => prop_assert_eq!(&data[..], &bytes[..]),
                (Found::Pin { pin, on, .. }, Entry::Pin(name, set)) => prop_assert_eq!((&pin.name, on), (name, set)),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn a_cut_pack_loses_only_what_was_cut(entries in entries(), cut in any::<prop::sample::Index>()) {
        let (pack, ends) = pack_of(&entries);
        let len = cut.index(pack.len() + 1).max(HEADER_LEN);
        let found = scan(&pack[..len]);
        let whole = ends.iter().filter(|end| **end <= len).count();
        let records = found.iter().filter(|found| !matches!(found, Found::Tail { .. })).count();
        prop_assert_eq!(records, whole);
        prop_assert_eq!(found.len() > whole, len > ends.get(whole.wrapping_sub(1)).copied().unwrap_or(HEADER_LEN));
    }

    #[test]
    fn a_flipped_bit_hurts_one_record(entries in entries(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (mut pack, ends) = pack_of(&entries);
        prop_assume!(!entries.is_empty());
        let at = HEADER_LEN + at.index(pack.len() - HEADER_LEN);
        pack[at] ^= 1 << bit;
        let good = |found: &&Found| matches!(found, Found::Block { .. } | Found::Pin { .. });
        prop_assert_eq!(scan(&pack).iter().filter(good).count(), ends.len() - 1);
    }

    #[test]
    fn no_bytes_make_the_scanner_panic(bytes in vec(any::<u8>(), 0..2000)) {
        let mut pack = header();
        pack.extend_from_slice(&bytes);
        let scanned = scan_bytes(&pack).unwrap();
        prop_assert!(scanned.blocks == 0 && scanned.pins == 0);
        scan_bytes(&bytes);
    }
}
