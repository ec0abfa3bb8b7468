//! Trustless Gateway: what a CAR contains.

use atoll_core::car::{Decoder, Item};
use atoll_testkit::http::Reply;

use crate::{FILES, HOLED, NOWHERE, SHARDED, node};

/// The CIDs of the blocks of a CAR.
fn blocks(reply: &Reply) -> Vec<String> {
    let mut decoder = Decoder::default();
    decoder.push(&reply.body);
    let mut found = Vec::new();
    while let Some(item) = decoder.next_item().unwrap() {
        if let Item::Section(section) = item {
            found.push(section.cid.to_string());
        }
    }
    found
}

#[test]
fn a_scope_is_part_of_what_is_below() {
    let Some(node) = node() else { return };
    let count = |path: &str, scope: &str| {
        let reply = node.get(&format!("/ipfs/{path}?format=car&dag-scope={scope}"), &[]);
        assert_eq!(reply.status, 200);
        let blocks = blocks(&reply);
        assert_eq!(blocks.iter().collect::<std::collections::HashSet<_>>().len(), blocks.len(), "no block comes twice");
        blocks.len()
    };
    assert_eq!(count(FILES, "block"), 1);
    assert_eq!(count(FILES, "entity"), 1);
    assert!(count(FILES, "all") > count(&format!("{FILES}/ascii.txt"), "all"));
    // The way there, and the block itself.
    assert_eq!(count(&format!("{FILES}/ascii.txt"), "block"), 2);
    assert!(count(SHARDED, "entity") > 1 && count(SHARDED, "entity") < count(SHARDED, "all"));
}

#[test]
fn a_car_without_a_block_cannot_be_read_as_complete() {
    let Some(node) = node() else { return };
    let broken = node.get(&format!("/ipfs/{HOLED}?format=car"), &[]);
    assert!(broken.status == 200 && !broken.complete);
    assert_eq!(node.get(&format!("/ipfs/{NOWHERE}?format=car"), &[]).status, 404);
}
