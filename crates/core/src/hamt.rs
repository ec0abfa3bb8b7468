//! HAMT directories: a trie over the MurmurHash3 of each name, one block per node (specs.ipfs.tech/unixfs, "HAMT").
//!
//! [`Shard`] is a decoded node, [`NameHash`] the path of a name through the trie, [`build`] the encoder. Nothing is kept,
//! a crash loses nothing.

use bytes::Bytes;

use crate::block::{Block, BlockError, Cid, Version};
use crate::dagpb::Link;
use crate::unixfs::{self, Meta};

/// Multihash code of MurmurHash3 x64, first 64 bits: the only hash that UnixFS defines.
pub const MURMUR3_X64_64: u64 = 0x22;
/// The widest node that is accepted (UnixFS spec).
pub const FANOUT_MAX: u64 = 1024;
/// The width of the nodes that are written (IPIP-499, `unixfs-v1-2025`).
pub const FANOUT: u64 = 256;

/// A decoded node of the trie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard<'a> {
    /// Links in order of their slots; names begin with the slot in hexadecimal.
    links: Vec<Link<'a>>,
    /// Bits of the hash that one level takes, 3 to 10.
    bits: u32,
    /// Digits of the slot in each name, 1 to 3.
    prefix_len: usize,
    /// What the node says beside its content.
    pub meta: Meta,
}

/// What stands at a link of a [`Shard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot<'a> {
    /// The next node of the trie.
    Shard(Cid),
    /// An entry of the directory, with its name.
    Entry(Link<'a>),
}

impl<'a> Shard<'a> {
    /// Checks the parts of a node against each other.
    pub(crate) fn assemble(
        fanout: u64,
        hash_type: Option<u64>,
        bitfield: &[u8],
        links: Vec<Link<'a>>,
        meta: Meta,
    ) -> Result<Self, HamtError> {
        if !fanout.is_power_of_two() || !(8..=FANOUT_MAX).contains(&fanout) {
            return Err(HamtError::Fanout(fanout));
        }
        if hash_type != Some(MURMUR3_X64_64) {
            return Err(HamtError::HashType(hash_type.unwrap_or(0)));
        }
        let shard = Self { links, bits: fanout.trailing_zeros(), prefix_len: prefix_len(fanout), meta };
        if bitfield.len() as u64 > fanout / 8 {
            return Err(HamtError::Bitfield);
        }
        let mut links = shard.links.iter();
        for slot in set_bits(bitfield) {
            let link = links.next().ok_or(HamtError::Bitfield)?;
            if shard.slot_of(link)? != slot {
                return Err(HamtError::Bitfield);
            }
        }
        if links.next().is_some() { Err(HamtError::Bitfield) } else { Ok(shard) }
    }

    /// What stands where `name` would, given how much of the hash the nodes above took. `None` says that no entry of
    /// that name exists. An entry that is returned does have that name.
    ///
    /// # Errors
    /// [`HamtError::TooDeep`] if the hash is used up.
    pub fn find(&self, name: &str, hash: &mut NameHash) -> Result<Option<Slot<'a>>, HamtError> {
        let wanted = hash.take(self.bits)?;
        // Slots ascend, which decoding checked.
        let at = self.links.binary_search_by_key(&wanted, |link| self.slot_of(link).unwrap_or(u64::MAX));
        let Some(link) = at.ok().and_then(|at| self.links.get(at)) else { return Ok(None) };
        Ok(match self.slot(link) {
            Slot::Entry(entry) if entry.name() != name => None,
            slot => Some(slot),
        })
    }

    /// Everything in this node, in order.
    pub fn slots(&self) -> impl Iterator<Item = Slot<'a>> + '_ {
        self.links.iter().map(|link| self.slot(link))
    }

    /// Everything in this node, in order, each with its place in the trie when this node stands at `path`.
    ///
    /// # Errors
    /// [`HamtError::TooDeep`] if the hash is used up.
    pub fn placed(&self, path: &SlotPath) -> Result<Vec<(SlotPath, Slot<'a>)>, HamtError> {
        let place = |link| Ok((path.below(self.slot_of(link)?, self.bits)?, self.slot(link)));
        self.links.iter().map(place).collect()
    }

    fn slot(&self, link: &Link<'a>) -> Slot<'a> {
        match link.name().get(self.prefix_len..) {
            Some(name) if !name.is_empty() => Slot::Entry(Link { name: Some(name), ..*link }),
            _ => Slot::Shard(link.cid),
        }
    }

    /// The number in front of a name: upper-case hexadecimal, padded with zeros.
    fn slot_of(&self, link: &Link<'_>) -> Result<u64, HamtError> {
        let prefix = link.name().get(..self.prefix_len).ok_or(HamtError::Prefix)?;
        if !prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')) {
            return Err(HamtError::Prefix);
        }
        u64::from_str_radix(prefix, 16).map_err(|_| HamtError::Prefix)
    }
}

/// The hash of a name, and how many of its bits were taken on the way down.
#[derive(Clone, Copy, Debug)]
pub struct NameHash {
    hash: u64,
    taken: u32,
}

impl NameHash {
    /// The hash of `name`, nothing taken.
    pub fn new(name: &str) -> Self {
        // Reading from memory cannot fail. The first half of the hash is the lower of the number.
        let hash = murmur3::murmur3_x64_128(&mut name.as_bytes(), 0).unwrap_or_default().to_le_bytes();
        let (&first, _) = hash.split_first_chunk().unwrap_or((&[0; 8], &[]));
        Self { hash: u64::from_le_bytes(first), taken: 0 }
    }

    /// The next `bits` bits, from the highest down.
    fn take(&mut self, bits: u32) -> Result<u64, HamtError> {
        let left = 64_u32.checked_sub(self.taken + bits).ok_or(HamtError::TooDeep)?;
        self.taken += bits;
        // Shifts of 64 are none that Rust allows.
        let mask = u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0);
        Ok(self.hash.checked_shr(left).unwrap_or(0) & mask)
    }
}

/// An entry of a directory that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, neither empty nor with a slash.
    pub name: Box<str>,
    /// What it names.
    pub cid: Cid,
    /// The bytes of all blocks below, counting repeats.
    pub tsize: u64,
}

impl Entry {
    /// The entry as a link under its own name.
    pub fn link(&self) -> Link<'_> {
        Link::new(self.cid, &self.name, self.tsize)
    }
}

/// Builds the trie of a directory bottom up, handing each block to `sink` (children before parents), and returns the CID
/// and the `Tsize` of its root. CIDs are of `version`. Names must be unique. Takes memory for the hashes, and for one node per level.
///
/// # Errors
/// What `sink` says, or [`HamtError::TooDeep`] if two names have the same hash.
pub fn build<E: From<HamtError>>(
    entries: &[Entry],
    version: Version,
    sink: &mut impl FnMut(Block) -> Result<(), E>,
) -> Result<(Cid, u64), E> {
    let mut hashed: Vec<_> = entries.iter().map(|entry| (NameHash::new(&entry.name).hash, entry)).collect();
    hashed.sort_unstable_by_key(|(hash, _)| *hash);
    build_node(&hashed, 0, version, sink)
}

/// Builds the node of entries whose hashes share the first `taken` bits.
fn build_node<E: From<HamtError>>(
    entries: &[(u64, &Entry)],
    taken: u32,
    version: Version,
    sink: &mut impl FnMut(Block) -> Result<(), E>,
) -> Result<(Cid, u64), E> {
    let bits = FANOUT.trailing_zeros();
    let slot_of = |hash: u64| NameHash { hash, taken }.take(bits);
    if taken + bits > u64::BITS {
        return Err(HamtError::TooDeep.into());
    }
    let (mut bitfield, mut links) = ([0_u8; (FANOUT / 8) as usize], Vec::new());
    for group in entries.chunk_by(|a, b| slot_of(a.0) == slot_of(b.0)) {
        let [(hash, first), others @ ..] = group else { continue };
        let slot = slot_of(*hash)?;
        if let Some(byte) = bitfield.iter_mut().rev().nth(usize::try_from(slot / 8).unwrap_or(usize::MAX)) {
            *byte |= 1 << (slot % 8);
        }
        let width = prefix_len(FANOUT);
        links.push(if others.is_empty() {
            (format!("{slot:0width$X}{}", first.name), first.cid, first.tsize)
        } else {
            let (cid, tsize) = build_node(group, taken + bits, version, sink)?;
            (format!("{slot:0width$X}"), cid, tsize)
        });
    }
    let zeros = bitfield.iter().take_while(|byte| **byte == 0).count();
    let tsize = links.iter().fold(0_u64, |sum, link| sum.saturating_add(link.2));
    let links = links.iter().map(|(name, cid, tsize)| Link::new(*cid, name, *tsize)).collect();
    let bytes = unixfs::encode_shard(links, bitfield.get(zeros..).unwrap_or_default().to_vec(), FANOUT);
    let block = Block::dag_pb(version, Bytes::from(bytes)).map_err(HamtError::from)?;
    let made = (*block.cid(), tsize.saturating_add(block.bytes().len() as u64));
    sink(block)?;
    Ok(made)
}

/// A place in the trie: the bits with which the hashes of all names below begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotPath {
    bits: u64,
    taken: u32,
}

impl SlotPath {
    /// Whether this is the root, where every name belongs.
    pub fn is_root(&self) -> bool {
        self.taken == 0
    }

    /// Whether `name` belongs here.
    pub fn leads_to(&self, name: &str) -> bool {
        NameHash::new(name).take(self.taken) == Ok(self.bits)
    }

    fn below(&self, slot: u64, bits: u32) -> Result<Self, HamtError> {
        let taken = self.taken + bits;
        if taken > u64::BITS {
            return Err(HamtError::TooDeep);
        }
        Ok(Self { bits: self.bits << bits | slot, taken })
    }
}

/// Digits of the highest slot in hexadecimal.
fn prefix_len(fanout: u64) -> usize {
    (u64::BITS - (fanout - 1).leading_zeros()).div_ceil(4) as usize
}

/// The numbers of the bits that are set: a big-endian number of any length, bit 0 the lowest.
fn set_bits(bitfield: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bitfield
        .iter()
        .rev()
        .enumerate()
        .flat_map(|(at, byte)| (0..8_u64).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| at as u64 * 8 + bit))
}

/// Why a node of a trie is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HamtError {
    /// Not a power of two from 8 to [`FANOUT_MAX`].
    #[error("fan-out {0} is not a power of two from 8 to {FANOUT_MAX}")]
    Fanout(u64),
    /// Another hash function than MurmurHash3.
    #[error("hash function 0x{0:x} is not murmur3-x64-64")]
    HashType(u64),
    /// The bitfield does not say what the links are.
    #[error("bitfield and links do not agree")]
    Bitfield,
    /// A name that does not begin with its slot.
    #[error("a name does not begin with its slot in upper-case hexadecimal")]
    Prefix,
    /// More levels than the hash has bits for.
    #[error("the trie is deeper than its hash")]
    TooDeep,
    /// A node that is written would be over the limit of blocks.
    #[error(transparent)]
    Block(Box<BlockError>),
}

impl From<BlockError> for HamtError {
    fn from(cause: BlockError) -> Self {
        Self::Block(Box::new(cause))
    }
}

#[cfg(test)]
mod tests;
