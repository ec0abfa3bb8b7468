//! The least that an import can do: read, SHA-256, write, and at the end perhaps fdatasync, on two cores.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use sha2::{Digest, Sha256};

const THREADS: u64 = 2;
const CHUNK_BYTES: u64 = 1024 * 1024;

/// Copies `from` to `to` chunk by chunk, hashing each chunk, and returns how long that took.
pub(super) fn copy(from: &Path, to: &Path, sync: bool) -> Result<Duration> {
    let (input, output) = (File::open(from)?, File::create(to)?);
    let length = input.metadata()?.len();
    let start = Instant::now();
    thread::scope(|scope| {
        let copy = |first: u64| copy_every_other(&input, &output, first, length);
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(move || copy(first))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a copying thread panicked"))?)
    })?;
    if sync {
        output.sync_data()?;
    }
    Ok(start.elapsed())
}

fn copy_every_other(input: &File, output: &File, first: u64, length: u64) -> Result<()> {
    let mut buffer = vec![0; usize::try_from(CHUNK_BYTES)?];
    let mut offset = first * CHUNK_BYTES;
    while offset < length {
        let size = usize::try_from(CHUNK_BYTES.min(length - offset))?;
        input.read_exact_at(&mut buffer[..size], offset)?;
        std::hint::black_box(Sha256::digest(&buffer[..size]));
        output.write_all_at(&buffer[..size], offset)?;
        offset += THREADS * CHUNK_BYTES;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let bytes = crate::bench::Noise(7).bytes(3 * 1024 * 1024 + 5);
        std::fs::write(&from, &bytes).unwrap();
        copy(&from, &to, true).unwrap();
        assert!(std::fs::read(to).unwrap() == bytes);
    }
}
