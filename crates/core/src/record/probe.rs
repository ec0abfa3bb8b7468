//! The answer to a probe: that a node lives now, and which of the roots it was asked about it holds whole.

use serde::{Deserialize, Serialize};

use super::RECORD_VERSION;
use crate::block::Cid;
use crate::envelope::{Record, RecordError};
use crate::id::PublicKey;
use crate::keys::Identity;

/// The most roots that one probe asks about.
pub const PROBE_ROOTS_MAX: usize = 32;

/// A claim, signed over the asker's nonce. That a root is held is then checked by a random block of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeAnswer {
    /// Format version, [`RECORD_VERSION`].
    pub v: u64,
    /// The asker's nonce.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 32],
    /// Expiry, in seconds since the Unix epoch.
    pub exp: u64,
    /// Those of the asked roots that are held whole and pinned.
    pub holds: Vec<Cid>,
}

impl ProbeAnswer {
    /// The answer to `nonce`.
    pub fn new(nonce: [u8; 32], exp: u64, holds: Vec<Cid>) -> Self {
        Self { v: RECORD_VERSION, nonce, exp, holds }
    }
}

impl Record for ProbeAnswer {
    type Signer = Identity;
    const DOMAIN: &'static str = "atoll-probe-1";
    const PAYLOAD_TYPE: &'static str = "/atoll/probe";

    fn check(&self, _signer: &PublicKey) -> Result<(), RecordError> {
        if self.v != RECORD_VERSION {
            return Err(RecordError::Version(self.v));
        }
        if self.holds.len() > PROBE_ROOTS_MAX { Err(RecordError::Bounds("holds")) } else { Ok(()) }
    }

    fn seq(&self) -> u64 {
        self.exp
    }

    fn expires(&self) -> u64 {
        self.exp
    }
}
