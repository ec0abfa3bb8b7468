//! Signed answers as clients get them, and the manifests by which they are signed as nodes keep them.

use std::borrow::Cow;

use atoll_core::bundle::{Bundle, LEAVES_MAX, Proof, Proved};
use atoll_core::manifest::{Manifest, is_key};
use atoll_core::signed::{Answer, SKEW_SECONDS, Subject, check};

/// When the answers in the corpus were signed.
const NOW: u64 = 1_795_000_000;

/// Fields, a line each, after a line with the authority: what is taken is the template, and was signed by whom it names.
pub fn signed(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (authority, fields) = text.split_once('\n').unwrap_or(("", text));
    let field = |name: &str| {
        let mut values = fields.lines().filter_map(|line| line.split_once(": ")).filter(|(known, _)| *known == name);
        let first = Cow::Borrowed(values.next()?.1);
        Some(values.fold(first, |all, (_, value)| format!("{all}, {value}").into()))
    };
    let Ok(found) = check(200, authority, &field, NOW) else { return };
    assert!(is_key(&found.key) && found.expires > NOW && found.created <= NOW + SKEW_SECONDS);
    let subject =
        Subject { status: 200, digest: found.digest, bundle: found.bundle, key: &found.key, head: found.head };
    let (created, expires) = (found.created, found.expires);
    let answer = Answer { subject, authority, nonce: found.nonce, created, expires, node: found.node };
    assert!(field("signature-input").is_some_and(|input| input.contains(&answer.params())), "off the template");
}

/// The file of a bundle, of a manifest alone, or a proof: what is read is written as the same bytes.
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::from_bytes(data) {
        assert_eq!(manifest.to_bytes(), data);
        let entries = manifest.entries();
        assert!(entries.windows(2).all(|pair| pair[0].key < pair[1].key) && entries.iter().all(|e| is_key(&e.key)));
        assert!(entries.iter().all(|entry| manifest.between(&entry.key).is_none()));
    }
    if let Some(bundle) = Bundle::from_bytes(data) {
        assert!(bundle.leaves <= LEAVES_MAX);
        assert_eq!(bundle.to_bytes(), data);
        for key in bundle.manifest.entries().iter().map(|entry| &*entry.key).chain(["/", "/~"]) {
            let proof = Proof::from_bytes(&bundle.prove(key).to_bytes()).expect("what is proved is read");
            assert_eq!(proof.bundle(), bundle.id());
            assert_eq!(proof.of(key), Some(bundle.manifest.get(key).map_or(Proved::Absent, Proved::Entry)));
        }
    }
    if let Some(proof) = Proof::from_bytes(data) {
        assert_eq!(proof.to_bytes(), data);
    }
}
