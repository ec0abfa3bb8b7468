//! Tests of import: what is taken, what is refused, what changes meanwhile. CIDs are compared with Kubo's in
//! `tests/kubo_unixfs.rs`; here stand those that the specifications publish.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::memory::Memory;
use crate::reader::{Kind, resolve_cached};

fn imported(path: &Path, options: Options) -> Result<(Memory, Imported), ImportError> {
    let mut memory = Memory::default();
    let imported = import(path, options, &mut memory, &mut |_| {})?;
    Ok((memory, imported))
}

fn has(memory: &Memory, root: &Cid, path: &[&str]) -> bool {
    resolve_cached(memory, root, path).is_some_and(|resolved| resolved.is_ok())
}

#[test]
fn known_cids() {
    let dir = tempfile::tempdir().unwrap();
    let root = |name: &str| imported(&dir.path().join(name), Options::default()).unwrap().1.root.to_string();
    fs::write(dir.path().join("empty"), b"").unwrap();
    assert_eq!(root("empty"), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
    fs::create_dir(dir.path().join("folder")).unwrap();
    assert_eq!(root("folder"), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");
}

#[test]
fn hidden_names_are_left_out_but_well_known() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["a/.well-known", ".git"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    for file in [".env", ".git/config", "a/.well-known/x", "a/.well-known/.y", "a/b"] {
        fs::write(dir.path().join(file), file).unwrap();
    }
    let (memory, some) = imported(dir.path(), Options::default()).unwrap();
    assert_eq!(some.total.files, 2);
    assert!(has(&memory, &some.root, &["a", ".well-known", "x"]));
    assert!(!has(&memory, &some.root, &[".env"]) && !has(&memory, &some.root, &["a", ".well-known", ".y"]));
    let (memory, all) = imported(dir.path(), Options { hidden: true, ..Options::default() }).unwrap();
    assert_eq!(all.total.files, 5);
    assert!(has(&memory, &all.root, &[".git", "config"]));
}

#[test]
fn symlinks_are_stored_and_never_followed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    for (target, name) in [(".", "loop"), ("../secret", "out"), ("/nowhere", "dangling")] {
        symlink(target, folder.join(name)).unwrap();
    }
    let (memory, result) = imported(&folder, Options::default()).unwrap();
    assert_eq!((result.total.files, result.total.bytes), (3, 0));
    let out = resolve_cached(&memory, &result.root, &["out"]).unwrap().unwrap();
    assert_eq!(out.kind, Kind::Symlink { target: "../secret".into() });
    // The path that was named is the one exception.
    symlink(&folder, dir.path().join("named")).unwrap();
    assert_eq!(imported(&dir.path().join("named"), Options::default()).unwrap().1, result);
}

#[test]
fn pipes_sockets_and_devices_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let error = imported(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(error, ImportError::Special(path) if path.ends_with("socket")));
    let pipes = tempfile::tempdir().unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, pipes.path().join("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let error = imported(pipes.path(), Options::default()).unwrap_err();
    assert!(matches!(error, ImportError::Special(path) if path.ends_with("pipe")));
    assert!(matches!(imported(Path::new("/dev/null"), Options::default()), Err(ImportError::Special(_))));
}

#[test]
fn a_name_that_is_not_utf8_is_refused_by_name() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(OsStr::from_bytes(b"caf\xe9")), "").unwrap();
    let error = imported(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(error, ImportError::NameNotUtf8(path) if path == dir.path().join(OsStr::from_bytes(b"caf\xe9"))));
}

#[test]
fn what_is_not_there_is_named() {
    let error = imported(Path::new("/nowhere/at/all"), Options::default()).unwrap_err();
    assert!(matches!(error, ImportError::Io { path, .. } if path == Path::new("/nowhere/at/all")));
}

/// Calls back when the first block comes.
struct Meddler<F>(Option<F>);

impl<F: FnOnce()> Sink for Meddler<F> {
    fn put(&mut self, _block: Block) -> io::Result<()> {
        if let Some(meddle) = self.0.take() {
            meddle();
        }
        Ok(())
    }
}

fn meddled(path: &Path, meddle: impl FnOnce()) -> Result<Imported, ImportError> {
    import(path, Options::default(), &mut Meddler(Some(meddle)), &mut |_| {})
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    // Far more chunks than the threads hold among themselves, so that the reader cannot be through at the first block.
    let len = 64 * CHUNK_BYTES as u64;
    for change in ["grow", "shrink", "touch"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = fs::File::create(&path).unwrap();
        file.set_len(len).unwrap();
        let result = meddled(dir.path(), || match change {
            "grow" => file.set_len(len + 1).unwrap(),
            "shrink" => file.set_len(1).unwrap(),
            _ => file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap(),
        });
        assert!(matches!(result, Err(ImportError::Changed(changed)) if changed == path), "{change}");
    }
}

#[test]
fn a_folder_that_changes_while_it_is_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("big")).unwrap();
    file.set_len(64 * CHUNK_BYTES as u64).unwrap();
    let result = meddled(dir.path(), || fs::write(dir.path().join("new"), "").unwrap());
    assert!(matches!(result, Err(ImportError::Changed(changed)) if changed == dir.path()));
}

#[test]
fn a_file_that_vanishes_before_its_turn_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::File::create(dir.path().join("a")).unwrap().set_len(64 * CHUNK_BYTES as u64).unwrap();
    fs::write(dir.path().join("b"), "").unwrap();
    let result = meddled(dir.path(), || fs::remove_file(dir.path().join("b")).unwrap());
    assert!(matches!(result, Err(ImportError::Io { path, .. }) if path.ends_with("b")));
}

struct Full;

impl Sink for Full {
    fn put(&mut self, _block: Block) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_full_disk_ends_the_import() {
    let dir = tempfile::tempdir().unwrap();
    fs::File::create(dir.path().join("big")).unwrap().set_len(64 * CHUNK_BYTES as u64).unwrap();
    let result = import(dir.path(), Options::default(), &mut Full, &mut |_| {});
    assert!(matches!(result, Err(ImportError::Sink(error)) if error.kind() == io::ErrorKind::StorageFull));
}

#[test]
fn chunk_sizes_are_those_of_blocks() {
    for chunk_bytes in [0, CHUNK_BYTES_MAX + 1] {
        let result = imported(Path::new("."), Options { chunk_bytes: Some(chunk_bytes), ..Options::default() });
        assert!(matches!(result, Err(ImportError::ChunkSize(size)) if size == chunk_bytes));
    }
}

#[test]
fn folders_are_not_endlessly_deep() {
    let dir = tempfile::tempdir().unwrap();
    let folders = |deep| std::iter::repeat_n("d", deep).collect::<PathBuf>();
    fs::create_dir_all(dir.path().join(folders(FOLDERS_DEEP_MAX - 1))).unwrap();
    assert!(imported(dir.path(), Options::default()).is_ok());
    fs::create_dir(dir.path().join(folders(FOLDERS_DEEP_MAX))).unwrap();
    assert!(matches!(imported(dir.path(), Options::default()), Err(ImportError::TooDeep(_))));
}

#[test]
fn progress_ends_at_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), vec![1; 3 * CHUNK_BYTES]).unwrap();
    fs::write(dir.path().join("b"), "b").unwrap();
    let mut seen = Vec::new();
    let done = import(dir.path(), Options::default(), &mut NoopSink, &mut |progress| seen.push(progress)).unwrap();
    assert!(seen.is_sorted_by_key(|progress| progress.bytes));
    assert_eq!(seen.last(), Some(&done.total));
    assert_eq!(done.total, Progress { files: 2, bytes: 3 * CHUNK_BYTES as u64 + 1 });
}
