//! The records on disk: a redb database of one table, from the name's multihash to one byte for who brought the record
//! (0 a member, 1 the operator or a publisher) and the record as it came. Each write is one transaction and is on disk when
//! it returns. A crash loses nothing but a write that has not returned.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use atoll_core::ipns::{Name, RECORD_BYTES_MAX};
use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::Origin;
use super::table::Entry;
use crate::error::StoreError;

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records-1");
/// Memory for the database's pages, in bytes; all is read once and then written only.
const CACHE_BYTES: usize = 1 << 20;

/// The open database.
#[derive(Debug)]
pub(super) struct Disk {
    /// Until it is closed.
    db: Mutex<Option<Database>>,
    path: PathBuf,
}

impl Disk {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let db = Database::builder().set_cache_size(CACHE_BYTES).create(path);
        let db = db.map_err(|error| StoreError::Database { path: path.to_owned(), cause: error.to_string() })?;
        Ok(Self { db: Mutex::new(Some(db)), path: path.to_owned() })
    }

    /// Names the database in an error.
    pub(super) fn failed(&self, error: &dyn std::error::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), cause: error.to_string() }
    }

    /// All records. What is no entry of this form is left out.
    pub(super) fn load(&self) -> Result<Vec<(Name, Origin, Bytes)>, StoreError> {
        self.read().map_err(|error| self.failed(&error))
    }

    /// Lets another process have the file; nothing is written any more.
    pub(super) fn close(&self) {
        *self.db() = None;
    }

    fn db(&self) -> MutexGuard<'_, Option<Database>> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<Vec<(Name, Origin, Bytes)>, redb::Error> {
        let db = self.db();
        let txn = db.as_ref().ok_or(redb::Error::DatabaseClosed)?.begin_read()?;
        let table = match txn.open_table(RECORDS) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            other => other?,
        };
        let mut found = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            found.extend(read_entry(key.value(), value.value()));
        }
        Ok(found)
    }

    /// Writes `kept` and removes `evicted`, together or not at all.
    pub(super) fn write<'a>(&self, kept: impl Iterator<Item = &'a Entry>, evicted: &[Name]) -> Result<(), StoreError> {
        self.commit(kept, evicted).map_err(|error| self.failed(&error))
    }

    fn commit<'a>(&self, kept: impl Iterator<Item = &'a Entry>, evicted: &[Name]) -> Result<(), redb::Error> {
        let db = self.db();
        let txn = db.as_ref().ok_or(redb::Error::DatabaseClosed)?.begin_write()?;
        {
            let mut table = txn.open_table(RECORDS)?;
            for name in evicted {
                table.remove(name.to_bytes().as_slice())?;
            }
            for entry in kept {
                let origin = match entry.origin {
                    Origin::Member => 0,
                    Origin::Own => 1,
                };
                let value = [&[origin][..], entry.held.bytes()].concat();
                table.insert(entry.name.to_bytes().as_slice(), value.as_slice())?;
            }
        }
        txn.commit()?;
        Ok(())
    }
}

fn read_entry(key: &[u8], value: &[u8]) -> Option<(Name, Origin, Bytes)> {
    let (origin, bytes) = value.split_first()?;
    let origin = if *origin == 0 { Origin::Member } else { Origin::Own };
    (bytes.len() <= RECORD_BYTES_MAX).then_some((Name::from_bytes(key).ok()?, origin, Bytes::copy_from_slice(bytes)))
}
