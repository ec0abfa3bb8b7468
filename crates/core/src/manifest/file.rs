//! A manifest as bytes, as a node keeps it beside its blocks. Pure; a crash loses nothing.

use super::{Entry, Manifest, ManifestError, is_key, is_listed_redirect};
use crate::merkle::Hash;

/// What a reader begins with.
const MAGIC: &[u8; 8] = b"atollmf1";
/// What an entry takes beside its key.
const FIXED_BYTES: usize = 2 + 2 + 32 + 32;

impl Manifest {
    /// Its bytes: a magic, then each entry: length of the key (2), key, status (2), digest (32), head (32).
    pub fn to_bytes(&self) -> Vec<u8> {
        let len: usize = self.entries.iter().map(|entry| entry.key.len().saturating_add(FIXED_BYTES)).sum();
        let mut bytes = Vec::with_capacity(len.saturating_add(MAGIC.len()));
        bytes.extend_from_slice(MAGIC);
        for entry in &self.entries {
            entry.write(&mut bytes);
        }
        bytes
    }

    /// Reads them. What is not what [`Manifest::to_bytes`] writes is refused: another order, a key twice, a key or a status
    /// that no manifest has, anything behind the end.
    ///
    /// # Errors
    /// [`MalformedManifest`] says where.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedManifest> {
        let at = |rest: &[u8]| MalformedManifest { offset: bytes.len().saturating_sub(rest.len()) };
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(MalformedManifest { offset: 0 })?;
        let mut entries: Vec<Entry> = Vec::new();
        while !rest.is_empty() {
            let (entry, behind) = Entry::read(rest).ok_or_else(|| at(rest))?;
            if entries.last().is_some_and(|before| before.key >= entry.key) {
                return Err(at(rest));
            }
            entries.push(entry);
            rest = behind;
        }
        Self::of_ordered(entries).map_err(|ManifestError::TooMany| at(rest))
    }
}

impl Entry {
    /// Adds its bytes.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&u16::try_from(self.key.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(self.key.as_bytes());
        bytes.extend_from_slice(&self.status.to_be_bytes());
        bytes.extend_from_slice(&self.digest);
        bytes.extend_from_slice(&self.head);
    }

    /// Reads them, and returns what stands behind; `None` for anything that no manifest has.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (len, rest) = bytes.split_first_chunk::<2>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        let key = std::str::from_utf8(key).ok().filter(|key| is_key(key))?;
        let (status, rest) = rest.split_first_chunk::<2>()?;
        let (digest, rest) = rest.split_first_chunk::<32>()?;
        let (head, rest): (&Hash, _) = rest.split_first_chunk::<32>()?;
        let status = u16::from_be_bytes(*status);
        let listed = status == 200 || is_listed_redirect(status);
        listed.then(|| (Self { key: key.into(), status, digest: *digest, head: *head }, rest))
    }
}

/// Bytes that are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no manifest: what stands at byte {offset} cannot stand there")]
pub struct MalformedManifest {
    /// Where.
    pub offset: usize,
}
