//! Kubo as the judge: the same files get the same CIDs, and each reads the other's CARs, byte for byte.
//!
//! Needs the Kubo of `ATOLL_KUBO` (`cargo xtask test` builds it); without it the tests say that they did not run, and
//! with `CI=true` that fails.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in what tests call, a panic is the report")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use atoll_content::car::import_car;
use atoll_content::dag::missing;
use atoll_content::export::{Scope, export};
use atoll_content::extract::{Limits, extract};
use atoll_content::import::{Options, import};
use atoll_content::memory::Memory;
use atoll_content::reader::resolve;
use atoll_core::Cid;
use bytes::Bytes;
use futures_util::TryStreamExt;

/// The Kubo to judge by.
fn kubo() -> Option<PathBuf> {
    let kubo = std::env::var_os("ATOLL_KUBO").map(PathBuf::from);
    if kubo.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "ATOLL_KUBO is not set, but CI is");
        println!("did not run: ATOLL_KUBO names no ipfs binary");
    }
    kubo
}

/// A Kubo with a repository of its own, never online.
struct Kubo {
    binary: PathBuf,
    repository: tempfile::TempDir,
}

impl Kubo {
    fn start() -> Option<Self> {
        let kubo = Self { binary: kubo()?, repository: tempfile::tempdir().unwrap() };
        // One database file instead of one file per block: many times faster.
        kubo.run(&["init", "--empty-repo", "--profile=unixfs-v1-2025,pebbleds"], b"");
        Some(kubo)
    }

    fn run(&self, args: &[impl AsRef<OsStr>], stdin: &[u8]) -> Vec<u8> {
        let mut child = Command::new(&self.binary)
            .env("IPFS_PATH", self.repository.path())
            .arg("--offline")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let stdin = stdin.to_vec();
        let writer = std::thread::spawn(move || input.write_all(&stdin));
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "ipfs: {}", String::from_utf8_lossy(&output.stderr));
        writer.join().unwrap().unwrap();
        output.stdout
    }

    fn add(&self, path: &Path, chunk_bytes: usize) -> Cid {
        let chunker = format!("--chunker=size-{chunk_bytes}");
        let args = ["add", "-r", "-Q", "--pin=false", &chunker, path.to_str().unwrap()];
        String::from_utf8(self.run(&args, b"")).unwrap().trim().parse().unwrap()
    }
}

fn ours(path: &Path, chunk_bytes: usize) -> (Memory, Cid) {
    let mut memory = Memory::default();
    let options = Options { chunk_bytes, hidden: false };
    let root = import(path, options, &mut memory, &mut |_| {}).unwrap().root;
    (memory, root)
}

async fn car(memory: &Memory, root: &Cid) -> Vec<u8> {
    let resolved = resolve(memory, root, &[""; 0]).await.unwrap();
    let stream = export(Arc::new(memory.clone()), &resolved, Scope::All).unwrap();
    stream.try_collect::<Vec<Bytes>>().await.unwrap().concat()
}

/// Bytes that a seed decides.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(len)
    .collect()
}

const MIB: usize = 1 << 20;

#[test]
fn files_on_both_sides_of_every_threshold_have_kubos_cids() {
    let Some(kubo) = Kubo::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let small = [1023, 1024, 1025, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1];
    let cases = [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 5 * MIB + 17]
        .map(|len| (len, MIB))
        .into_iter()
        // With chunks of one byte, the file gets its second and third level.
        .chain(small.map(|len| (len, 1)))
        // The last chunk whole, and one byte more or less.
        .chain([(299_999, 1000), (300_000, 1000), (300_001, 1000)]);
    for (len, chunk_bytes) in cases {
        let path = dir.path().join(format!("{len}-{chunk_bytes}"));
        fs::write(&path, bytes(len as u64, len)).unwrap();
        assert_eq!(ours(&path, chunk_bytes).1, kubo.add(&path, chunk_bytes), "{len} bytes in chunks of {chunk_bytes}");
    }
}

/// Makes a folder of empty files whose block has that many bytes.
fn folder_of(dir: &Path, block_bytes: usize) {
    // A link to an empty raw block: 36 bytes of CID, the name, a Tsize of one byte, and tags and lengths.
    let link = |name: usize| {
        let body = 2 + 36 + (if name > 127 { 3 } else { 2 }) + name + 2;
        body + (if body > 127 { 3 } else { 2 })
    };
    let mut names = vec![100; (block_bytes - 4) / link(100) - 2];
    let left = block_bytes - 4 - names.len() * link(100);
    let pair = (100..200).find_map(|a| (100..200).find(|b| link(a) + link(*b) == left).map(|b| [a, b]));
    names.extend(pair.expect("two names that fill the block"));
    for (i, len) in names.into_iter().enumerate() {
        fs::write(dir.join(format!("{i:0len$}")), "").unwrap();
    }
}

#[test]
fn folders_on_both_sides_of_the_threshold_have_kubos_cids() {
    let Some(kubo) = Kubo::start() else { return };
    for (block_bytes, sharded) in [(262_143, false), (262_144, false), (262_145, true)] {
        let dir = tempfile::tempdir().unwrap();
        folder_of(dir.path(), block_bytes);
        let (memory, root) = ours(dir.path(), MIB);
        assert_eq!(root, kubo.add(dir.path(), MIB), "{block_bytes}");
        // The empty file, and the folder.
        assert_eq!(memory.cids().count() > 2, sharded, "{block_bytes}");
        assert!(sharded || memory.get(&root).unwrap().len() == block_bytes);
    }
}

/// A folder with all that a folder can have: 6,000 entries, symlinks, hidden names, empty ones.
fn site(dir: &Path) {
    for folder in ["many", "empty", "a/b/c", ".hidden", "a/.git"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
    }
    for i in 0..6_000 {
        fs::write(dir.join(format!("many/entry-{i}.txt")), i.to_string()).unwrap();
    }
    for (name, len) in [("index.html", 1234), ("a/big", 3 * MIB + 5), ("a/b/c/é ü 水", 7), ("zero", 0)] {
        fs::write(dir.join(name), bytes(len as u64, len)).unwrap();
    }
    for name in [".env", ".hidden/x", "a/.git/config"] {
        fs::write(dir.join(name), "secret").unwrap();
    }
    for (target, name) in [("index.html", "link"), ("/nowhere", "dangling"), ("..", "a/loop")] {
        symlink(target, dir.join(name)).unwrap();
    }
}

#[tokio::test]
async fn a_whole_site_has_kubos_cid_and_kubos_car() {
    let Some(kubo) = Kubo::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    site(dir.path());
    let (memory, root) = ours(dir.path(), MIB);
    assert_eq!(root, kubo.add(dir.path(), MIB));
    let exported = kubo.run(&["dag", "export", "--progress=false", &root.to_string()], b"");
    assert!(car(&memory, &root).await == exported, "the CARs differ");
}

#[tokio::test]
async fn kubo_reads_our_car() {
    let Some(kubo) = Kubo::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    site(dir.path());
    let (memory, root) = ours(dir.path(), MIB);
    kubo.run(&["dag", "import", "--stats"], &car(&memory, &root).await);
    let file = kubo.run(&["cat", &format!("/ipfs/{root}/a/big")], b"");
    assert!(file == bytes(3 * MIB as u64 + 5, 3 * MIB + 5));
    let out = tempfile::tempdir().unwrap();
    let target = out.path().join("site");
    kubo.run(&["get", "--output", target.to_str().unwrap(), &root.to_string()], b"");
    assert_eq!(ours(&target, MIB).1, root, "what Kubo wrote is what we read");
}

#[tokio::test]
async fn we_read_kubos_car() {
    let Some(kubo) = Kubo::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    site(dir.path());
    // Other profiles than ours, as most of IPFS has them: protobuf leaves, CIDv0, trickle trees.
    for more in [&["--cid-version=1"][..], &["--cid-version=0", "--raw-leaves=false"], &["--trickle"]] {
        let path = dir.path().to_str().unwrap();
        let args = [&["add", "-r", "-Q", "--pin=false", "--chunker=size-1000"], more, &[path]].concat();
        let root: Cid = String::from_utf8(kubo.run(&args, b"")).unwrap().trim().parse().unwrap();
        let exported = kubo.run(&["dag", "export", "--progress=false", &root.to_string()], b"");
        let mut memory = Memory::default();
        assert_eq!(import_car(&exported[..], &mut memory).unwrap().roots, [root]);
        let blocks = Arc::new(memory.clone());
        let complete = missing(Arc::clone(&blocks) as _, |cid| memory.get(cid).is_some(), root).await.unwrap();
        assert_eq!(complete.cids, []);
        assert!(car(&memory, &root).await == exported, "{more:?}: the CARs differ");
        let out = tempfile::tempdir().unwrap();
        let resolved = resolve(&memory, &root, &[""; 0]).await.unwrap();
        let target = out.path().join("site");
        extract(blocks, &resolved, &target, Limits::default(), &mut |_| {}).await.unwrap();
        assert_eq!(ours(&target, MIB).1, ours(dir.path(), MIB).1, "{more:?}");
    }
}
