//! The manifest of a site (`docs/formats.md`, "Manifests"): what is answered under each of its paths. A pure function of the
//! site's root: whoever has the blocks makes the same one. Nothing is kept, a crash loses nothing.

mod file;
mod head;

use std::fmt::Write as _;

use percent_encoding::utf8_percent_encode;
use sha2::{Digest as _, Sha256};

pub use file::MalformedManifest;
pub use head::{head, shown_type};

use crate::merkle::{self, Crown, Hash};
use crate::site::{self, Asked, Found, Rules, SEGMENT, Shown};

/// The most entries of a manifest.
pub const ENTRIES_MAX: usize = 1 << 20;
/// The longest key, in bytes. What has a longer path is in no manifest.
pub const KEY_BYTES_MAX: usize = 512;
/// The whole of a redirect's answer.
pub const MOVED: &str = "Moved.\n";

/// What is answered under one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path from the site's root, percent-encoded, beginning with a slash.
    pub key: Box<str>,
    /// The status: 200, 301, 302, 307 or 308.
    pub status: u16,
    /// SHA-256 of the whole answer without content coding.
    pub digest: Hash,
    /// What the head says ([`head`]).
    pub head: Hash,
}

/// The entries of a site, by key in ascending order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
    tree: Crown,
}

/// What a site's manifest and rules say about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// This.
    Entry(&'a Entry),
    /// That there is nothing: 404, or what the site shows for it.
    Absent,
    /// Nothing that can be signed.
    Nothing,
}

impl Manifest {
    /// Orders the entries; of several with one key the first stays.
    ///
    /// # Errors
    /// [`ManifestError::TooMany`] over [`ENTRIES_MAX`].
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, ManifestError> {
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        entries.dedup_by(|later, earlier| later.key == earlier.key);
        Self::of_ordered(entries)
    }

    fn of_ordered(entries: Vec<Entry>) -> Result<Self, ManifestError> {
        if entries.len() > ENTRIES_MAX {
            return Err(ManifestError::TooMany);
        }
        let tree = Crown::new(entries.iter().map(Entry::leaf));
        Ok(Self { tree, entries })
    }

    /// The root of the tree over its entries.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The entries in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of a key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(self.place(key).ok()?)
    }

    /// Where a key stands, or else would stand.
    ///
    /// # Errors
    /// The place before which it is not there.
    pub fn place(&self, key: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| (*entry.key).cmp(key))
    }

    /// The hashes that stand beside the way from the entry at `at` up to the root ([`merkle::root_over`]).
    pub fn beside(&self, at: usize) -> Vec<Hash> {
        self.tree.beside(at, |at| self.entries.get(at).map(Entry::leaf))
    }

    /// The two neighbours between which a key would stand, which prove that it is not there; `None` if it is.
    pub fn between(&self, key: &str) -> Option<(Option<&Entry>, Option<&Entry>)> {
        let at = self.place(key).err()?;
        let before = at.checked_sub(1).and_then(|at| self.entries.get(at));
        Some((before, self.entries.get(at)))
    }

    /// What is to be answered under a path, by the site's own rules where the path names nothing.
    pub fn says(&self, rules: &Rules, asked: &Asked<'_>) -> Said<'_> {
        let Some(key) = key(asked.segments, asked.slash) else { return Said::Nothing };
        if let Some(entry) = self.get(&key) {
            return Said::Entry(entry);
        }
        match site::head(rules, asked, Found::Absent).map(|head| (head.status, head.shown)) {
            Ok((200, Shown::Page { segments, .. })) => self.page(&segments).map_or(Said::Nothing, Said::Entry),
            Ok((404, _)) => Said::Absent,
            _ => Said::Nothing,
        }
    }

    /// The file at these names, or the index of the directory there.
    pub fn page(&self, segments: &[String]) -> Option<&Entry> {
        let shown = |slash| self.get(&key(segments, slash)?).filter(|entry| entry.status == 200);
        shown(false).or_else(|| shown(true))
    }

    /// About how much memory it takes.
    pub fn memory_bytes(&self) -> usize {
        let entries = self.entries.iter().map(|entry| size_of::<Entry>().saturating_add(entry.key.len()));
        self.tree.memory_bytes().saturating_add(entries.sum())
    }
}

impl Entry {
    /// The hash of its leaf.
    pub(crate) fn leaf(&self) -> Hash {
        let len = u16::try_from(self.key.len()).unwrap_or(u16::MAX).to_be_bytes();
        merkle::leaf(&[&len, self.key.as_bytes(), &self.status.to_be_bytes(), &self.digest, &self.head])
    }
}

/// The key of a path: its names, decoded, and whether it ends with a slash, as the root does; `None` if it is over
/// [`KEY_BYTES_MAX`].
pub fn key(segments: &[impl AsRef<str>], slash: bool) -> Option<String> {
    let mut key = String::new();
    for segment in segments {
        // Writing to a string does not fail.
        let _ = write!(key, "/{}", utf8_percent_encode(segment.as_ref(), SEGMENT));
        if key.len() > KEY_BYTES_MAX {
            return None;
        }
    }
    if slash || key.is_empty() {
        key.push('/');
    }
    (key.len() <= KEY_BYTES_MAX).then_some(key)
}

/// Whether a text can be a key: printable ASCII that begins with a slash.
pub fn is_key(text: &str) -> bool {
    text.len() <= KEY_BYTES_MAX && text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a redirect of that status can stand in a manifest.
pub fn is_listed_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 307 | 308)
}

/// SHA-256 of some bytes.
pub fn digest(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Why there is no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Over [`ENTRIES_MAX`].
    #[error("the site has more than {ENTRIES_MAX} paths")]
    TooMany,
}

#[cfg(test)]
mod tests;
