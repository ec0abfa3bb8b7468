//! Tests of archives: the same CID as of the folder they were packed from, and archives made to hurt.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tar::{Builder, Header};

use super::*;
use crate::import::{NoopSink, Options, import, import_stream, import_tar};

fn taken(archive: &[u8]) -> Result<String, ImportError> {
    let options = Options { hidden: true, ..Options::default() };
    Ok(import_tar(archive, options, &mut NoopSink, &mut |_| {})?.root.to_string())
}

fn fault(archive: &[u8]) -> ArchiveFault {
    match taken(archive) {
        Err(ImportError::Archive { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

/// An archive of one entry, whose path and target are written as they are.
fn entry(kind: EntryType, path: &str, target: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    append(&mut archive, kind, path, target, content);
    archive.into_inner().unwrap()
}

fn append(archive: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, target: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append(&header, content).unwrap();
}

/// A folder whose names are long, deep and from everywhere.
fn folder(dir: &Path) {
    let deep = format!("a/{}/{}", "long".repeat(40), "é ü 水");
    fs::create_dir_all(dir.join(&deep)).unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    fs::write(dir.join(&deep).join("file"), vec![7; 3_000_000]).unwrap();
    fs::write(dir.join("zero"), "").unwrap();
    fs::write(dir.join(".hidden"), "x").unwrap();
    symlink("../zero", dir.join("a/link")).unwrap();
}

#[test]
fn an_archive_is_the_folder_it_was_packed_from() {
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path());
    let options = Options { hidden: true, ..Options::default() };
    let expected = import(dir.path(), options, &mut NoopSink, &mut |_| {}).unwrap();
    for root in ["", "."] {
        let mut archive = Builder::new(Vec::new());
        archive.follow_symlinks(false);
        archive.append_dir_all(root, dir.path()).unwrap();
        let archive = archive.into_inner().unwrap();
        let taken = import_tar(&archive[..], options, &mut NoopSink, &mut |_| {}).unwrap();
        assert_eq!((taken.root, taken.tsize, taken.total), (expected.root, expected.tsize, expected.total), "{root}");
    }
}

#[test]
fn files_come_in_any_order_without_their_folders_and_the_last_wins() {
    let mut archive = Builder::new(Vec::new());
    for (path, content) in [("b/x", "1"), ("a", "old"), ("b/c/y", "2"), ("a", "new"), ("b/w", "3")] {
        append(&mut archive, EntryType::Regular, path, "", content.as_bytes());
    }
    append(&mut archive, EntryType::Link, "again", "b/c/y", b"");
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("b/c")).unwrap();
    for (path, content) in [("b/x", "1"), ("a", "new"), ("b/c/y", "2"), ("b/w", "3"), ("again", "2")] {
        fs::write(dir.path().join(path), content).unwrap();
    }
    let expected = import(dir.path(), Options::default(), &mut NoopSink, &mut |_| {}).unwrap().root;
    assert_eq!(taken(&archive.into_inner().unwrap()).unwrap(), expected.to_string());
}

#[test]
fn what_leads_out_is_refused() {
    for path in ["/etc/passwd", "../x", "a/../../x", "a/../x"] {
        assert_eq!(fault(&entry(EntryType::Regular, path, "", b"x")), ArchiveFault::Outside, "{path}");
        assert_eq!(fault(&entry(EntryType::Link, "a", path, b"")), ArchiveFault::LinkOutside, "{path}");
    }
    for (path, target) in [("a", "/etc/passwd"), ("a", "../a"), ("a/b", "../../x"), ("a/b/c", "../../../a")] {
        assert_eq!(fault(&entry(EntryType::Symlink, path, target, b"")), ArchiveFault::LinkOutside, "{target}");
    }
    for (path, target) in [("a/b", "../x"), ("a/b", ".."), ("a", "b/../c")] {
        assert!(taken(&entry(EntryType::Symlink, path, target, b"")).is_ok(), "{target}");
    }
    assert_eq!(fault(&entry(EntryType::Link, "a", "b", b"")), ArchiveFault::LinkTarget);
    // Writing through a symlink.
    let mut archive = Builder::new(Vec::new());
    append(&mut archive, EntryType::Symlink, "a", "b", b"");
    append(&mut archive, EntryType::Regular, "a/x", "", b"x");
    assert_eq!(fault(&archive.into_inner().unwrap()), ArchiveFault::Conflict);
}

#[test]
fn devices_holes_and_depth_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        assert_eq!(fault(&entry(kind, "a", "", b"")), ArchiveFault::Special, "{kind:?}");
    }
    let mut archive = Builder::new(Vec::new());
    archive.append_pax_extensions([("GNU.sparse.realsize", &b"1000000000000"[..])]).unwrap();
    append(&mut archive, EntryType::Regular, "a", "", b"x");
    assert_eq!(fault(&archive.into_inner().unwrap()), ArchiveFault::Sparse);
    for (depth, refused) in [(FOLDERS_DEEP_MAX, false), (FOLDERS_DEEP_MAX + 1, true)] {
        let mut archive = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(0);
        archive.append_data(&mut header, vec!["a"; depth].join("/"), io::empty()).unwrap();
        assert_eq!(taken(&archive.into_inner().unwrap()).is_err(), refused, "{depth}");
    }
}

#[test]
fn a_flood_of_headers_is_refused_and_a_file_may_be_larger() {
    let name = vec![b'a'; usize::try_from(HEADERS_BYTES_MAX).unwrap()];
    assert!(matches!(taken(&entry(EntryType::GNULongName, "x", "", &name)), Err(ImportError::Stream(_))));
    assert!(taken(&entry(EntryType::Regular, "x", "", &name.repeat(3))).is_ok());
}

#[test]
fn entries_without_end_are_refused() {
    struct Endless(io::Cursor<Vec<u8>>);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.position() == 512 {
                self.0.set_position(0);
            }
            self.0.read(buffer)
        }
    }
    let mut header = entry(EntryType::Directory, "a", "", b"");
    header.truncate(512);
    let endless = Endless(io::Cursor::new(header));
    let ended = import_tar(endless, Options::default(), &mut NoopSink, &mut |_| {});
    assert!(matches!(ended, Err(ImportError::Archive { fault: ArchiveFault::TooMany, .. })));
}

#[test]
fn an_archive_that_ends_early_is_refused() {
    let whole = entry(EntryType::Regular, "x", "", &[7; 5000]);
    for len in [700, 3000, 5500] {
        assert!(matches!(taken(&whole[..len]), Err(ImportError::Stream(_))), "{len}");
    }
    assert!(taken(b"").is_ok(), "an archive of nothing is an empty folder");
}

#[test]
fn a_stream_is_the_file_that_it_would_be() {
    let dir = tempfile::tempdir().unwrap();
    for len in [0, 1, 999, 1000, 1001, 2000, 123_456] {
        let path = dir.path().join(len.to_string());
        fs::write(&path, vec![7; len]).unwrap();
        let options = Options { chunk_bytes: Some(1000), ..Options::default() };
        let expected = import(&path, options, &mut NoopSink, &mut |_| {}).unwrap();
        let stream = || fs::File::open(&path).unwrap();
        assert_eq!(import_stream(stream(), None, options, &mut NoopSink, &mut |_| {}).unwrap(), expected, "{len}");
        let folder = dir.path().join(format!("in-{len}"));
        fs::create_dir(&folder).unwrap();
        fs::copy(&path, folder.join("name")).unwrap();
        let expected = import(&folder, options, &mut NoopSink, &mut |_| {}).unwrap();
        assert_eq!(import_stream(stream(), Some("name"), options, &mut NoopSink, &mut |_| {}).unwrap(), expected);
    }
    for name in ["", ".", "..", "a/b", "a\0"] {
        let refused = import_stream(&b""[..], Some(name), Options::default(), &mut NoopSink, &mut |_| {});
        assert!(matches!(refused, Err(ImportError::NameMalformed(_))), "{name:?}");
    }
}
