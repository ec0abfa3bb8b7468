//! Proofs that were made by hand, from `docs/formats.md` alone: the inputs of the fuzzing, which another program wrote.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

use std::fs;

use atoll_core::bundle::{Proof, Proved};

fn made(name: &str) -> Option<Proof> {
    let file = format!("{}/../../fuzz/corpus/manifest/{name}", env!("CARGO_MANIFEST_DIR"));
    Proof::from_bytes(&fs::read(file).unwrap())
}

#[test]
fn what_others_make_by_the_page_of_formats_is_read() {
    let status = |proof: &Proof, key: &str| match proof.of(key) {
        Some(Proved::Entry(entry)) => Some(entry.status),
        Some(Proved::Absent) => Some(404),
        None => None,
    };
    let (entry, gap, last, empty) = (
        made("proof-entry").unwrap(),
        made("proof-gap").unwrap(),
        made("proof-last").unwrap(),
        made("proof-empty").unwrap(),
    );
    assert_eq!([status(&entry, "/b"), status(&entry, "/a"), status(&entry, "/bb")], [Some(301), None, None]);
    assert_eq!([status(&gap, "/ab"), status(&gap, "/a"), status(&gap, "/bb")], [Some(404), Some(200), None]);
    assert_eq!([status(&last, "/c"), status(&last, "/d"), status(&last, "/bb")], [Some(200), Some(404), None]);
    assert_eq!(status(&empty, "/"), Some(404));
    assert!(entry.bundle() == gap.bundle() && gap.bundle() == last.bundle() && last.bundle() != empty.bundle());
    assert!(made("proof-no-neighbours").is_none() && made("proof-wrong-way").is_none());
}
