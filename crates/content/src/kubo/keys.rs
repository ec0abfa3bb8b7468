//! The keys of a repository: `keystore/key_NAME`, and the identity in `config`. Secrets are handed on, never logged; a crash
//! loses nothing.

use std::fmt;
use std::path::Path;

use data_encoding::{BASE32_NOPAD, BASE64};
use serde::Deserialize;

use super::{KuboError, list, read_small};

/// A key of a repository.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// What Kubo calls it; `self` is the identity.
    pub name: String,
    /// What it is.
    pub kind: KeyKind,
}

/// The kinds of keys.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// The seed of an Ed25519 key.
    Ed25519([u8; 32]),
    /// RSA and whatever else is not used here.
    Other,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == KeyKind::Other { "other" } else { "Ed25519" };
        f.debug_struct("Key").field("name", &self.name).field("kind", &kind).finish()
    }
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "Identity", default)]
    identity: Identity,
}

#[derive(Default, Deserialize)]
struct Identity {
    #[serde(rename = "PrivKey", default)]
    private: String,
}

pub(super) fn read(dir: &Path) -> Result<Vec<Key>, KuboError> {
    let mut keys = Vec::new();
    let path = dir.join("config");
    let config = serde_json::from_slice::<Config>(&read_small(&path)?);
    let config = config.map_err(|error| KuboError::io(&path, error.into()))?;
    if let Ok(bytes) = BASE64.decode(config.identity.private.as_bytes())
        && !bytes.is_empty()
    {
        keys.push(Key { name: "self".to_owned(), kind: kind(&bytes) });
    }
    let keystore = dir.join("keystore");
    if keystore.is_dir() {
        for file in list(&keystore)? {
            if let Some(name) = name_of(&file) {
                keys.push(Key { name, kind: kind(&read_small(&file)?) });
            }
        }
    }
    keys.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(keys)
}

/// The name that a file of the keystore stands for: base32 in small letters.
fn name_of(file: &Path) -> Option<String> {
    let encoded = file.file_name()?.to_str()?.strip_prefix("key_")?.to_ascii_uppercase();
    String::from_utf8(BASE32_NOPAD.decode(encoded.as_bytes()).ok()?).ok()
}

/// Reads the protobuf of a libp2p private key: a kind, and for Ed25519 the seed and the public key (libp2p peer ids spec,
/// "Keys").
fn kind(bytes: &[u8]) -> KeyKind {
    const ED25519: [u8; 4] = [0x08, 0x01, 0x12, 0x40];
    let seed = bytes.strip_prefix(&ED25519).filter(|key| key.len() == 64).and_then(|key| key.first_chunk());
    seed.map_or(KeyKind::Other, |seed| KeyKind::Ed25519(*seed))
}
