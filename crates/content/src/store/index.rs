//! The index: where each block lies in the packs, and which pins hold. A redb database that can be deleted at any time.
//!
//! Every commit carries a watermark, the position in the log of packs up to which the index is complete; what lies
//! behind it is read from the packs when the store is opened. So a crash loses nothing that the packs hold.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use atoll_core::Cid;
use atoll_core::block::Multihash;
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use super::disk::{Disk, DiskFile};
use super::error::StoreError;
use super::record::{Pin, Salt};

/// The name of the index in the store's folder.
pub(crate) const INDEX: &str = "index.redb";
/// The version of the tables below; an index of another version is rebuilt.
const INDEX_VERSION: u64 = 1;

/// Multihash → pack, offset, length, damaged.
const BLOCKS: TableDefinition<'_, &[u8], (u32, u32, u32, bool)> = TableDefinition::new("blocks");
/// CID, name → pack, offset.
const PINS: TableDefinition<'_, (&[u8], &str), (u32, u32)> = TableDefinition::new("pins");
/// Pack → live bytes, live blocks.
const LIVE: TableDefinition<'_, u32, (u64, u64)> = TableDefinition::new("live");
/// The index's own version, salt and watermark.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pack: u32,
    /// Where its record begins.
    pub(crate) offset: u32,
    /// Bytes of its data.
    pub(crate) len: u32,
    /// Its bytes were found not to hash to its name.
    pub(crate) damaged: bool,
}

/// Where a pin's record begins: pack, offset.
pub(crate) type PinPlace = (u32, u32);

/// What of a pack is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Live {
    /// Bytes of the records of blocks that the index points to.
    pub(crate) bytes: u64,
    /// How many they are.
    pub(crate) blocks: u64,
}

/// A position in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Watermark {
    pub(crate) pack: u32,
    pub(crate) offset: u64,
}

/// What one commit writes; `None` removes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) blocks: Vec<(Multihash, Option<Place>)>,
    pub(crate) pins: Vec<(Pin, Option<PinPlace>)>,
    pub(crate) live: BTreeMap<u32, Live>,
    pub(crate) watermark: Watermark,
}

/// What an index says about itself when it is opened.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) salt: Option<Salt>,
    pub(crate) watermark: Watermark,
    pub(crate) live: BTreeMap<u32, Live>,
    pub(crate) pins: BTreeMap<Pin, PinPlace>,
}

/// The open database. A failed write poisons a redb database, so that it is opened anew by the next use.
#[derive(Debug)]
pub(crate) struct Index {
    disk: Arc<dyn Disk>,
    cache_bytes: usize,
    state: RwLock<State>,
}

/// What the index can be used for.
#[derive(Debug)]
enum State {
    Open(Database),
    /// The disk failed; the next use opens it again.
    Failed,
    /// Given up for good.
    Closed,
}

impl Index {
    /// Opens the index, or creates an empty one.
    pub(crate) fn open(disk: Arc<dyn Disk>, cache_bytes: usize) -> Result<Self, StoreError> {
        let db = open_database(disk.as_ref(), cache_bytes)?;
        Ok(Self { disk, cache_bytes, state: RwLock::new(State::Open(db)) })
    }

    /// What the index holds beside the blocks; `None` when it is of another version or not whole.
    pub(crate) fn load(&self) -> Result<Option<Loaded>, StoreError> {
        self.with(|db| {
            let txn = db.begin_read()?;
            let meta = match txn.open_table(META) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Some(Loaded::default())),
                other => other?,
            };
            let get = |name: &str| Ok::<_, redb::Error>(meta.get(name)?.map(|value| value.value()));
            if get("version")? != Some(INDEX_VERSION) {
                return Ok(None);
            }
            let (Some(salt), Some(pack), Some(offset)) = (get("salt")?, get("pack")?, get("offset")?) else {
                return Ok(None);
            };
            let watermark = Watermark { pack: u32::try_from(pack).unwrap_or(u32::MAX), offset };
            let mut loaded = Loaded { salt: Some(salt.to_be_bytes()), watermark, ..Loaded::default() };
            for entry in txn.open_table(LIVE)?.iter()? {
                let (pack, live) = entry?;
                let (bytes, blocks) = live.value();
                loaded.live.insert(pack.value(), Live { bytes, blocks });
            }
            for entry in txn.open_table(PINS)?.iter()? {
                let (key, place) = entry?;
                let (cid, name) = key.value();
                let Ok(cid) = Cid::try_from(cid) else { return Ok(None) };
                loaded.pins.insert(Pin { cid, name: name.to_owned() }, place.value());
            }
            Ok(Some(loaded))
        })
    }

    /// Where a block lies.
    pub(crate) fn get(&self, hash: &Multihash) -> Result<Option<Place>, StoreError> {
        let key = hash.to_bytes();
        self.with(|db| {
            let table = match db.begin_read()?.open_table(BLOCKS) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                other => other?,
            };
            Ok(table.get(key.as_slice())?.map(|value| place(value.value())))
        })
    }

    /// Up to `count` blocks behind `after` in the order of their names.
    pub(crate) fn page(&self, after: Option<&Multihash>, count: usize) -> Result<Vec<(Multihash, Place)>, StoreError> {
        let after = after.map(|hash| hash.to_bytes()).unwrap_or_default();
        self.with(|db| {
            let table = match db.begin_read()?.open_table(BLOCKS) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                other => other?,
            };
            let bounds = (std::ops::Bound::Excluded(after.as_slice()), std::ops::Bound::Unbounded);
            let mut page = Vec::with_capacity(count);
            for entry in table.range::<&[u8]>(bounds)?.take(count) {
                let (key, value) = entry?;
                // A name that is none cannot have been written; it would only hide one block.
                let Ok(hash) = Multihash::from_bytes(key.value()) else { continue };
                page.push((hash, place(value.value())));
            }
            Ok(page)
        })
    }

    /// Writes changes and their watermark in one durable step.
    pub(crate) fn commit(&self, salt: &Salt, changes: &Changes) -> Result<(), StoreError> {
        self.with(|db| {
            let mut txn = db.begin_write()?;
            // The allocator's state goes into the commit, so that a start after a crash need not walk the tree.
            txn.set_quick_repair(true);
            write_blocks(&txn, &changes.blocks)?;
            write_pins(&txn, &changes.pins)?;
            let mut live = txn.open_table(LIVE)?;
            live.retain(|pack, _| changes.live.contains_key(&pack))?;
            for (pack, Live { bytes, blocks }) in &changes.live {
                live.insert(pack, (*bytes, *blocks))?;
            }
            drop(live);
            let mut meta = txn.open_table(META)?;
            meta.insert("version", INDEX_VERSION)?;
            meta.insert("salt", u64::from_be_bytes(*salt))?;
            meta.insert("pack", u64::from(changes.watermark.pack))?;
            meta.insert("offset", changes.watermark.offset)?;
            drop(meta);
            txn.commit()?;
            Ok(())
        })
    }

    /// Closes the database; every later use fails.
    pub(crate) fn close(&self) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Closed;
    }

    /// Uses the database, and opens it anew when it failed: redb refuses to go on after an error of the disk.
    fn with<T>(&self, use_it: impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(db) => match use_it(db) {
                Err(redb::Error::PreviousIo) => {}
                other => return other.map_err(StoreError::index),
            },
            State::Failed => {}
            State::Closed => return Err(StoreError::HandedOver),
        }
        self.reopen()?;
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(db) => use_it(db).map_err(StoreError::index),
            State::Failed | State::Closed => Err(StoreError::HandedOver),
        }
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*state, State::Closed) {
            // The old database has to let go of its file before the new one takes it.
            *state = State::Failed;
            *state = State::Open(open_database(self.disk.as_ref(), self.cache_bytes)?);
        }
        Ok(())
    }
}

/// Removes the index, so that the next one starts empty.
pub(crate) fn remove(disk: &dyn Disk) -> Result<(), StoreError> {
    match disk.remove(INDEX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| StoreError::io("removing", INDEX, error)),
    }
}

fn open_database(disk: &dyn Disk, cache_bytes: usize) -> Result<Database, StoreError> {
    let file = match disk.open(INDEX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = disk.create(INDEX).and_then(|file| disk.sync_dir("").map(|()| file));
            file.map_err(|error| StoreError::io("creating", INDEX, error))?
        }
        other => other.map_err(|error| StoreError::io("opening", INDEX, error))?,
    };
    let mut builder = redb::Builder::new();
    builder.set_cache_size(cache_bytes);
    builder.create_with_backend(Backend(file)).map_err(StoreError::index)
}

fn place((pack, offset, len, damaged): (u32, u32, u32, bool)) -> Place {
    Place { pack, offset, len, damaged }
}

fn write_blocks(txn: &redb::WriteTransaction, blocks: &[(Multihash, Option<Place>)]) -> Result<(), redb::Error> {
    let mut table = txn.open_table(BLOCKS)?;
    for (hash, place) in blocks {
        let key = hash.to_bytes();
        match place {
            Some(at) => table.insert(key.as_slice(), (at.pack, at.offset, at.len, at.damaged))?,
            None => table.remove(key.as_slice())?,
        };
    }
    Ok(())
}

fn write_pins(txn: &redb::WriteTransaction, pins: &[(Pin, Option<PinPlace>)]) -> Result<(), redb::Error> {
    let mut table = txn.open_table(PINS)?;
    for (pin, place) in pins {
        let cid = pin.cid.to_bytes();
        let key = (cid.as_slice(), pin.name.as_str());
        match place {
            Some(place) => table.insert(key, *place)?,
            None => table.remove(key)?,
        };
    }
    Ok(())
}

/// redb's view of the index's file.
#[derive(Debug)]
struct Backend(Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, &mut [io::IoSlice::new(data)])
    }
}
