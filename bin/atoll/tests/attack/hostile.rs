//! DAGs that nobody would make who means well, written straight into the store of a node to be.

use atoll_content::store::Store;
use atoll_core::block::{DAG_PB, RAW, Version};
use atoll_core::dagpb::{Link, Node};
use atoll_core::unixfs::{Child, encode_directory, encode_file};
use atoll_core::{Block, Cid, hamt};
use atoll_node::config::{Folder, StoreConfig};
use bytes::Bytes;

/// What the visitor asks for.
pub(crate) const PAGE: &[u8] = b"<!DOCTYPE html><title>Calm water</title><p>Calm water.";
/// Blocks that are written together.
const BATCH_BLOCKS: usize = 512;

const MILLION: u32 = 1_000_000;
/// Entries that fill a block of 2 MiB.
const FLAT_ENTRIES: u32 = 30_000;
/// The levels that a DAG may have, and more.
const LEVELS: usize = 1024;
const TOO_MANY_LEVELS: usize = 1100;
const WIDE_LINKS: usize = 15_000;
const WIDE_LEVELS: usize = 40;
pub(crate) const LARGE_BYTES: usize = 256 << 20;
const CHUNK_BYTES: usize = 1 << 20;

/// The store of a node to be.
pub(crate) struct Dags {
    folder: tempfile::TempDir,
    store: Store,
    batch: Vec<Block>,
}

impl Dags {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = atoll_node::work::open_store(&Folder::new(folder.path()), &StoreConfig::default()).unwrap();
        Self { folder, store, batch: Vec::new() }
    }

    /// The folder, and the root below which the visitor finds a page.
    pub(crate) fn finish(mut self) -> (tempfile::TempDir, Cid) {
        let page = self.put(RAW, PAGE.to_vec());
        let root = self.put(DAG_PB, encode_directory(vec![Link::new(page, "page.html", PAGE.len() as u64)]));
        self.store.put_many(&self.batch).unwrap();
        self.store.flush().unwrap();
        (self.folder, root)
    }

    fn put(&mut self, codec: u64, bytes: Vec<u8>) -> Cid {
        self.keep(Block::sha2_256(codec, bytes.into()).unwrap())
    }

    fn keep(&mut self, block: Block) -> Cid {
        let cid = *block.cid();
        self.batch.push(block);
        if self.batch.len() == BATCH_BLOCKS {
            self.store.put_many(&self.batch).unwrap();
            self.batch.clear();
        }
        cid
    }

    fn leaf(&mut self) -> Cid {
        self.put(RAW, b"leaf".to_vec())
    }

    /// A node of a HAMT, as it is told to be.
    fn shard(&mut self, fanout: u64, bitfield: &[u8], links: Vec<Link<'_>>) -> Cid {
        // Type 5, the bitfield, murmur3-x64-64, the fan-out (UnixFS, "HAMTShard").
        let mut data = vec![0x08, 0x05, 0x12, u8::try_from(bitfield.len()).unwrap()];
        data.extend_from_slice(bitfield);
        data.extend([0x28, 0x22, 0x30]);
        let mut rest = fanout;
        while rest >= 0x80 {
            data.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        data.push(u8::try_from(rest).unwrap());
        self.put(DAG_PB, Node { links, data: Some(&data) }.encode())
    }
}

/// One for each way to lie.
pub(crate) fn lying_hamts(dags: &mut Dags) -> Vec<Cid> {
    let leaf = dags.leaf();
    let entry = |name| vec![Link::new(leaf, name, 4)];
    // No name's hash begins with all of 00, 01, 02, 03.
    let misplaced = ["00name", "01name", "02name", "03name"].map(|name| Link::new(leaf, name, 4)).to_vec();
    let misplaced = dags.shard(256, &[0x0f], misplaced);
    let prefix = dags.shard(256, &[0x01], entry("zzname"));
    let lower = dags.shard(256, &[0x04, 0], entry("0aname"));
    let fanout = dags.shard(1 << 20, &[0x01], entry("00000name"));
    let odd = dags.shard(257, &[0x01], entry("000name"));
    let bitfield = dags.shard(256, &[0x03], entry("00name"));
    let empty = dags.shard(256, &[], Vec::new());
    // Every slot of eight levels leads to the same node: 256^8 entries, if anyone believed it.
    let names: Vec<String> = (0..256).map(|slot| format!("{slot:02X}")).collect();
    let mut endless = dags.shard(256, &[0x01], entry("00name"));
    for _ in 0..7 {
        let links = names.iter().map(|name| Link::new(endless, name, 1)).collect();
        endless = dags.shard(256, &[0xff; 32], links);
    }
    let links = names.iter().map(|name| Link::new(empty, name, 1)).collect();
    let hollow = dags.shard(256, &[0xff; 32], links);
    vec![misplaced, prefix, lower, fanout, odd, bitfield, endless, hollow]
}

/// A sound directory of a million entries.
pub(crate) fn million(dags: &mut Dags) -> Vec<Cid> {
    let leaf = dags.leaf();
    let name = |n: u32| format!("entry-{n:06}").into_boxed_str();
    let entries: Vec<_> = (0..MILLION).map(|n| hamt::Entry { name: name(n), cid: leaf, tsize: 4 }).collect();
    let mut sink = |block: Block| {
        dags.keep(block);
        Ok::<(), hamt::HamtError>(())
    };
    vec![hamt::build(&entries, Version::V1, &mut sink).unwrap().0]
}

/// Directories of one block each, as large as a block can be.
pub(crate) fn flat(dags: &mut Dags) -> Vec<Cid> {
    let leaf = dags.leaf();
    let directory = |dags: &mut Dags, start: u32| {
        let names: Vec<String> = (0..FLAT_ENTRIES).map(|n| format!("{:08}", start + n)).collect();
        dags.put(DAG_PB, encode_directory(names.iter().map(|name| Link::new(leaf, name, 4)).collect()))
    };
    (0..64).map(|n| directory(dags, n * FLAT_ENTRIES)).collect()
}

/// Directories within directories, as many as are followed and more, and a file of nodes that have one child each.
pub(crate) fn deep(dags: &mut Dags) -> Vec<Cid> {
    let leaf = dags.leaf();
    let mut directory = leaf;
    let mut found = Vec::new();
    for level in 1..=TOO_MANY_LEVELS {
        directory = dags.put(DAG_PB, encode_directory(vec![Link::new(directory, "d", 4)]));
        if [LEVELS, TOO_MANY_LEVELS].contains(&level) {
            found.push(directory);
        }
    }
    let mut file = leaf;
    for _ in 0..TOO_MANY_LEVELS {
        let child = Child { cid: file, len: 4 };
        file = dags.put(DAG_PB, encode_file(&[(child, 4)]).unwrap());
    }
    found.push(file);
    found
}

/// A file whose first byte lies below nodes that all have as many links as they can.
pub(crate) fn wide_and_deep(dags: &mut Dags) -> Vec<Cid> {
    let leaf = dags.leaf();
    let (mut first, mut len) = (Child { cid: leaf, len: 4 }, 4_u64);
    for _ in 0..WIDE_LEVELS {
        let others = std::iter::repeat_n(Child { cid: leaf, len: 4 }, WIDE_LINKS - 1);
        let children: Vec<_> = std::iter::once(first).chain(others).map(|child| (child, 4)).collect();
        len += 4 * (WIDE_LINKS as u64 - 1);
        first = Child { cid: dags.put(DAG_PB, encode_file(&children).unwrap()), len };
    }
    vec![first.cid]
}

/// A directory with one file of many different blocks.
pub(crate) fn large(dags: &mut Dags) -> Vec<Cid> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut children = Vec::new();
    for _ in 0..LARGE_BYTES / CHUNK_BYTES {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        while bytes.len() < CHUNK_BYTES {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        let block = Block::sha2_256(RAW, Bytes::from(bytes)).unwrap();
        children.push((Child { cid: dags.keep(block), len: CHUNK_BYTES as u64 }, CHUNK_BYTES as u64));
    }
    let file = dags.put(DAG_PB, encode_file(&children).unwrap());
    vec![dags.put(DAG_PB, encode_directory(vec![Link::new(file, "large.bin", LARGE_BYTES as u64)]))]
}
