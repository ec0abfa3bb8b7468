//! A repository that Kubo made: blocks, pins and keys are all found, and nothing in it changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atoll_content::dag::missing;
use atoll_content::import::Profile;
use atoll_content::kubo::{KeyKind, KuboError, Mode, Pin, Repository};
use atoll_content::memory::Memory;
use atoll_core::block::RAW;
use atoll_core::keys::SiteKey;
use atoll_core::{Block, Cid};
use rustix::fs::{FlockOperation, flock};

use crate::oracle::{Kubo, bytes};

/// Every file below a folder, with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn run(kubo: &Kubo, args: &[&str]) -> String {
    String::from_utf8(kubo.run(args, b"")).unwrap().trim().to_owned()
}

/// A repository with a named pin, one without a name, one of a single block, keys, and files.
fn repository() -> Option<(Kubo, Vec<Pin>)> {
    let kubo = Kubo::init("unixfs-v1-2025")?;
    let dir = tempfile::tempdir().unwrap();
    let mut pins = Vec::new();
    for (name, options) in [("blog", &["--pin-name=blog"][..]), ("", &["--cid-version=0", "--raw-leaves=false"])] {
        let folder = dir.path().join(format!("folder-{name}"));
        fs::create_dir(&folder).unwrap();
        for i in 0..20 {
            fs::write(folder.join(i.to_string()), bytes(i, 2000 + name.len())).unwrap();
        }
        let args = [&["add", "-r", "-Q"], options, &[folder.to_str().unwrap()]].concat();
        let cid = run(&kubo, &args).parse().unwrap();
        pins.push(Pin { cid, mode: Mode::Recursive, name: name.to_owned() });
    }
    let direct: Cid =
        run(&kubo, &["resolve", "-r", &format!("/ipfs/{}/7", pins[0].cid)])["/ipfs/".len()..].parse().unwrap();
    run(&kubo, &["pin", "add", "--recursive=false", &direct.to_string()]);
    pins.push(Pin { cid: direct, mode: Mode::Direct, name: String::new() });
    // Kubo itself pins an empty folder, once there are files.
    let empty = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn".parse().unwrap();
    pins.push(Pin { cid: empty, mode: Mode::Recursive, name: String::new() });
    run(&kubo, &["files", "cp", &format!("/ipfs/{}", pins[0].cid), "/shown"]);
    run(&kubo, &["key", "gen", "blog.example"]);
    run(&kubo, &["key", "gen", "--type=rsa", "old"]);
    Some((kubo, pins))
}

#[tokio::test]
async fn what_a_repository_holds_is_taken_and_nothing_in_it_changes() {
    let Some((kubo, expected)) = repository() else { return };
    let dir = kubo.repository.path();
    let files_root: Cid = run(&kubo, &["files", "stat", "--hash", "/"]).parse().unwrap();
    let ids = run(&kubo, &["key", "list", "-l", "--ipns-base=b58mh"]);
    let before = files(dir);
    let repository = Repository::open(dir).unwrap();

    let (mut pins, root) = repository.pins().unwrap();
    let key = |pin: &Pin| pin.cid.to_string();
    pins.sort_by_key(key);
    let mut sorted = expected.clone();
    sorted.sort_by_key(key);
    assert_eq!((pins, root), (sorted, Some(files_root)));

    let mut raw = Memory::default();
    let taken = repository.blocks(&mut raw, &mut |_| {}).unwrap();
    assert_eq!((taken.blocks, taken.refused.len()), (raw.cids().count() as u64, 0));
    // A store goes by hashes; so does this.
    let known: Vec<Block> =
        raw.cids().map(|cid| Block::verified(*cid, raw.get(cid).unwrap().clone()).unwrap()).collect();
    for pin in expected.iter().filter(|pin| pin.mode == Mode::Recursive) {
        let source = ByHash(known.clone());
        let found = missing(Arc::new(source.clone()), |cid| source.get(cid).is_some(), pin.cid).await.unwrap();
        assert_eq!(found.cids, [], "{}", pin.cid);
    }

    let keys = repository.keys().unwrap();
    let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["blog.example", "old", "self"]);
    for key in &keys {
        let KeyKind::Ed25519(seed) = key.kind else {
            assert_eq!(key.name, "old");
            continue;
        };
        let peer = SiteKey::from_seed(&seed).public().to_peer_id().unwrap().to_string();
        assert!(ids.lines().any(|line| line.starts_with(&peer) && line.trim_end().ends_with(&key.name)), "{ids}");
    }
    drop(repository);
    assert!(files(dir) == before, "the repository changed");
}

#[test]
fn a_damaged_block_is_named_and_the_rest_taken() {
    let Some((kubo, _)) = repository() else { return };
    let dir = kubo.repository.path();
    let blocks = |dir: &Path| {
        files(&dir.join("blocks")).into_keys().filter(|path| path.extension().is_some_and(|e| e == "data"))
    };
    let count = blocks(dir).count() as u64;
    let victim = blocks(dir).nth(3).unwrap();
    fs::write(&victim, "scrambled").unwrap();
    let taken = Repository::open(dir).unwrap().blocks(&mut Memory::default(), &mut |_| {}).unwrap();
    assert_eq!(taken.blocks, count - 1);
    assert_eq!(taken.refused, [victim.strip_prefix(dir).unwrap()]);
}

#[test]
fn a_repository_in_use_or_of_another_layout_is_refused() {
    let Some(kubo) = Kubo::init("unixfs-v1-2025") else { return };
    let lock = fs::File::open(kubo.repository.path().join("datastore/LOCK")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(matches!(Repository::open(kubo.repository.path()), Err(KuboError::InUse(_))));
    drop(lock);
    assert!(Repository::open(kubo.repository.path()).is_ok());
    let pebble = Kubo::start(Profile::UnixfsV1).unwrap();
    let error = Repository::open(pebble.repository.path()).unwrap_err().to_string();
    assert!(error.contains("pebbleds") && error.contains("ipfs dag export"), "{error}");
}

/// Blocks that are found by their hash, whatever the codec.
#[derive(Clone)]
struct ByHash(Vec<Block>);

impl ByHash {
    fn get(&self, cid: &Cid) -> Option<bytes::Bytes> {
        let named = Cid::new_v1(RAW, *cid.hash());
        self.0.iter().find(|block| *block.cid() == named).map(|block| block.bytes().clone())
    }
}

impl atoll_core::Blocks for ByHash {
    fn cached(&self, cid: &Cid) -> Option<bytes::Bytes> {
        self.get(cid)
    }

    fn block<'a>(
        &'a self,
        _: &'a Cid,
        cid: &'a Cid,
    ) -> atoll_core::BoxFuture<'a, Result<bytes::Bytes, atoll_core::FetchError>> {
        Box::pin(async move { self.get(cid).ok_or(atoll_core::FetchError::NotFound(*cid)) })
    }
}
