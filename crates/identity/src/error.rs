//! Why a record was not kept. Keeps nothing.

use std::path::PathBuf;

use atoll_core::ipns::RecordError;

/// Why a record was not kept, or the store not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It is no valid record of its name.
    #[error("the record is not valid: {0}")]
    Record(#[from] RecordError),
    /// Its time is over.
    #[error("the record has expired")]
    Expired,
    /// A newer one is kept; newest wins, whoever brings it.
    #[error("a record of sequence {0} is known, and this one is not newer")]
    Older(u64),
    /// Somebody published meanwhile.
    #[error("the last known sequence is {found:?} by now, not {expected:?}: somebody published meanwhile")]
    Changed {
        /// What the publisher knew.
        expected: Option<u64>,
        /// What is kept.
        found: Option<u64>,
    },
    /// No room beside the records that must stay.
    #[error(
        "the store of names is full of records that this node stands for; raise names.records_max or names.bytes_max"
    )]
    Full,
    /// The database failed.
    #[error("{path}: {cause}; restore the file, or remove it: members tell again what it held", path = .path.display())]
    Database {
        /// Its file.
        path: PathBuf,
        /// What it said.
        cause: String,
    },
}
