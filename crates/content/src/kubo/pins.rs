//! The pins of a repository, from its LevelDB: `/pins/pin/ID`, each a CBOR map. Keeps nothing; a crash loses nothing.

use std::path::Path;
use std::rc::Rc;

use atoll_core::Cid;
use rusty_leveldb::{DB, LdbIterator as _, Options};
use serde::Deserialize;

use super::KuboError;
use super::disk::ReadOnly;

/// The most pins that are taken.
pub const PINS_MAX: usize = 65_536;
const PREFIX: &[u8] = b"/pins/pin/";
const FILES_ROOT: &[u8] = b"/local/filesroot";

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The root, or the block.
    pub cid: Cid,
    /// What it keeps.
    pub mode: Mode,
    /// Its name, mostly empty.
    pub name: String,
}

/// What a pin keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All that lies below.
    Recursive,
    /// The one block.
    Direct,
}

/// A pin as it is written.
#[derive(Deserialize)]
struct Record {
    #[serde(with = "serde_bytes")]
    cid: Vec<u8>,
    mode: u64,
    #[serde(default)]
    name: String,
}

/// Reads pins and the root of files.
pub(super) fn read(datastore: &Path) -> Result<(Vec<Pin>, Option<Cid>), KuboError> {
    let failed = |status: rusty_leveldb::Status| KuboError::Datastore(status.to_string());
    let options = Options {
        env: Rc::new(Box::new(ReadOnly::default())),
        create_if_missing: false,
        reuse_logs: false,
        reuse_manifest: false,
        ..Options::default()
    };
    let mut database = DB::open(datastore, options).map_err(failed)?;
    let files = database.get(FILES_ROOT).and_then(|bytes| Cid::try_from(&bytes[..]).ok());
    let mut entries = database.new_iter().map_err(failed)?;
    entries.seek(PREFIX);
    let mut pins = Vec::new();
    while let Some((key, value)) = entries.current().filter(|(key, _)| key.starts_with(PREFIX)) {
        if pins.len() == PINS_MAX {
            return Err(KuboError::TooManyPins);
        }
        let pin = decode(&value).ok_or_else(|| KuboError::Pin(String::from_utf8_lossy(&key).into_owned()))?;
        pins.push(pin);
        if !entries.advance() {
            break;
        }
    }
    Ok((pins, files))
}

fn decode(bytes: &[u8]) -> Option<Pin> {
    let record: Record = serde_ipld_dagcbor::from_slice(bytes).ok()?;
    let mode = match record.mode {
        0 => Mode::Recursive,
        1 => Mode::Direct,
        _ => return None,
    };
    Some(Pin { cid: Cid::try_from(&record.cid[..]).ok()?, mode, name: record.name })
}
