//! The Kubo to judge by, and what is compared with it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use atoll_content::export::{Scope, export};
use atoll_content::import::{Options, Profile, import};
use atoll_content::memory::Memory;
use atoll_content::reader::resolve;
use atoll_core::Cid;
use bytes::Bytes;
use futures_util::TryStreamExt;

pub(crate) const MIB: usize = 1 << 20;

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
pub(crate) struct Kubo {
    binary: PathBuf,
    pub(crate) repository: tempfile::TempDir,
}

impl Kubo {
    /// With one database file instead of one file per block: many times faster.
    pub(crate) fn start(profile: Profile) -> Option<Self> {
        Self::init(&format!("{profile},pebbleds"))
    }

    pub(crate) fn init(profiles: &str) -> Option<Self> {
        let kubo = Self { binary: kubo()?, repository: tempfile::tempdir().unwrap() };
        kubo.run(&["init", "--empty-repo", &format!("--profile={profiles}")], b"");
        Some(kubo)
    }

    pub(crate) fn run(&self, args: &[impl AsRef<OsStr>], stdin: &[u8]) -> Vec<u8> {
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

    /// Adds a file or folder, with options.
    pub(crate) fn add_with(&self, path: &Path, options: &[&str]) -> Cid {
        let args = [&["add", "-r", "-Q", "--pin=false"][..], options, &[path.to_str().unwrap()]].concat();
        String::from_utf8(self.run(&args, b"")).unwrap().trim().parse().unwrap()
    }

    pub(crate) fn add(&self, path: &Path, chunk_bytes: usize) -> Cid {
        self.add_with(path, &[&format!("--chunker=size-{chunk_bytes}")])
    }

    pub(crate) fn export(&self, root: &Cid) -> Vec<u8> {
        self.run(&["dag", "export", "--progress=false", &root.to_string()], b"")
    }
}

pub(crate) fn ours(path: &Path, profile: Profile, chunk_bytes: usize) -> (Memory, Cid) {
    let mut memory = Memory::default();
    let options = Options { profile, chunk_bytes: Some(chunk_bytes), hidden: false };
    let root = import(path, options, &mut memory, &mut |_| {}).unwrap().root;
    (memory, root)
}

pub(crate) async fn car(memory: &Memory, root: &Cid) -> Vec<u8> {
    let resolved = resolve(memory, root, &[""; 0]).await.unwrap();
    let stream = export(Arc::new(memory.clone()), &resolved, Scope::All).unwrap();
    stream.try_collect::<Vec<Bytes>>().await.unwrap().concat()
}

/// Bytes that a seed decides.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(len)
    .collect()
}

/// A folder with all that a folder can have: many entries, symlinks, hidden names, empty ones.
pub(crate) fn site(dir: &Path, entries: usize) {
    for folder in ["many", "empty", "a/b/c", ".hidden", "a/.git"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
    }
    for i in 0..entries {
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
