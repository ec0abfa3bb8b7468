//! The records of a pack: what a block and a pin look like on disk (docs/formats.md, "Packs"). Pure; holds no state.

use atoll_core::Cid;
use atoll_core::block::{BLOCK_BYTES_MAX, Multihash};

/// Mixed into every record's checksum, so that bytes inside a block cannot pass for a record.
pub(crate) type Salt = [u8; 8];

/// Bytes of a record before its key.
pub(crate) const PREFIX_BYTES: usize = 10;
/// The longest key of a record, in bytes: its length is one byte.
const KEY_BYTES_MAX: usize = 255;
/// The longest name of a pin, in bytes.
pub const PIN_NAME_BYTES_MAX: usize = 255;
/// The most bytes that tell what a record is: all of a pin, and all of a block but its data.
pub(crate) const HEAD_BYTES_MAX: usize = PREFIX_BYTES + KEY_BYTES_MAX + PIN_NAME_BYTES_MAX;

const BLOCK: u8 = 1;
const PIN: u8 = 2;
const UNPIN: u8 = 3;

/// Why a DAG is kept. A DAG pinned under several names is kept until the last of them is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin {
    /// The root of the DAG.
    pub cid: Cid,
    /// The reason, at most [`PIN_NAME_BYTES_MAX`] bytes.
    pub name: String,
}

/// A record as far as its head tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A block; `len` bytes of data follow the head.
    Block { hash: Multihash, len: u32 },
    /// A pin that is set (`on`) or taken away.
    Pin { pin: Pin, on: bool },
}

impl Record {
    /// Reads the record that `bytes` begin with; the data of a block need not be there. `None` when there is none.
    pub(crate) fn parse(salt: &Salt, bytes: &[u8]) -> Option<Self> {
        let (prefix, rest) = bytes.split_first_chunk::<PREFIX_BYTES>()?;
        let [c0, c1, c2, c3, kind, key_len, l0, l1, l2, l3] = *prefix;
        let len = u32::from_be_bytes([l0, l1, l2, l3]);
        let (key, rest) = rest.split_at_checked(usize::from(key_len))?;
        let data = match kind {
            BLOCK if len as usize <= BLOCK_BYTES_MAX => &[],
            PIN | UNPIN if len as usize <= PIN_NAME_BYTES_MAX => rest.get(..len as usize)?,
            _ => return None,
        };
        if checksum(salt, &prefix[4..], key, data) != u32::from_be_bytes([c0, c1, c2, c3]) {
            return None;
        }
        if kind == BLOCK {
            return Some(Self::Block { hash: Multihash::from_bytes(key).ok()?, len });
        }
        let pin = Pin { cid: Cid::try_from(key).ok()?, name: String::from_utf8(data.to_vec()).ok()? };
        // A CID with bytes behind it would read as the same CID, and two records as one pin.
        (pin.cid.to_bytes() == key).then_some(Self::Pin { pin, on: kind == PIN })
    }

    /// Appends the record to `out`, without the data of a block.
    pub(crate) fn encode(&self, salt: &Salt, out: &mut Vec<u8>) {
        match self {
            Self::Block { hash, len } => encode(salt, out, BLOCK, &hash.to_bytes(), *len, &[]),
            Self::Pin { pin, on } => {
                let kind = if *on { PIN } else { UNPIN };
                let name = pin.name.as_bytes();
                encode(salt, out, kind, &pin.cid.to_bytes(), u32::try_from(name.len()).unwrap_or(u32::MAX), name);
            }
        }
    }

    /// All bytes of the record, data included.
    pub(crate) fn bytes(&self) -> u64 {
        let (key, data) = match self {
            Self::Block { hash, len } => (hash.encoded_len(), *len as usize),
            Self::Pin { pin, .. } => (pin.cid.encoded_len(), pin.name.len()),
        };
        (PREFIX_BYTES.saturating_add(key).saturating_add(data)) as u64
    }
}

/// Bytes of a block's record before its data.
pub(crate) fn block_head_bytes(hash: &Multihash) -> u64 {
    (PREFIX_BYTES.saturating_add(hash.encoded_len())) as u64
}

fn encode(salt: &Salt, out: &mut Vec<u8>, kind: u8, key: &[u8], len: u32, data: &[u8]) {
    let mut tail = [kind, u8::try_from(key.len()).unwrap_or(u8::MAX), 0, 0, 0, 0];
    tail[2..].copy_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&checksum(salt, &tail, key, data).to_be_bytes());
    out.extend_from_slice(&tail);
    out.extend_from_slice(key);
    out.extend_from_slice(data);
}

/// CRC-32 (IEEE 802.3) over the salt and all of the head behind the checksum itself.
fn checksum(salt: &Salt, tail: &[u8], key: &[u8], data: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for part in [salt, tail, key, data] {
        crc.update(part);
    }
    crc.finalize()
}
