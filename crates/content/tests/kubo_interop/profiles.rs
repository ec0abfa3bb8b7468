//! The same files get the same CIDs, and the same root the same CAR, under both profiles.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use atoll_content::import::Profile;
use proptest::prelude::{Just, Strategy, prop_assert_eq, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use crate::oracle::{Kubo, MIB, bytes, car, ours, site};

/// Lengths around each threshold of a profile: a chunk, and the second and third level with a small chunk.
fn lengths(profile: Profile) -> Vec<(usize, usize)> {
    let (chunk, links) = (profile.chunk_bytes(), profile.file_links_max());
    let around = |len: usize, chunk: usize| [len - 1, len, len + 1].map(|len| (len, chunk));
    let mut cases = vec![(0, chunk), (1, chunk), (2 * chunk, chunk), (5 * chunk + 17, chunk)];
    cases.extend(around(chunk, chunk));
    cases.extend(around(links, 1));
    cases.extend(around(links * links, 1));
    // The last chunk whole, and one byte more or less; and a node that is full but for one.
    cases.extend(around(300_000, 1000));
    cases.extend(around(links * 2 * 3, 3));
    cases
}

#[test]
fn files_on_both_sides_of_every_threshold_have_kubos_cids() {
    for profile in Profile::ALL {
        let Some(kubo) = Kubo::start(profile) else { return };
        let dir = tempfile::tempdir().unwrap();
        for (len, chunk_bytes) in lengths(profile) {
            let path = dir.path().join(format!("{len}-{chunk_bytes}"));
            fs::write(&path, bytes(len as u64, len)).unwrap();
            let (ours, theirs) = (ours(&path, profile, chunk_bytes).1, kubo.add(&path, chunk_bytes));
            assert_eq!(ours, theirs, "{profile}: {len} bytes in chunks of {chunk_bytes}");
        }
    }
}

/// What an empty file named with so many bytes adds to a folder, by the count of the profile.
fn link_bytes(profile: Profile, name: usize) -> usize {
    match profile {
        // A CID of version 0 is a multihash of 34 bytes.
        Profile::UnixfsV0 => 34 + name,
        // 36 bytes of CID, the name, a Tsize of one byte, and tags and lengths.
        Profile::UnixfsV1 => {
            let body = 2 + 36 + (if name > 127 { 3 } else { 2 }) + name + 2;
            body + (if body > 127 { 3 } else { 2 })
        }
    }
}

/// Makes a folder of empty files that counts so many bytes.
fn folder_of(dir: &Path, profile: Profile, total: usize) {
    let link = |name| link_bytes(profile, name);
    // The kind of the node is part of its block.
    let total = if profile == Profile::UnixfsV1 { total - 4 } else { total };
    let mut names = vec![100; total / link(100) - 2];
    let left = total - names.len() * link(100);
    let pair = (100..200).find_map(|a| (100..200).find(|b| link(a) + link(*b) == left).map(|b| [a, b]));
    names.extend(pair.expect("two names that fill the folder"));
    for (i, len) in names.into_iter().enumerate() {
        fs::write(dir.join(format!("{i:0len$}")), "").unwrap();
    }
}

#[test]
fn folders_on_both_sides_of_the_threshold_have_kubos_cids() {
    for profile in Profile::ALL {
        let Some(kubo) = Kubo::start(profile) else { return };
        for (bytes, sharded) in [(262_143, false), (262_144, false), (262_145, true)] {
            let dir = tempfile::tempdir().unwrap();
            folder_of(dir.path(), profile, bytes);
            let (memory, root) = ours(dir.path(), profile, MIB);
            assert_eq!(root, kubo.add(dir.path(), MIB), "{profile}: {bytes}");
            // The empty file, and the folder.
            assert_eq!(memory.cids().count() > 2, sharded, "{profile}: {bytes}");
        }
    }
}

/// What stands at the end of a path.
#[derive(Clone, Debug)]
enum Leaf {
    File(usize),
    Symlink(String),
    Folder,
}

/// Folders within folders, with files, links and names of any kind.
fn tree() -> impl Strategy<Value = Vec<(Vec<String>, Leaf)>> {
    let name = "[^/\\x00]{1,40}".prop_filter("the names of folders", |name| name != "." && name != "..");
    let leaf = prop_oneof![
        8 => (0_usize..3000).prop_map(Leaf::File),
        1 => "[^\\x00]{1,60}".prop_map(Leaf::Symlink),
        1 => Just(Leaf::Folder),
    ];
    proptest::collection::vec((proptest::collection::vec(name, 1..4), leaf), 0..20)
}

/// Writes what of it can stand beside what was written before.
fn write_tree(dir: &Path, tree: &[(Vec<String>, Leaf)]) {
    for (path, leaf) in tree {
        let path = path.iter().fold(dir.to_owned(), |path, name| path.join(name));
        if fs::create_dir_all(path.parent().unwrap()).is_err() || fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        match leaf {
            Leaf::File(len) => fs::write(&path, bytes(*len as u64, *len)).unwrap(),
            Leaf::Symlink(target) => symlink(target, &path).unwrap(),
            Leaf::Folder => fs::create_dir(&path).unwrap(),
        }
    }
}

#[test]
fn any_folder_has_kubos_cid() {
    for profile in Profile::ALL {
        let Some(kubo) = Kubo::start(profile) else { return };
        let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
        let compared = TestRunner::new(config).run(&tree(), |tree| {
            let dir = tempfile::tempdir().unwrap();
            write_tree(dir.path(), &tree);
            prop_assert_eq!(ours(dir.path(), profile, 700).1, kubo.add(dir.path(), 700));
            Ok(())
        });
        compared.unwrap();
    }
}

#[tokio::test]
async fn a_whole_site_has_kubos_cid_and_kubos_car() {
    for profile in Profile::ALL {
        let Some(kubo) = Kubo::start(profile) else { return };
        let dir = tempfile::tempdir().unwrap();
        site(dir.path(), 7_000);
        let (memory, root) = ours(dir.path(), profile, profile.chunk_bytes());
        assert_eq!(root, kubo.add(dir.path(), profile.chunk_bytes()));
        assert!(car(&memory, &root).await == kubo.export(&root), "{profile}: the CARs differ");
    }
}

#[tokio::test]
async fn kubo_reads_our_car() {
    let Some(kubo) = Kubo::start(Profile::UnixfsV1) else { return };
    let dir = tempfile::tempdir().unwrap();
    site(dir.path(), 7_000);
    let (memory, root) = ours(dir.path(), Profile::UnixfsV1, MIB);
    kubo.run(&["dag", "import", "--stats"], &car(&memory, &root).await);
    let file = kubo.run(&["cat", &format!("/ipfs/{root}/a/big")], b"");
    assert!(file == bytes(3 * MIB as u64 + 5, 3 * MIB + 5));
    let out = tempfile::tempdir().unwrap();
    let target = out.path().join("site");
    kubo.run(&["get", "--output", target.to_str().unwrap(), &root.to_string()], b"");
    assert_eq!(ours(&target, Profile::UnixfsV1, MIB).1, root, "what Kubo wrote is what we read");
}
