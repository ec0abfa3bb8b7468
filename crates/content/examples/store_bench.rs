//! Figures of the block store: `cargo run --release -p atoll-content --example store_bench -- [FOLDER]`.
//!
//! Hashing is done before the clock starts, since import does it on other threads. The folder should lie on the disk
//! that is to be measured; a new one inside it is used and removed.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use atoll_content::store::{Options, Store};
use atoll_core::Block;
use atoll_core::block::RAW;

const MIB: usize = 1024 * 1024;

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    large(&folder)?;
    small(&folder)?;
    pins(&folder)
}

/// Blocks of `len` bytes that differ in their first.
fn blocks(count: u32, len: usize) -> Result<Vec<Block>> {
    let block = |n: u32| {
        let mut bytes = vec![b'x'; len];
        bytes.iter_mut().zip(n.to_le_bytes()).for_each(|(to, from)| *to = from);
        Ok(Block::sha2_256(RAW, bytes.into())?)
    };
    (0..count).map(block).collect()
}

fn report(what: &str, count: usize, bytes: usize, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    let (per_second, mib) = (count as f64 / seconds, bytes as f64 / seconds / MIB as f64);
    println!("{what:<42} {seconds:>8.3} s {per_second:>10.0}/s {mib:>8.0} MiB/s");
}

fn large(folder: &std::path::Path) -> Result<()> {
    let blocks = blocks(512, MIB)?;
    let total = blocks.len() * MIB;
    for round in 0..5 {
        let dir = tempfile::tempdir_in(folder)?;
        let mut bare = std::fs::File::create(dir.path().join("bare"))?;
        let start = Instant::now();
        for block in &blocks {
            bare.write_all(block.bytes())?;
        }
        report("bare write of 1 MiB, unsynced", blocks.len(), total, start);
        bare.sync_data()?;
        report("  and synced", blocks.len(), total, start);
        std::fs::remove_file(dir.path().join("bare"))?;
        let store = Store::open(dir.path(), Options::default())?;
        let start = Instant::now();
        for block in &blocks {
            store.put(block)?;
        }
        report(&format!("put 1 MiB, unsynced, round {round}"), blocks.len(), total, start);
        store.sync()?;
        report("  and synced", blocks.len(), total, start);
        let start = Instant::now();
        for block in &blocks {
            store.get(block.cid().hash())?;
        }
        report("get 1 MiB, hashed", blocks.len(), total, start);
        drop(store);
        std::fs::remove_file(dir.path().join("index.redb"))?;
        let start = Instant::now();
        let store = Store::open(dir.path(), Options::default())?;
        report("open with the index lost", blocks.len(), total, start);
        let start = Instant::now();
        store.verify(&mut |_, _| ())?;
        report("verify", blocks.len(), total, start);
    }
    Ok(())
}

fn small(folder: &std::path::Path) -> Result<()> {
    let blocks = blocks(100_000, 1024)?;
    let total = blocks.len() * 1024;
    let dir = tempfile::tempdir_in(folder)?;
    let store = Store::open(dir.path(), Options::default())?;
    let start = Instant::now();
    for block in &blocks {
        store.put(block)?;
    }
    report("put 1 KiB one by one, unsynced", blocks.len(), total, start);
    let start = Instant::now();
    for block in &blocks {
        store.get(block.cid().hash())?;
    }
    report("get 1 KiB, hashed", blocks.len(), total, start);
    let start = Instant::now();
    drop(store);
    report("close", blocks.len(), total, start);
    let start = Instant::now();
    let store = Store::open(dir.path(), Options::default())?;
    report("open", blocks.len(), total, start);
    drop(store);
    let dir = tempfile::tempdir_in(folder)?;
    let store = Store::open(dir.path(), Options::default())?;
    let start = Instant::now();
    for group in blocks.chunks(256) {
        store.put_many(group)?;
    }
    report("put 1 KiB by 256, unsynced", blocks.len(), total, start);
    Ok(())
}

fn pins(folder: &std::path::Path) -> Result<()> {
    let blocks = blocks(200, 1024)?;
    let dir = tempfile::tempdir_in(folder)?;
    let store = Store::open(dir.path(), Options::default())?;
    let start = Instant::now();
    for block in &blocks {
        store.put(block)?;
        store.pin(block.cid(), "bench")?;
    }
    report("put and pin, each durable", blocks.len(), blocks.len() * 1024, start);
    Ok(())
}
