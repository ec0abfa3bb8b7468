//! CAR framing, fed in pieces of any size.

use atoll_core::block::BLOCK_BYTES_MAX;
use atoll_core::car::{CarError, Decoder, HEADER_BYTES_MAX, Item, encode_header, encode_section_prefix};

/// The first byte says how large the pieces are; what comes out may not depend on it.
pub fn car(data: &[u8]) {
    let Some((&size, file)) = data.split_first() else { return };
    let whole = decode(file, file.len().max(1));
    assert_eq!(whole, decode(file, usize::from(size).max(1)), "what is read depends on how it arrives");
    let mut last = 0;
    for item in &whole.0 {
        if let Item::Section(section) = item {
            assert!(section.offset >= last && section.bytes.len() <= BLOCK_BYTES_MAX);
            last = section.offset;
        }
    }
    again(&whole.0);
}

/// What was read before the end or the first error.
fn decode(file: &[u8], size: usize) -> (Vec<Item>, Result<(), CarError>) {
    let (mut decoder, mut items) = (Decoder::default(), Vec::new());
    for chunk in file.chunks(size) {
        decoder.push(chunk);
        loop {
            match decoder.next_item() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Err(error)),
            }
        }
    }
    (items, decoder.finish())
}

/// What was read is written, and read again.
fn again(items: &[Item]) {
    let mut file = Vec::new();
    for item in items {
        match item {
            Item::Header(roots) => match encode_header(roots) {
                Ok(header) => file.extend_from_slice(&header),
                // Written canonically, a header may be longer than it was read.
                Err(_) => return assert!(roots.len() * 36 > HEADER_BYTES_MAX / 2),
            },
            Item::Section(section) => {
                file.extend_from_slice(&encode_section_prefix(&section.cid, section.bytes.len()));
                file.extend_from_slice(&section.bytes);
            }
        }
    }
    let read = decode(&file, file.len().max(1)).0;
    let names = |items: &[Item]| -> Vec<_> {
        let section = |item: &Item| match item {
            Item::Header(roots) => (roots.clone(), None),
            Item::Section(section) => (vec![section.cid], Some(section.bytes.clone())),
        };
        items.iter().map(section).collect()
    };
    assert_eq!(names(&read), names(items), "what is written reads otherwise");
}
