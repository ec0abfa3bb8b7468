//! Archives as others read them, and DAGs made to hurt.

use std::io::Read;

use ::tar::Archive;
use atoll_core::block::DAG_PB;
use futures_util::StreamExt;

use super::*;
use crate::memory::Memory;
use crate::reader::resolve;
use crate::reader::tests::{directory, file, imported, put, water};

/// The archive, or as much as came before an error.
async fn archived(memory: &Memory, root: &Cid) -> (Vec<u8>, Option<ReadError>) {
    let resolved = resolve::<&str>(memory, root, &[]).await.unwrap();
    let mut stream = archive(Arc::new(memory.clone()), &resolved);
    let mut bytes = Vec::new();
    while let Some(part) = stream.next().await {
        match part {
            Ok(part) => bytes.extend_from_slice(&part),
            Err(error) => return (bytes, Some(error)),
        }
    }
    (bytes, None)
}

/// Path, kind, mode, modification time, and content or target of each entry.
fn entries(bytes: &[u8]) -> Vec<(String, EntryType, u32, u64, Vec<u8>)> {
    let mut archive = Archive::new(bytes);
    let entry = |entry: io::Result<::tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let (header, path) = (entry.header().clone(), String::from_utf8(entry.path_bytes().into_owned()).unwrap());
        let mut content = entry.link_name_bytes().map_or_else(Vec::new, |target| target.into_owned());
        entry.read_to_end(&mut content).unwrap();
        (path, header.entry_type(), header.mode().unwrap(), header.mtime().unwrap(), content)
    };
    archive.entries().unwrap().map(entry).collect()
}

/// A symlink with a mode of 0o4711 and a time, as UnixFS 1.5 writes it.
fn symlink(memory: &mut Memory, target: &[u8]) -> Cid {
    let target_len = u8::try_from(target.len()).unwrap();
    let data = [&[0x08, 4, 0x12, target_len], target, &[0x38, 0xc9, 0x13, 0x42, 2, 0x08, 5]].concat();
    put(memory, DAG_PB, dagpb(&data))
}

/// A node without links.
fn dagpb(data: &[u8]) -> Vec<u8> {
    atoll_core::dagpb::Node { links: vec![], data: Some(data) }.encode()
}

#[tokio::test]
async fn what_is_archived_is_what_was_imported() {
    let mut memory = Memory::default();
    let large = imported(&mut memory, &water(5000), 1000);
    let exact = imported(&mut memory, &water(1024), 1024);
    let empty = imported(&mut memory, b"", 1);
    let link = symlink(&mut memory, b"../l\xc4\x99");
    let long = "ł".repeat(120);
    let inner = directory(&mut memory, &[("empty", empty), (&long, exact)]);
    let root = directory(&mut memory, &[("a", large), ("dir", inner), ("link", link)]);
    let (bytes, error) = archived(&memory, &root).await;
    assert!(error.is_none() && bytes.len() % 512 == 0);
    let path = |path: &str| format!("{root}/{path}");
    assert_eq!(
        entries(&bytes),
        [
            (path(""), EntryType::Directory, 0o755, 0, vec![]),
            (path("a"), EntryType::Regular, 0o644, 0, water(5000)),
            (path("dir/"), EntryType::Directory, 0o755, 0, vec![]),
            (path("dir/empty"), EntryType::Regular, 0o644, 0, vec![]),
            (path(&format!("dir/{long}")), EntryType::Regular, 0o644, 0, water(1024)),
            (path("link"), EntryType::Symlink, 0o711, 5, b"../l\xc4\x99".to_vec()),
        ]
    );
    assert_eq!(archived(&memory, &root).await.0, bytes, "the same CID, the same bytes");
    let alone = entries(&archived(&memory, &large).await.0);
    assert_eq!(alone[0].0, large.to_string());
}

#[tokio::test]
async fn names_that_lead_out_are_known_before_the_first_byte() {
    let mut memory = Memory::default();
    let leaf = imported(&mut memory, b"leaf", 10);
    for name in ["../out", "..", "a/../../out", "", ".", "a/..", "nul\0", &"x".repeat(PATH_BYTES_MAX)] {
        let root = directory(&mut memory, &[("a", leaf), (name, leaf)]);
        let (bytes, error) = archived(&memory, &root).await;
        assert!(bytes.is_empty(), "{name:?}");
        assert!(matches!(error, Some(ReadError::EntryName { directory, .. }) if directory == root), "{name:?}");
    }
    let inner = directory(&mut memory, &[("../../file", leaf)]);
    let middle = directory(&mut memory, &[("b", inner)]);
    let root = directory(&mut memory, &[("a", middle)]);
    assert_eq!(entries(&archived(&memory, &root).await.0).last().unwrap().0, format!("{root}/file"));
}

#[tokio::test]
async fn no_name_leads_through_a_symlink() {
    let mut memory = Memory::default();
    let leaf = imported(&mut memory, b"leaf", 10);
    let link = symlink(&mut memory, b"/etc");
    for entries in [[("a", link), ("a/passwd", leaf)], [("a/passwd", leaf), ("b", link)]] {
        let root = directory(&mut memory, &entries);
        assert!(matches!(archived(&memory, &root).await.1, Some(ReadError::EntryName { .. })));
    }
    let inner = directory(&mut memory, &[("../a/passwd", leaf)]);
    let root = directory(&mut memory, &[("a", link), ("b", inner)]);
    assert!(matches!(archived(&memory, &root).await.1, Some(ReadError::EntryName { .. })));
}

#[tokio::test]
async fn a_broken_archive_has_no_end() {
    let mut memory = Memory::default();
    let large = imported(&mut memory, &water(5000), 1000);
    let root = directory(&mut memory, &[("a", large), ("b", large)]);
    let whole = archived(&memory, &root).await.0;
    memory.remove(&Cid::new_v1(
        0x55,
        atoll_core::Block::sha2_256(0x55, water(5000)[4000..].to_vec().into()).unwrap().cid().hash().to_owned(),
    ));
    let (bytes, error) = archived(&memory, &root).await;
    assert!(matches!(error, Some(ReadError::Fetch(_))));
    assert!(bytes.len() < whole.len() - 1024 && whole.starts_with(&bytes));
    let lies = file(&mut memory, &[(large, 4999)]);
    assert!(matches!(archived(&memory, &lies).await.1, Some(ReadError::SizeLies { .. })));
    let data = put(&mut memory, atoll_core::block::DAG_CBOR, &b"\x80"[..]);
    let root = directory(&mut memory, &[("a", data)]);
    assert!(matches!(archived(&memory, &root).await.1, Some(ReadError::NotFile(cid)) if cid == data));
}

#[tokio::test]
async fn directories_go_only_so_deep() {
    let mut memory = Memory::default();
    let mut root = directory(&mut memory, &[]);
    for _ in 0..DIRECTORIES_DEEP_MAX {
        root = directory(&mut memory, &[("d", root)]);
    }
    assert!(archived(&memory, &root).await.1.is_none());
    root = directory(&mut memory, &[("d", root)]);
    assert!(matches!(archived(&memory, &root).await.1, Some(ReadError::TooDeep { .. })));
}

/// A DAG of few blocks with endlessly many entries.
#[tokio::test]
async fn an_archive_has_only_so_many_entries() {
    let mut memory = Memory::default();
    let mut root = imported(&mut memory, b"", 10);
    let names: Vec<String> = (0..1001).map(|i| i.to_string()).collect();
    for _ in 0..2 {
        let entries: Vec<_> = names.iter().map(|name| (&**name, root)).collect();
        root = directory(&mut memory, &entries);
    }
    let resolved = resolve::<&str>(&memory, &root, &[]).await.unwrap();
    let mut stream = archive(Arc::new(memory), &resolved);
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::TooManyEntries));
    assert_eq!(stream.entries, ENTRIES_MAX + 1);
}
