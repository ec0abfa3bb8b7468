//! Tests of the node model: what contradicts itself is refused, what is optional is kept.

use super::*;
use crate::block::Block;

fn cid(codec: u64, text: &'static str) -> Cid {
    *Block::sha2_256(codec, Bytes::from_static(text.as_bytes())).unwrap().cid()
}

/// Encodes a node with these links, and decodes it again.
fn decoded<T>(links: &[Link<'_>], data: &Data, check: impl Fn(Result<Node<'_>, UnixFsError>) -> T) -> T {
    let bytes = Bytes::from(encode(links.to_vec(), data));
    check(Node::decode(&cid(DAG_PB, ""), &bytes))
}

fn refused(links: &[Link<'_>], data: &Data) -> UnixFsError {
    decoded(links, data, |node| node.unwrap_err())
}

fn file(len: Option<u64>, sizes: &[u64], data: Option<&'static [u8]>) -> Data {
    let data = data.map(Bytes::from_static);
    Data { kind: Some(KIND_FILE), file_size: len, block_sizes: sizes.to_vec(), data, ..Data::default() }
}

#[test]
fn a_raw_block_is_a_file() {
    let bytes = Bytes::from_static(b"tide");
    assert_eq!(Node::decode(&cid(RAW, "tide"), &bytes), Ok(Node::File(File::leaf(bytes.clone()))));
}

#[test]
fn inline_bytes_come_before_children() {
    let links = [Link::new(cid(RAW, "b"), "", 1)];
    decoded(&links, &file(Some(5), &[3], Some(b"ab")), |node| {
        let Ok(Node::File(file)) = node else { panic!("{node:?}") };
        assert_eq!((file.len, &file.inline[..], file.children[0].len), (5, &b"ab"[..], 3));
    });
}

#[test]
fn sizes_that_do_not_add_up_are_refused() {
    let link = Link::new(cid(RAW, "b"), "", 1);
    assert_eq!(refused(&[link], &file(Some(4), &[3], None)), UnixFsError::SizeLies { claimed: 4, actual: 3 });
    assert_eq!(refused(&[link], &file(None, &[3], None)), UnixFsError::SizeLies { claimed: 0, actual: 3 });
    assert_eq!(refused(&[link], &file(Some(0), &[], None)), UnixFsError::SizesDiffer { sizes: 0, links: 1 });
    assert_eq!(refused(&[], &file(Some(3), &[3], None)), UnixFsError::SizesDiffer { sizes: 1, links: 0 });
    assert_eq!(refused(&[], &file(Some(3), &[], Some(b"ab"))), UnixFsError::SizeLies { claimed: 3, actual: 2 });
    let twice = [link, link];
    assert_eq!(refused(&twice, &file(Some(1), &[u64::MAX, 2], None)), UnixFsError::SizeOverflow);
}

#[test]
fn the_size_of_a_childless_file_may_be_left_out() {
    decoded(&[], &file(None, &[], Some(b"ab")), |node| assert!(matches!(node, Ok(Node::File(file)) if file.len == 2)));
}

#[test]
fn packed_sizes_are_read_too() {
    let data = b"\x08\x02\x18\x03\x22\x02\x01\x02";
    let links = vec![Link::new(cid(RAW, "a"), "", 1), Link::new(cid(RAW, "b"), "", 2)];
    let bytes = Bytes::from(dagpb::Node { links, data: Some(data) }.encode());
    assert!(matches!(Node::decode(&cid(DAG_PB, ""), &bytes), Ok(Node::File(file)) if file.children.len() == 2));
}

#[test]
fn sizes_are_written_unpacked() {
    let child = Child { cid: cid(RAW, "a"), len: 7 };
    let bytes = encode_file(&[(child, 7), (child, 7)]).unwrap();
    assert_eq!(dagpb::Node::decode(&bytes).unwrap().data, Some(&b"\x08\x02\x18\x0e\x20\x07\x20\x07"[..]));
}

#[test]
fn mode_and_time_are_kept() {
    let mtime = Some(Timestamp { seconds: Some(-5), nanos: Some(7) });
    let data = Data { kind: Some(KIND_DIRECTORY), mode: Some(0o755), mtime, ..Data::default() };
    decoded(&[], &data, |node| {
        let Ok(Node::Directory(directory)) = node else { panic!("{node:?}") };
        assert_eq!(directory.meta, Meta { mode: Some(0o755), mtime: Some((-5, 7)) });
    });
    for (seconds, nanos) in [(None, None), (Some(1), Some(1_000_000_000))] {
        let data = Data { mtime: Some(Timestamp { seconds, nanos }), ..data.clone() };
        assert_eq!(refused(&[], &data), UnixFsError::BadMtime);
    }
}

#[test]
fn of_two_entries_of_one_name_the_first_counts() {
    let links = [Link::new(cid(RAW, "a"), "n", 1), Link::new(cid(RAW, "b"), "n", 2)];
    decoded(&links, &Data { kind: Some(KIND_DIRECTORY), ..Data::default() }, |node| {
        let Ok(Node::Directory(directory)) = node else { panic!("{node:?}") };
        assert_eq!(directory.find("n").unwrap().tsize, Some(1));
        assert_eq!(directory.find("m"), None);
    });
}

#[test]
fn symlinks_are_short_and_have_no_links() {
    let bytes = Bytes::from(encode_symlink(b"../a").unwrap());
    assert!(matches!(Node::decode(&cid(DAG_PB, ""), &bytes), Ok(Node::Symlink(link)) if link.target == "../a"));
    assert_eq!(encode_symlink(&[b'a'; 4097]), Err(UnixFsError::SymlinkTooLong(4097)));
    let long = Data { kind: Some(KIND_SYMLINK), data: Some(vec![b'a'; 4097].into()), ..Data::default() };
    assert_eq!(refused(&[], &long), UnixFsError::SymlinkTooLong(4097));
    let link = Link::new(cid(RAW, "a"), "n", 1);
    assert_eq!(refused(&[link], &Data { data: None, ..long }), UnixFsError::SymlinkWithLinks);
}

#[test]
fn what_is_no_unixfs_is_named() {
    assert_eq!(refused(&[], &Data { kind: Some(3), ..Data::default() }), UnixFsError::Kind(3));
    assert_eq!(refused(&[], &Data::default()), UnixFsError::BadData);
    let decode = |codec, bytes: &'static [u8]| Node::decode(&cid(codec, ""), &Bytes::from_static(bytes)).unwrap_err();
    assert_eq!(decode(DAG_PB, b""), UnixFsError::NoData);
    assert_eq!(decode(DAG_PB, b"\x0a\x02\xff\xff"), UnixFsError::BadData);
    assert_eq!(decode(0x71, b""), UnixFsError::Codec(0x71));
}

#[test]
fn the_size_of_a_directory_is_known_before_it_is_encoded() {
    let links = vec![Link::new(cid(RAW, "a"), "a", 1), Link::new(cid(RAW, "b"), "b", u64::MAX)];
    let sum = links.iter().map(Link::encoded_len).sum();
    assert_eq!(directory_len(sum), encode_directory(links).len());
}
