//! Requests and publishers on disk: a redb database of two tables, `requests-1` from the request's id and `publishers-1` from
//! the publisher's name, each to JSON. Each write is one transaction and is on disk when it returns. A crash loses nothing but
//! a write that has not returned.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::table::Table;
use crate::error::StoreError;
use crate::publisher::Publisher;
use crate::request::{PinRequest, RequestId};

const REQUESTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("requests-1");
const PUBLISHERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("publishers-1");
/// Memory for the database's pages, in bytes; all is read once and then written only.
const CACHE_BYTES: usize = 4 << 20;

/// What is written together or not at all.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) requests: Vec<(RequestId, PinRequest)>,
    pub(super) removed: Vec<RequestId>,
    pub(super) publishers: Vec<Publisher>,
    pub(super) gone: Vec<String>,
}

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

    /// Lets another process have the file; nothing is written any more.
    pub(super) fn close(&self) {
        *self.db() = None;
    }

    fn db(&self) -> MutexGuard<'_, Option<Database>> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the database in an error.
    pub(super) fn failed(&self, error: &dyn std::fmt::Display) -> StoreError {
        StoreError::Database { path: self.path.clone(), cause: error.to_string() }
    }

    fn bad_row(&self, what: String) -> StoreError {
        StoreError::Row { path: self.path.clone(), what }
    }

    /// Everything. A row that cannot be read is an error: without it, what it says to keep would be let go.
    pub(super) fn load(&self) -> Result<Table, StoreError> {
        let (requests, publishers) = self.read().map_err(|error| self.failed(&error))?;
        let mut table = Table::default();
        for (name, value) in publishers {
            let publisher: Publisher =
                serde_json::from_slice(&value).map_err(|_| self.bad_row(format!("publisher {name}")))?;
            table.put_publisher(publisher);
        }
        for (key, value) in requests {
            let id = RequestId::from_bytes(&key);
            let request = serde_json::from_slice::<PinRequest>(&value).ok();
            let (Some(id), Some(request)) = (id, request) else {
                return Err(self.bad_row(format!("pin request {}", data_encoding::HEXLOWER.encode(&key))));
            };
            table.put(id, request);
        }
        Ok(table)
    }

    #[expect(clippy::type_complexity, reason = "rows of both tables, as they are")]
    fn read(&self) -> Result<(Vec<(Vec<u8>, Vec<u8>)>, Vec<(String, Vec<u8>)>), redb::Error> {
        let db = self.db();
        let db = db.as_ref().ok_or(redb::Error::DatabaseClosed)?;
        let txn = db.begin_write()?;
        // Made here, so that readers need not care whether they exist.
        txn.open_table(REQUESTS)?;
        txn.open_table(PUBLISHERS)?;
        txn.commit()?;
        let txn = db.begin_read()?;
        let (mut requests, mut publishers) = (Vec::new(), Vec::new());
        for row in txn.open_table(REQUESTS)?.iter()? {
            let (key, value) = row?;
            requests.push((key.value().to_vec(), value.value().to_vec()));
        }
        for row in txn.open_table(PUBLISHERS)?.iter()? {
            let (key, value) = row?;
            publishers.push((key.value().to_owned(), value.value().to_vec()));
        }
        Ok((requests, publishers))
    }

    pub(super) fn write(&self, change: &Change) -> Result<(), StoreError> {
        let text = |value: Result<Vec<u8>, serde_json::Error>| value.map_err(|error| self.failed(&error));
        let requests = change.requests.iter().map(|(id, request)| Ok((id, text(serde_json::to_vec(request))?)));
        let requests: Vec<_> = requests.collect::<Result<_, StoreError>>()?;
        let publishers = change.publishers.iter().map(|one| Ok((one.name.as_str(), text(serde_json::to_vec(one))?)));
        let publishers: Vec<_> = publishers.collect::<Result<_, StoreError>>()?;
        self.commit(change, &requests, &publishers).map_err(|error| self.failed(&error))
    }

    fn commit(
        &self,
        change: &Change,
        requests: &[(&RequestId, Vec<u8>)],
        publishers: &[(&str, Vec<u8>)],
    ) -> Result<(), redb::Error> {
        let db = self.db();
        let txn = db.as_ref().ok_or(redb::Error::DatabaseClosed)?.begin_write()?;
        {
            let mut table = txn.open_table(REQUESTS)?;
            for id in &change.removed {
                table.remove(id.as_bytes())?;
            }
            for (id, value) in requests {
                table.insert(id.as_bytes(), value.as_slice())?;
            }
            let mut table = txn.open_table(PUBLISHERS)?;
            for name in &change.gone {
                table.remove(name.as_str())?;
            }
            for (name, value) in publishers {
                table.insert(*name, value.as_slice())?;
            }
        }
        txn.commit()?;
        Ok(())
    }
}
