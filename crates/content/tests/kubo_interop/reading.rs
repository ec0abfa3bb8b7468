//! Whatever Kubo can write, we can read: cut by content, wide and narrow shards, other hashes, inlined blocks, metadata.

use std::fs;
use std::sync::Arc;

use atoll_content::car::import_car;
use atoll_content::dag::missing;
use atoll_content::extract::{Limits, extract};
use atoll_content::import::Profile;
use atoll_content::memory::Memory;
use atoll_content::reader::resolve;
use atoll_core::Cid;
use atoll_core::block::IDENTITY;
use atoll_core::car::{Decoder, Item, encode_header, encode_section_prefix};
use atoll_core::unixfs::Meta;

use crate::oracle::{Kubo, MIB, car, ours, site};

/// What Kubo exports, in memory; our own CAR of it is the same.
async fn taken(kubo: &Kubo, root: &Cid) -> Memory {
    let exported = kubo.export(root);
    let mut memory = Memory::default();
    assert_eq!(import_car(&exported[..], &mut memory).unwrap().roots, [*root]);
    let blocks = Arc::new(memory.clone());
    let complete = missing(blocks, |cid| memory.get(cid).is_some(), *root).await.unwrap();
    assert_eq!(complete.cids, []);
    assert!(car(&memory, root).await == without_inlined(&exported), "{root}: the CARs differ");
    memory
}

/// A CAR of Kubo's command line without the blocks that their CIDs carry: its gateway leaves them out, as the specification
/// says, and so do we.
fn without_inlined(exported: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::default();
    let mut kept = Vec::new();
    decoder.push(exported);
    while let Some(item) = decoder.next_item().unwrap() {
        match item {
            Item::Header(roots) => kept.extend_from_slice(&encode_header(&roots).unwrap()),
            Item::Section(section) if section.cid.hash().code() == IDENTITY => {}
            Item::Section(section) => {
                kept.extend_from_slice(&encode_section_prefix(&section.cid, section.bytes.len()));
                kept.extend_from_slice(&section.bytes);
            }
        }
    }
    kept
}

#[tokio::test]
async fn we_read_whatever_kubo_adds() {
    let Some(kubo) = Kubo::start(Profile::UnixfsV1) else { return };
    let dir = tempfile::tempdir().unwrap();
    site(dir.path(), 300);
    let expected = ours(dir.path(), Profile::UnixfsV1, MIB).1;
    for options in [
        &["--chunker=size-1000", "--cid-version=1"][..],
        &["--chunker=size-1000", "--cid-version=0", "--raw-leaves=false"],
        &["--chunker=size-1000", "--trickle"],
        &["--trickle", "--chunker=size-1000", "--raw-leaves=false", "--max-file-links=3"],
        &["--chunker=rabin-512-1024-2048"],
        &["--chunker=buzhash"],
        &["--max-hamt-fanout=8", "--max-directory-links=10"],
        &["--max-hamt-fanout=16", "--max-directory-links=2"],
        &["--max-hamt-fanout=1024"],
        &["--inline", "--inline-limit=64"],
        &["--inline", "--raw-leaves=false"],
        &["--hash=sha2-512"],
        &["--hash=sha3-256"],
        &["--hash=blake2b-256"],
        &["--hash=keccak-256"],
        &["--hash=blake2b-512"],
        &["--hash=blake2s-256"],
        &["--hash=blake3"],
        &["--preserve-mode", "--preserve-mtime", "--raw-leaves=false"],
    ] {
        let root = kubo.add_with(dir.path(), options);
        let memory = taken(&kubo, &root).await;
        let out = tempfile::tempdir().unwrap();
        let resolved = resolve(&memory, &root, &[""; 0]).await.unwrap();
        let target = out.path().join("site");
        extract(Arc::new(memory), &resolved, &target, Limits::default(), &mut |_| {}).await.unwrap();
        assert_eq!(ours(&target, Profile::UnixfsV1, MIB).1, expected, "{options:?}");
    }
}

#[tokio::test]
async fn mode_and_time_come_along() {
    use std::os::unix::fs::PermissionsExt;
    let Some(kubo) = Kubo::start(Profile::UnixfsV1) else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "calm water").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_234_567_890, 987_654_321);
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let root = kubo.add_with(&path, &["--preserve-mode", "--preserve-mtime", "--raw-leaves=false"]);
    let memory = taken(&kubo, &root).await;
    let resolved = resolve(&memory, &root, &[""; 0]).await.unwrap();
    assert_eq!(resolved.meta, Meta { mode: Some(0o640), mtime: Some((1_234_567_890, 987_654_321)) });
}
