//! The blocks of a site while they are compared, in a file without a name: only where each stands is in memory. A crash loses them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

use anyhow::{Result, ensure};
use atoll_content::import::Sink;
use atoll_core::{Block, Blocks, BoxFuture, Cid, FetchError};
use bytes::Bytes;

/// The most blocks: some 130 MB of places.
const BLOCKS_MAX: usize = 1 << 21;
/// Bytes of a digest by which a place is found. What is read there is checked against its whole CID.
const NAME_BYTES: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    len: u64,
    places: HashMap<[u8; NAME_BYTES], (u64, u32)>,
}

impl Spool {
    /// An empty one, in the folder for temporary files (`TMPDIR`).
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()?, len: 0, places: HashMap::new() })
    }

    /// Takes a block of a site, which has only so many.
    pub(super) fn take(&mut self, block: Block) -> Result<()> {
        ensure!(self.places.len() < BLOCKS_MAX, "it has more than {BLOCKS_MAX} blocks");
        Ok(self.put(block)?)
    }

    fn read(&self, cid: &Cid) -> Result<Bytes, FetchError> {
        let (at, len) = *self.places.get(&name(cid)).ok_or(FetchError::NotFound(*cid))?;
        let mut bytes = vec![0; len as usize];
        let failed = |error: String| FetchError::Store(format!("the file of blocks in the temporary folder: {error}"));
        self.file.read_exact_at(&mut bytes, at).map_err(|error| failed(error.to_string()))?;
        let block = Block::verified(*cid, bytes.into()).map_err(|error| failed(error.to_string()))?;
        Ok(block.into_parts().1)
    }
}

/// The beginning of a CID's digest.
fn name(cid: &Cid) -> [u8; NAME_BYTES] {
    let mut name = [0; NAME_BYTES];
    name.iter_mut().zip(cid.hash().digest()).for_each(|(place, byte)| *place = *byte);
    name
}

impl Sink for Spool {
    fn put(&mut self, block: Block) -> io::Result<()> {
        let (cid, bytes) = block.into_parts();
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        if let Entry::Vacant(place) = self.places.entry(name(&cid)) {
            self.file.write_all(&bytes)?;
            place.insert((self.len, len));
            self.len = self.len.saturating_add(u64::from(len));
        }
        Ok(())
    }
}

impl Blocks for Spool {
    fn cached(&self, _cid: &Cid) -> Option<Bytes> {
        None
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move { self.read(cid) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_taken_is_read_and_nothing_else() {
        let mut spool = Spool::new().unwrap();
        let block = |text: &'static str| Block::sha2_256(0x55, Bytes::from_static(text.as_bytes())).unwrap();
        let (first, second, other) = (block("calm"), block("water"), block("storm"));
        for block in [&first, &second, &first] {
            spool.take(block.clone()).unwrap();
        }
        assert_eq!(spool.len, 9, "once each");
        for block in [first, second] {
            assert_eq!(spool.block(other.cid(), block.cid()).await.unwrap(), *block.bytes());
        }
        assert!(matches!(spool.block(other.cid(), other.cid()).await, Err(FetchError::NotFound(_))));
        // What changed on the disk is no block.
        spool.file.write_all_at(b"C", 0).unwrap();
        assert!(matches!(spool.read(block("calm").cid()), Err(FetchError::Store(_))));
    }
}
