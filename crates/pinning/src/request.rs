//! Pin requests as they are kept.

use std::fmt;
use std::str::FromStr;

use atoll_core::{Cid, Timestamp};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::wire::{Pin, parse_cid};

/// What the reason of every pin begins with that is made for a pin request.
pub const REASON_PREFIX: &str = "remote:";

/// Names a pin request: 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// A new one.
    ///
    /// # Errors
    /// [`StoreError::Randomness`].
    pub(crate) fn random() -> Result<Self, StoreError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|_| StoreError::Randomness)?;
        Ok(Self(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// A text that names no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a pin request")]
pub struct NoRequestId;

impl FromStr for RequestId {
    type Err = NoRequestId;

    fn from_str(text: &str) -> Result<Self, NoRequestId> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(NoRequestId)
    }
}

/// How far a request has come, as far as that outlives the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// To be worked on.
    Open,
    /// Kept.
    Pinned {
        /// Bytes of its blocks.
        bytes: u64,
        /// Its blocks.
        blocks: u64,
    },
    /// Given up.
    Failed {
        /// Why, for its publisher.
        why: String,
    },
}

/// A pin in the block store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(String, String)", into = "(String, String)")]
pub(crate) struct Held {
    pub(crate) root: Cid,
    pub(crate) reason: String,
}

impl TryFrom<(String, String)> for Held {
    type Error = &'static str;

    fn try_from((root, reason): (String, String)) -> Result<Self, Self::Error> {
        Ok(Self { root: parse_cid(&root).ok_or("not a CID")?, reason })
    }
}

impl From<Held> for (String, String) {
    fn from(held: Held) -> Self {
        (held.root.to_string(), held.reason)
    }
}

/// A request as it is on disk, under its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PinRequest {
    /// Whose it is.
    pub(crate) publisher: String,
    /// When it was made, in milliseconds since the Unix epoch; different for each.
    pub(crate) created: u64,
    pub(crate) pin: Pin,
    pub(crate) state: State,
    /// Pins of requests that it replaced, kept until its own fate is decided, so that nothing both have is collected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) holds: Vec<Held>,
}

impl PinRequest {
    pub(crate) fn created(&self) -> Timestamp {
        Timestamp::from_millis(self.created)
    }

    /// The pin that it has, or will have.
    pub(crate) fn held(&self, id: &RequestId) -> Held {
        Held { root: self.pin.cid, reason: format!("{REASON_PREFIX}{}:{id}", self.publisher) }
    }

    /// All pins that are to stay as long as it is there: its own may have been made by a process that then died.
    pub(crate) fn all_held(&self, id: &RequestId) -> Vec<Held> {
        let own = (!matches!(self.state, State::Failed { .. })).then(|| self.held(id));
        self.holds.iter().cloned().chain(own).collect()
    }
}
