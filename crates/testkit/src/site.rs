//! Sites to place: a key, and one small DAG for each version.

use std::time::Duration;

use atoll_core::block::{DAG_PB, RAW};
use atoll_core::dagpb::{Link, Node};
use atoll_core::keys::SiteKey;
use atoll_core::record::Placement;
use atoll_core::{Block, Cid, Signed, SiteId, Timestamp};
use bytes::Bytes;

/// How long a placement counts.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A publisher's site.
pub struct Site {
    key: SiteKey,
    number: u32,
    leaves: u32,
}

impl Site {
    /// The site of this number, whose versions have so many files.
    pub fn new(number: u32, leaves: u32) -> Self {
        let mut seed = [0x51; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        Self { key: SiteKey::from_seed(&seed), number, leaves }
    }

    /// Its key.
    pub fn key(&self) -> &SiteKey {
        &self.key
    }

    /// Its id.
    pub fn id(&self) -> SiteId {
        SiteId::of(&self.key.public())
    }

    /// The blocks of one version, its root first: two folders deep. Versions share half of their files.
    pub fn blocks(&self, version: u32) -> Vec<Block> {
        let file = |index: u32| {
            let shared = index.is_multiple_of(2);
            let version = if shared { 0 } else { version };
            let text = format!("file {index} of site {} in version {version}\n", self.number).repeat(20);
            Block::sha2_256(RAW, Bytes::from(text)).unwrap()
        };
        let files: Vec<Block> = (0..self.leaves).map(file).collect();
        let half = files.len() / 2;
        let folders = [folder(&files[..half]), folder(&files[half..])];
        let mut blocks = vec![folder(&folders)];
        blocks.extend(folders);
        blocks.extend(files);
        blocks
    }

    /// The root of one version.
    pub fn root(&self, version: u32) -> Cid {
        *self.blocks(version)[0].cid()
    }

    /// The signed placement of one version on `n` members.
    pub fn placement(&self, version: u32, n: u64, now: Timestamp) -> Bytes {
        self.sign(Placement::new(self.root(version), n, 1 << 20), now)
    }

    /// Signs any placement.
    pub fn sign(&self, mut placement: Placement, now: Timestamp) -> Bytes {
        placement.seq = now.as_millis();
        placement.exp = now.after(LIFETIME).as_secs();
        Signed::seal(placement, &self.key).unwrap().bytes().clone()
    }
}

/// A dag-pb node that links to `blocks`.
fn folder(blocks: &[Block]) -> Block {
    let names: Vec<String> = (0..blocks.len()).map(|index| format!("{index:04}")).collect();
    let links = blocks.iter().zip(&names).map(|(block, name)| Link::new(*block.cid(), name, 1)).collect();
    // The data of a UnixFS directory.
    let node = Node { data: Some(&[0x08, 0x01]), links };
    Block::sha2_256(DAG_PB, Bytes::from(node.encode())).unwrap()
}
