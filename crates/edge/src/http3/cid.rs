//! Connection ids that tell who made them: so that of two processes with one socket each datagram finds its own. A crash loses nothing.

use quinn::ConnectionId;
use sha2::{Digest as _, Sha256};

/// Bytes of an id: half of them random, half what shows whose it is.
const ID_BYTES: usize = 8;
const HALF: usize = ID_BYTES / 2;

/// By which a process knows its own ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key([u8; 16]);

impl Key {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    /// As text, for the next process.
    pub(crate) fn to_text(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    /// Of text.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(|key| Self(key.to_be_bytes()))
    }

    fn shown(&self, random: &[u8]) -> [u8; HALF] {
        let digest = Sha256::new().chain_update(self.0).chain_update(random).finalize();
        let mut shown = [0; HALF];
        shown.iter_mut().zip(digest).for_each(|(place, byte)| *place = byte);
        shown
    }

    fn is_of(&self, id: &[u8]) -> bool {
        id.len() == ID_BYTES && id.split_at_checked(HALF).is_some_and(|(random, shown)| self.shown(random) == shown)
    }

    /// Whether a datagram is for a connection of whoever has this key (RFC 8999, section 5).
    pub(crate) fn is_for(&self, datagram: &[u8]) -> bool {
        let id = match datagram {
            [first, _, _, _, _, len, rest @ ..] if first & 0x80 != 0 => rest.get(..usize::from(*len)),
            [first, rest @ ..] if first & 0x80 == 0 => rest.get(..ID_BYTES),
            _ => None,
        };
        id.is_some_and(|id| self.is_of(id))
    }
}

/// Makes ids.
pub(crate) struct Ids(pub(crate) Key);

impl quinn::ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        let (random, shown) = id.split_at_mut(HALF);
        // Ids that repeat are made once more by who asks for them; without randomness they would be guessed, not wrong.
        let _ = getrandom::fill(random);
        shown.copy_from_slice(&self.0.shown(random));
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use quinn::ConnectionIdGenerator as _;

    use super::*;

    #[test]
    fn a_process_knows_its_own_and_no_others() {
        let (mine, other) = (Key::random().unwrap(), Key::random().unwrap());
        assert_eq!(Key::of_text(&mine.to_text()), Some(mine));
        let id = Ids(mine).generate_cid();
        let short = [&[0x40][..], &id, &[7; 30]].concat();
        let long = [&[0xe0, 0, 0, 0, 1, 8][..], &id, &[7; 30]].concat();
        for datagram in [&short, &long] {
            assert!(mine.is_for(datagram));
            assert!(!other.is_for(datagram));
        }
        // What a client made up itself, and what is cut off.
        assert!(!mine.is_for(&[&[0xc0, 0, 0, 0, 1, 8][..], &[9; 40]].concat()));
        for end in 0..9 {
            assert!(!mine.is_for(&short[..end]));
        }
        assert!(!mine.is_for(&[0xc0, 0, 0, 0, 1, 255, 1, 2]));
    }
}
