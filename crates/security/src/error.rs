//! What can go wrong with a list, named by cause; the text tells the operator what to change.

use std::io;
use std::path::PathBuf;

/// Why a list, or a change of one, is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DenyError {
    /// The file could not be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Reading a list broke off.
    #[error("reading broke off: {0}")]
    Read(#[from] io::Error),
    /// The list cannot be used; the one before it serves on.
    #[error("{}: {cause}", path.display())]
    List {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: Box<DenyError>,
    },
    /// The header is no YAML.
    #[error("the header (before ---) is no YAML mapping: {0}")]
    Header(String),
    /// The header is larger than any that is needed.
    #[error("the header is over {} bytes", crate::deny::header::HEADER_BYTES_MAX)]
    HeaderTooLarge,
    /// A format that came after this program.
    #[error("the list is of version {0}; only version 1 is known")]
    Version(String),
    /// A line as long as none is in an honest list (IPIP-383).
    #[error("line {line} is over {} bytes", crate::deny::LINE_BYTES_MAX)]
    LineTooLong {
        /// Which, counted from 1.
        line: u32,
    },
    /// A file without a byte, as a writer leaves it that has just begun, or has failed.
    #[error("the list is empty, and had rules; if that is meant, write a comment into it")]
    Emptied,
    /// More rules than memory is set aside for.
    #[error("the list has over {0} rules (deny.rules_max)")]
    TooManyRules(usize),
    /// More lists than are looked through for each block.
    #[error("over {} lists are configured", crate::deny::lists::LISTS_MAX)]
    TooManyLists,
    /// What was to be denied is no CID, path or URL.
    #[error("{0:?} is neither a CID, nor a path such as /ipfs/CID/file or /ipns/NAME, nor a gateway's URL")]
    NoSubject(String),
    /// A reason that would not fit into a line.
    #[error("a reason is one line of at most {} bytes", crate::local::REASON_BYTES_MAX)]
    Reason,
}
