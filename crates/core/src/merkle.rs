//! The hash tree of bundles (`docs/formats.md`, "Bundles"): SHA-256, padded with zeros to a power of two. Pure; a crash loses
//! nothing.

use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// What stands where there is no leaf: no leaf hashes to it, since nobody can make one that does.
pub const NO_LEAF: Hash = [0; 32];

/// Hashes a leaf, its parts one behind the other.
pub fn leaf(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new_with_prefix([0]);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// Hashes two nodes to the one above them.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A tree that grows leaf by leaf, of which only its right edge is kept.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// At each level the full subtree that waits for its sibling.
    edge: Vec<Option<Hash>>,
    leaves: u64,
}

impl Tree {
    /// Adds a leaf, hashed already.
    pub fn push(&mut self, leaf: Hash) {
        self.leaves = self.leaves.saturating_add(1);
        let mut carried = leaf;
        for waiting in &mut self.edge {
            match waiting.take() {
                Some(left) => carried = node(&left, &carried),
                None => {
                    *waiting = Some(carried);
                    return;
                }
            }
        }
        self.edge.push(Some(carried));
    }

    /// How many leaves it has.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The root; [`NO_LEAF`] without leaves.
    pub fn root(&self) -> Hash {
        let (mut above, mut padding) = (None::<Hash>, NO_LEAF);
        let top = self.edge.len().saturating_sub(1);
        for (level, waiting) in self.edge.iter().enumerate() {
            above = match (waiting, above) {
                // The left half of the whole tree is full, and nothing stands right of it.
                (Some(whole), None) if level == top => Some(*whole),
                (Some(left), None) => Some(node(left, &padding)),
                (Some(left), Some(right)) => Some(node(left, &right)),
                (None, Some(left)) => Some(node(&left, &padding)),
                (None, None) => None,
            };
            padding = node(&padding, &padding);
        }
        above.unwrap_or(NO_LEAF)
    }
}

/// The leaf hashes of bytes that come in any parts: each is of [`Bytes::LEAF_BYTES`], the last of what is left.
#[derive(Clone, Debug, Default)]
pub struct Bytes {
    tree: Tree,
    /// What is not a whole leaf yet.
    begun: Vec<u8>,
}

impl Bytes {
    /// How many bytes make a leaf.
    pub const LEAF_BYTES: usize = 256;

    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        if !self.begun.is_empty() {
            let missing = Self::LEAF_BYTES.saturating_sub(self.begun.len());
            let (first, rest) = bytes.split_at(missing.min(bytes.len()));
            self.begun.extend_from_slice(first);
            bytes = rest;
            if self.begun.len() < Self::LEAF_BYTES {
                return;
            }
            self.tree.push(leaf(&[&self.begun]));
            self.begun.clear();
        }
        let mut leaves = bytes.chunks_exact(Self::LEAF_BYTES);
        leaves.by_ref().for_each(|bytes| self.tree.push(leaf(&[bytes])));
        self.begun.extend_from_slice(leaves.remainder());
    }

    /// How many whole leaves there are so far.
    pub fn leaves(&self) -> u64 {
        self.tree.leaves()
    }

    /// The tree of all bytes.
    pub fn finish(mut self) -> Tree {
        if !self.begun.is_empty() {
            self.tree.push(leaf(&[&self.begun]));
        }
        self.tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As it is defined: pad, then hash level by level.
    fn by_definition(leaves: &[Hash]) -> Hash {
        if leaves.is_empty() {
            return NO_LEAF;
        }
        let mut level = leaves.to_vec();
        level.resize(leaves.len().next_power_of_two(), NO_LEAF);
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| node(&pair[0], &pair[1])).collect();
        }
        level[0]
    }

    #[test]
    fn any_number_of_leaves_makes_the_tree_of_the_definition() {
        let leaves: Vec<Hash> = (0..130_u8).map(|number| leaf(&[&[number]])).collect();
        for count in 0..=leaves.len() {
            let mut tree = Tree::default();
            leaves[..count].iter().for_each(|leaf| tree.push(*leaf));
            assert_eq!((tree.root(), tree.leaves()), (by_definition(&leaves[..count]), count as u64), "{count}");
        }
    }

    proptest! {
        #[test]
        fn the_cuts_of_bytes_do_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..3000), cut in 1_usize..700) {
            let mut parted = Bytes::default();
            bytes.chunks(cut).for_each(|part| parted.push(part));
            let leaves: Vec<Hash> = bytes.chunks(Bytes::LEAF_BYTES).map(|bytes| leaf(&[bytes])).collect();
            prop_assert_eq!(parted.finish().root(), by_definition(&leaves));
        }
    }
}
