//! A distributed hash table as far as providing needs it: where keys and peers lie, who is near, and telling them (Kademlia;
//! specs.ipfs.tech/routing/kad-dht).
//!
//! Nothing is kept, a crash loses nothing.

use std::fmt;
use std::sync::Arc;

use multiaddr::Multiaddr;
use sha2::{Digest as _, Sha256};

use crate::blocks::BoxFuture;
use crate::id::PeerId;

/// How many peers are told of a key, and named by a lookup (Kademlia's k, the replication of the IPFS DHT).
pub const K: usize = 20;
/// Bits of a place.
pub const BITS: u32 = 256;

/// A key of the DHT before it is hashed: a multihash, in its binary form.
pub type Key = Arc<[u8]>;

/// Where a key or a peer lies: the SHA-256 of its bytes. Places are ordered as numbers, the first bit counts most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub [u8; 32]);

impl Place {
    /// That of a key, or of the bytes of a peer id.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// How far two places are from each other: their bits, one by one different or not, read as a number.
    pub fn distance(&self, other: &Self) -> Self {
        let mut bits = self.0;
        for (bit, other) in bits.iter_mut().zip(other.0) {
            *bit ^= other;
        }
        Self(bits)
    }

    /// How many bits both begin with.
    pub fn common(&self, other: &Self) -> u32 {
        let mut all = 0;
        for (one, other) in self.0.iter().zip(other.0) {
            let same = (one ^ other).leading_zeros();
            all += same;
            if same < 8 {
                break;
            }
        }
        all
    }

    /// The first 64 bits.
    pub fn head(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// This place with the bit at `at` turned over, counted from the first; unchanged past the end.
    pub fn flipped(mut self, at: u32) -> Self {
        if let Some(byte) = self.0.get_mut(at as usize / 8) {
            *byte ^= 0x80 >> (at % 8);
        }
        self
    }

    /// This place with all bits from `len` on set to `to`.
    fn filled(mut self, len: u32, to: bool) -> Self {
        for (at, byte) in self.0.iter_mut().enumerate() {
            let kept = len.saturating_sub(u32::try_from(at * 8).unwrap_or(u32::MAX)).min(8);
            let rest = 0xff_u8.checked_shr(kept).unwrap_or(0);
            *byte = if to { *byte | rest } else { *byte & !rest };
        }
        self
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({:016x}…)", self.head())
    }
}

/// All places that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    first: Place,
    len: u32,
}

impl Prefix {
    /// Every place.
    pub const ALL: Self = Self { first: Place([0; 32]), len: 0 };

    /// Those that begin with the first `len` bits of `place`.
    pub fn new(place: &Place, len: u32) -> Self {
        let len = len.min(BITS);
        Self { first: place.filled(len, false), len }
    }

    /// How many bits are the same.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether it is [`Prefix::ALL`].
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first of its places.
    pub fn first(&self) -> Place {
        self.first
    }

    /// The last of its places.
    pub fn last(&self) -> Place {
        self.first.filled(self.len, true)
    }

    /// Whether a place is among them.
    pub fn contains(&self, place: &Place) -> bool {
        self.first.common(place) >= self.len
    }

    /// Those with one bit less; `None` of [`Prefix::ALL`].
    pub fn parent(&self) -> Option<Self> {
        Some(Self::new(&self.first, self.len.checked_sub(1)?))
    }

    /// The other half of [`Prefix::parent`].
    pub fn sibling(&self) -> Option<Self> {
        Some(Self { first: self.first.flipped(self.len.checked_sub(1)?), len: self.len })
    }
}

/// A peer that keeps records for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhtPeer {
    /// Who.
    pub id: PeerId,
    /// Where it is said to be.
    pub addresses: Vec<Multiaddr>,
}

/// Looks peers up, and tells them what this node provides.
pub trait Dht: Send + Sync + 'static {
    /// The peers nearest to the place of `key` that answer, at most [`K`], without this node. Fewer are all that there are;
    /// none when nobody is known.
    fn closest<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Vec<DhtPeer>>;

    /// Tells a peer that this node provides `keys`, and asks it back for one of them; whether it names this node then.
    fn tell<'a>(&'a self, peer: &'a DhtPeer, keys: &'a [Key]) -> BoxFuture<'a, bool>;
}

/// Knows nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopDht;

impl Dht for NoopDht {
    fn closest<'a>(&'a self, _key: &'a [u8]) -> BoxFuture<'a, Vec<DhtPeer>> {
        Box::pin(async { Vec::new() })
    }

    fn tell<'a>(&'a self, _peer: &'a DhtPeer, _keys: &'a [Key]) -> BoxFuture<'a, bool> {
        Box::pin(async { false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_contain_what_begins_with_them() {
        let place = Place::of(b"calm");
        for len in [0, 1, 7, 8, 9, 31, 255, 256] {
            let prefix = Prefix::new(&place, len);
            assert!(prefix.contains(&place) && prefix.first() <= place && place <= prefix.last(), "{len}");
            assert!(prefix.contains(&prefix.last()));
            assert_eq!(len == 0, prefix.sibling().is_none());
            if let (Some(sibling), Some(parent)) = (prefix.sibling(), prefix.parent()) {
                assert!(!sibling.contains(&place) && parent.contains(&sibling.first()));
                assert!(sibling.contains(&place.flipped(len - 1)));
                assert_eq!(place.common(&place.flipped(len - 1)), len - 1);
            }
        }
        assert_eq!(place.distance(&place), Place([0; 32]));
        assert_eq!(place.common(&place), BITS);
        assert_eq!(Prefix::ALL.last(), Place([0xff; 32]));
    }
}
