//! Tests of extraction: what was imported comes back, what lies there is used, what would lead outside is refused.

use std::fs;
use std::os::unix::fs::symlink;

use atoll_core::block::{DAG_PB, RAW};
use atoll_core::unixfs::encode_symlink;
use tempfile::TempDir;

use super::*;
use crate::import::{Options, import};
use crate::memory::Memory;
use crate::reader::resolve;
use crate::reader::tests::{directory, file, imported, put, water};

async fn run(memory: &Memory, root: &Cid, target: &Path) -> Result<Extracted, ExtractError> {
    run_within(memory, root, target, Limits::default()).await
}

async fn run_within(memory: &Memory, root: &Cid, target: &Path, limits: Limits) -> Result<Extracted, ExtractError> {
    let resolved = resolve(memory, root, &[""; 0]).await?;
    extract(Arc::new(memory.clone()), &resolved, target, limits, &mut |_| {}).await
}

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    (dir, target)
}

#[tokio::test]
async fn a_folder_comes_back_as_it_was() {
    let from = tempfile::tempdir().unwrap();
    fs::create_dir_all(from.path().join("a/empty")).unwrap();
    fs::write(from.path().join("a/file"), water(5000)).unwrap();
    fs::write(from.path().join("nothing"), "").unwrap();
    symlink("a/file", from.path().join("link")).unwrap();
    fs::create_dir(from.path().join("many")).unwrap();
    for i in 0..300 {
        fs::write(from.path().join(format!("many/{}{i}", "long".repeat(50))), i.to_string()).unwrap();
    }
    let mut memory = Memory::default();
    let options = Options { chunk_bytes: Some(1000), ..Options::default() };
    let before = import(from.path(), options, &mut memory, &mut |_| {}).unwrap();
    let (_dir, target) = place();
    let done = run(&memory, &before.root, &target).await.unwrap();
    assert_eq!((done.bytes, done.reused), (before.total.bytes, 0));
    let after = import(&target, options, &mut Memory::default(), &mut |_| {}).unwrap();
    assert_eq!(after, before);
    assert!(!target.with_extension("part").exists());
    assert!(matches!(run(&memory, &before.root, &target).await, Err(ExtractError::Exists(path)) if path == target));
}

#[tokio::test]
async fn what_lies_in_the_part_is_used_if_it_is_right() {
    let bytes = water(10_000);
    let mut memory = Memory::default();
    let root = imported(&mut memory, &bytes, 1000);
    let (dir, target) = place();
    let mut partial = bytes[..7500].to_vec();
    partial[2500] ^= 1;
    fs::write(dir.path().join("out.part"), partial).unwrap();
    for leaf in [0, 1, 3, 4, 5, 6] {
        let leaf = bytes[leaf * 1000..(leaf + 1) * 1000].to_vec();
        memory.remove(Block::sha2_256(RAW, leaf.into()).unwrap().cid()).unwrap();
    }
    let done = run(&memory, &root, &target).await.unwrap();
    assert_eq!((done.bytes, done.reused), (10_000, 6000));
    assert_eq!(fs::read(&target).unwrap(), bytes);
}

use atoll_core::Block;

#[tokio::test]
async fn a_run_that_fails_leaves_what_it_had_for_the_next() {
    let bytes = water(10_000);
    let mut memory = Memory::default();
    let leaf = imported(&mut memory, &bytes, 1000);
    let root = directory(&mut memory, &[("file", leaf)]);
    let last = Block::sha2_256(RAW, bytes[9000..].to_vec().into()).unwrap();
    memory.remove(last.cid());
    let (dir, target) = place();
    assert!(matches!(run(&memory, &root, &target).await, Err(ExtractError::Read(ReadError::Fetch(_)))));
    assert!(!target.exists() && dir.path().join("out.part").exists());
    crate::import::Sink::put(&mut memory, last).unwrap();
    let done = run(&memory, &root, &target).await.unwrap();
    assert_eq!(done.reused, 9000);
    assert_eq!(fs::read(target.join("file")).unwrap(), bytes);
}

#[tokio::test]
async fn a_part_that_is_too_long_is_cut() {
    let mut memory = Memory::default();
    let root = imported(&mut memory, &water(100), 30);
    let (dir, target) = place();
    fs::write(dir.path().join("out.part"), water(200)).unwrap();
    assert_eq!(run(&memory, &root, &target).await.unwrap().reused, 90 + 10);
    assert_eq!(fs::read(&target).unwrap(), water(100));
}

#[tokio::test]
async fn names_that_are_no_file_names_are_refused() {
    let mut memory = Memory::default();
    let leaf = put(&mut memory, RAW, &b"evil"[..]);
    for name in ["..", ".", "", "../x", "/etc/x", "a/b", "a\\b", "a\0b"] {
        let root = directory(&mut memory, &[(name, leaf)]);
        let (dir, target) = place();
        let result = run(&memory, &root, &target).await;
        assert!(matches!(&result, Err(ExtractError::Name { name: refused, .. }) if refused == name), "{name:?}");
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["out.part"]);
    }
}

#[tokio::test]
async fn nothing_is_written_through_a_symlink() {
    let mut memory = Memory::default();
    let leaf = put(&mut memory, RAW, &b"evil"[..]);
    let folder = directory(&mut memory, &[("x", leaf)]);
    let (outside, (dir, target)) = (tempfile::tempdir().unwrap(), place());
    fs::write(outside.path().join("x"), "mine").unwrap();
    // As the name of the part itself, as a folder in it, and as a file in it.
    symlink(outside.path(), dir.path().join("out.part")).unwrap();
    assert!(run(&memory, &folder, &target).await.is_err());
    fs::remove_file(dir.path().join("out.part")).unwrap();
    let root = directory(&mut memory, &[("sub", folder)]);
    fs::create_dir(dir.path().join("out.part")).unwrap();
    symlink(outside.path(), dir.path().join("out.part/sub")).unwrap();
    assert!(run(&memory, &root, &target).await.is_err());
    let root = directory(&mut memory, &[("sub", leaf)]);
    fs::remove_file(dir.path().join("out.part/sub")).unwrap();
    symlink(outside.path().join("x"), dir.path().join("out.part/sub")).unwrap();
    assert!(run(&memory, &root, &target).await.is_err());
    // The DAG's own: a symlink, and a folder of the same name behind it, of which only the first counts.
    let link = put(&mut memory, DAG_PB, encode_symlink(outside.path().to_str().unwrap().as_bytes()).unwrap());
    let root = directory(&mut memory, &[("n", link), ("n", folder)]);
    fs::remove_dir_all(dir.path().join("out.part")).unwrap();
    run(&memory, &root, &target).await.unwrap();
    assert_eq!(fs::read_to_string(outside.path().join("x")).unwrap(), "mine");
}

#[tokio::test]
async fn leftovers_of_another_dag_are_refused() {
    let mut memory = Memory::default();
    let leaf = put(&mut memory, RAW, &b"leaf"[..]);
    let root = directory(&mut memory, &[("a", leaf)]);
    let (dir, target) = place();
    fs::create_dir(dir.path().join("out.part")).unwrap();
    fs::write(dir.path().join("out.part/old"), "old").unwrap();
    let result = run(&memory, &root, &target).await;
    assert!(matches!(result, Err(ExtractError::Stale(path)) if path.ends_with("out.part/old")));
    fs::remove_file(dir.path().join("out.part/old")).unwrap();
    run(&memory, &root, &target).await.unwrap();
}

#[tokio::test]
async fn a_dag_that_unfolds_endlessly_meets_its_limits() {
    let mut memory = Memory::default();
    let mut root = put(&mut memory, RAW, &b"x"[..]);
    for _ in 0..30 {
        root = directory(&mut memory, &[("a", root), ("b", root)]);
    }
    let (_dir, target) = place();
    let limits = Limits { entries: 500, bytes: 1000 };
    let result = run_within(&memory, &root, &target, limits).await;
    assert!(matches!(result, Err(ExtractError::TooManyEntries(500))));

    let mut big = (put(&mut memory, RAW, water(1000)), 1000);
    for _ in 0..4 {
        big = (file(&mut memory, &[big; 1000]), big.1 * 1000);
    }
    let (_dir, target) = place();
    let result = run_within(&memory, &big.0, &target, limits).await;
    assert!(matches!(result, Err(ExtractError::TooManyBytes(1000))));
}

#[tokio::test]
async fn folders_are_not_endlessly_deep() {
    let mut memory = Memory::default();
    let mut root = directory(&mut memory, &[]);
    for _ in 0..FOLDERS_DEEP_MAX {
        root = directory(&mut memory, &[("d", root)]);
    }
    let (_dir, target) = place();
    assert!(matches!(run(&memory, &root, &target).await, Err(ExtractError::TooDeep(_))));
}

#[tokio::test]
async fn a_file_replaces_a_file() {
    let mut memory = Memory::default();
    let root = put(&mut memory, RAW, &b"new"[..]);
    let (_dir, target) = place();
    fs::write(&target, "old").unwrap();
    run(&memory, &root, &target).await.unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"new");
}
