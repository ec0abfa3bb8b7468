//! A repository of Kubo as a source: its blocks, each verified; its pins; its keys. Kubo must not be running.
//!
//! Read is what `ipfs init` makes: blocks in flatfs, everything else in LevelDB. Nothing is written there, not even a lock
//! file. A crash loses nothing.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use atoll_core::block::{BLOCK_BYTES_MAX, Multihash, RAW};
use atoll_core::{Block, Cid};
use data_encoding::BASE32_NOPAD;
use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;

use crate::import::Sink;

mod disk;
mod keys;
mod pins;

pub use keys::{Key, KeyKind};
pub use pins::{Mode, PINS_MAX, Pin};

/// The largest configuration or key file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The most blocks that are named when they are not taken.
const REFUSED_NAMED_MAX: usize = 100;

/// A repository that is not in use.
#[derive(Debug)]
pub struct Repository {
    dir: PathBuf,
    blocks: PathBuf,
    datastore: PathBuf,
    /// Held while it is read, so that Kubo does not start meanwhile.
    _lock: File,
}

/// What became of the blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Blocks that were handed on.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are not the block that they are called, or whose hash is not known here; the first
    /// hundred, by path.
    pub refused: Vec<PathBuf>,
}

impl Repository {
    /// Opens the repository in `dir`.
    ///
    /// # Errors
    /// [`KuboError`] says what is in the way, and how the data can be had all the same.
    pub fn open(dir: &Path) -> Result<Self, KuboError> {
        let spec = read_small(&dir.join("datastore_spec"))?;
        let spec: Spec = serde_json::from_slice(&spec).map_err(|_| KuboError::Layout("an unknown".to_owned()))?;
        let blocks = dir.join(spec.path("/blocks", "flatfs")?);
        let datastore = dir.join(spec.path("/", "levelds")?);
        let lock = File::open(datastore.join("LOCK")).map_err(|error| KuboError::io(&datastore, error))?;
        // Kubo takes the same lock for itself alone.
        flock(&lock, FlockOperation::NonBlockingLockShared).map_err(|_| KuboError::InUse(dir.to_owned()))?;
        Ok(Self { dir: dir.to_owned(), blocks, datastore, _lock: lock })
    }

    /// Hands all blocks to `sink`, under CIDs that say nothing of their codec: a repository does not know it either.
    ///
    /// # Errors
    /// What the disk or the sink says. A damaged block is no error.
    pub fn blocks(&self, sink: &mut dyn Sink, progress: &mut dyn FnMut(&Taken)) -> Result<Taken, KuboError> {
        let mut taken = Taken::default();
        for shard in list(&self.blocks)? {
            if !shard.is_dir() {
                continue;
            }
            for file in list(&shard)? {
                self.block(&file, sink, &mut taken)?;
                progress(&taken);
            }
        }
        Ok(taken)
    }

    fn block(&self, file: &Path, sink: &mut dyn Sink, taken: &mut Taken) -> Result<(), KuboError> {
        // Other files are those that Kubo was writing.
        let Some(hash) = hash_of(file) else { return Ok(()) };
        let mut bytes = Vec::new();
        let opened = File::open(file).map_err(|error| KuboError::io(file, error))?;
        let read = opened.take(BLOCK_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| KuboError::io(file, error))?;
        let len = bytes.len() as u64;
        let Ok(block) = Block::verified(Cid::new_v1(RAW, hash), bytes.into()) else {
            if taken.refused.len() < REFUSED_NAMED_MAX {
                taken.refused.push(file.strip_prefix(&self.dir).unwrap_or(file).to_owned());
            }
            return Ok(());
        };
        sink.put(block).map_err(KuboError::Sink)?;
        taken.blocks += 1;
        taken.bytes = taken.bytes.saturating_add(len);
        Ok(())
    }

    /// All pins, and the root of the files that `ipfs files` shows, if there are any.
    ///
    /// # Errors
    /// [`KuboError::Datastore`], [`KuboError::Pin`], [`KuboError::TooManyPins`].
    pub fn pins(&self) -> Result<(Vec<Pin>, Option<Cid>), KuboError> {
        pins::read(&self.datastore)
    }

    /// The keys, `self` among them.
    ///
    /// # Errors
    /// What the disk says. Keys of kinds that are not used here are named, without what is secret of them.
    pub fn keys(&self) -> Result<Vec<Key>, KuboError> {
        keys::read(&self.dir)
    }
}

/// The multihash that a file of flatfs is called by: base32 in capitals.
fn hash_of(file: &Path) -> Option<Multihash> {
    let name = file.file_name()?.to_str()?.strip_suffix(".data")?;
    Multihash::from_bytes(&BASE32_NOPAD.decode(name.as_bytes()).ok()?).ok()
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, KuboError> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| KuboError::io(dir, error))?;
    Ok(entries.iter().map(fs::DirEntry::path).collect())
}

fn read_small(path: &Path) -> Result<Vec<u8>, KuboError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| KuboError::io(path, error))?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| KuboError::io(path, error))?;
    Ok(bytes)
}

/// `datastore_spec`: what keeps what.
#[derive(Deserialize)]
#[serde(untagged)]
enum Spec {
    Mounts { mounts: Vec<Mount> },
    One(Mount),
}

#[derive(Deserialize)]
struct Mount {
    #[serde(default)]
    mountpoint: String,
    #[serde(default)]
    path: String,
    r#type: String,
}

impl Spec {
    /// Where what is mounted at `point` lies, if it is of the kind that is read.
    fn path(&self, point: &str, kind: &str) -> Result<&str, KuboError> {
        let mount = match self {
            Self::Mounts { mounts } => mounts.iter().find(|mount| mount.mountpoint == point),
            Self::One(mount) => Some(mount),
        };
        match mount {
            Some(mount) if mount.r#type == kind => Ok(&mount.path),
            Some(mount) => Err(KuboError::Layout(format!("a {}", mount.r#type))),
            None => Err(KuboError::Layout("an unknown".to_owned())),
        }
    }
}

/// Why a repository was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KuboError {
    /// The file system.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Other datastores than those of `ipfs init`.
    #[error(
        "the repository keeps its data in {0} datastore; read are flatfs for blocks and levelds for the rest. With Kubo, \
         `ipfs dag export CID` writes each pin of `ipfs pin ls` as a CAR, which `atoll import --car` takes"
    )]
    Layout(String),
    /// Kubo runs.
    #[error("{dir}: the repository is in use; stop Kubo first", dir = .0.display())]
    InUse(PathBuf),
    /// The database could not be read.
    #[error("the datastore of the repository cannot be read: {0}")]
    Datastore(String),
    /// A pin that is none.
    #[error("the pin `{0}` of the repository cannot be read")]
    Pin(String),
    /// More pins than [`PINS_MAX`].
    #[error("the repository has more than {PINS_MAX} pins")]
    TooManyPins,
    /// The sink did not take a block.
    #[error("a block could not be stored: {0}")]
    Sink(#[source] io::Error),
}

impl KuboError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}
