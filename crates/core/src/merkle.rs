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

/// How many hashes stand beside the way from a leaf up to the root.
pub fn height(leaves: u64) -> usize {
    leaves.checked_next_power_of_two().map_or(64, |full| full.trailing_zeros() as usize)
}

/// The root of the tree in which a leaf stands at `at`, beside these hashes from below.
pub fn root_over(leaf: Hash, at: u64, beside: &[Hash]) -> Hash {
    let step = |(own, at): (Hash, u64), beside: &Hash| {
        (if at.is_multiple_of(2) { node(&own, beside) } else { node(beside, &own) }, at / 2)
    };
    beside.iter().fold((leaf, at), step).0
}

/// The upper nodes of a tree, by which any leaf is proved without hashing them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crown {
    /// From the nodes over [`Crown::SPAN`] leaves each up to the root; none without leaves.
    levels: Vec<Vec<Hash>>,
    leaves: usize,
}

impl Crown {
    /// The leaves below each of the lowest nodes that are kept.
    pub const SPAN: usize = 1 << Self::LOWEST;
    const LOWEST: usize = 8;

    /// Of leaves, hashed already.
    pub fn new(leaves: impl ExactSizeIterator<Item = Hash>) -> Self {
        let count = leaves.len();
        let (mut lowest, mut waiting) = (Vec::new(), Vec::with_capacity(count.min(Self::SPAN)));
        for leaf in leaves {
            waiting.push(leaf);
            if waiting.len() == Self::SPAN {
                lowest.extend(rise(&waiting, 0, Self::LOWEST).1);
                waiting.clear();
            }
        }
        if !waiting.is_empty() {
            lowest.extend(rise(&waiting, 0, Self::below(count)).1);
        }
        if lowest.is_empty() {
            return Self::default();
        }
        let mut levels = vec![lowest];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let next = above(level, &padding(Self::LOWEST.saturating_add(levels.len()).saturating_sub(1)));
            levels.push(next);
        }
        Self { levels, leaves: count }
    }

    /// The root; [`NO_LEAF`] without leaves.
    pub fn root(&self) -> Hash {
        self.levels.last().and_then(|top| top.first()).copied().unwrap_or(NO_LEAF)
    }

    /// The hashes beside the way from the leaf at `at` up to the root; none of a leaf that is not there. `leaf` hashes those near it.
    pub fn beside(&self, at: usize, leaf: impl Fn(usize) -> Option<Hash>) -> Vec<Hash> {
        if at >= self.leaves {
            return Vec::new();
        }
        let first = at / Self::SPAN * Self::SPAN;
        let near: Vec<Hash> = (first..first.saturating_add(Self::SPAN).min(self.leaves)).filter_map(leaf).collect();
        let (mut beside, _) = rise(&near, at.saturating_sub(first), Self::below(self.leaves));
        let mut at = at / Self::SPAN;
        for (number, level) in self.levels.iter().enumerate().take(self.levels.len().saturating_sub(1)) {
            let filling = || padding(Self::LOWEST.saturating_add(number));
            beside.push(level.get(at ^ 1).copied().unwrap_or_else(filling));
            at /= 2;
        }
        beside
    }

    /// About how much memory it takes.
    pub fn memory_bytes(&self) -> usize {
        self.levels.iter().map(|level| level.len().saturating_mul(size_of::<Hash>())).sum()
    }

    /// The levels below the lowest that is kept, in a tree of so many leaves.
    fn below(leaves: usize) -> usize {
        height(leaves as u64).min(Self::LOWEST)
    }
}

/// What stands beside the way from the node at `at` of the lowest level over so many levels, and what is at its end.
fn rise(leaves: &[Hash], mut at: usize, levels: usize) -> (Vec<Hash>, Option<Hash>) {
    let (mut level, mut beside, mut padding) = (leaves.to_vec(), Vec::with_capacity(levels), NO_LEAF);
    for _ in 0..levels {
        beside.push(level.get(at ^ 1).copied().unwrap_or(padding));
        level = above(&level, &padding);
        (at, padding) = (at / 2, node(&padding, &padding));
    }
    (beside, level.get(at).copied())
}

/// The level above one.
fn above(level: &[Hash], padding: &Hash) -> Vec<Hash> {
    let pairs = level.chunks(2).filter_map(|pair| Some(node(pair.first()?, pair.get(1).unwrap_or(padding))));
    pairs.collect()
}

/// What stands at a level, counted from the leaves, where there is nothing below.
fn padding(level: usize) -> Hash {
    (0..level).fold(NO_LEAF, |below, _| node(&below, &below))
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

    #[test]
    fn any_leaf_is_proved_by_what_stands_beside_its_way() {
        for count in [1_usize, 2, 3, 5, 255, 256, 257, 511, 512, 513, 1000, 1024, 1025] {
            let leaves: Vec<Hash> = (0..count).map(|number| leaf(&[&number.to_be_bytes()])).collect();
            let crown = Crown::new(leaves.iter().copied());
            let root = by_definition(&leaves);
            assert_eq!(crown.root(), root, "{count}");
            for (at, own) in leaves.iter().enumerate() {
                let beside = crown.beside(at, |at| leaves.get(at).copied());
                assert_eq!(beside.len(), height(count as u64), "{count}");
                assert_eq!(root_over(*own, at as u64, &beside), root, "{at} of {count}");
                // With one leaf there is one place.
                assert!(count == 1 || root_over(*own, at as u64 ^ 1, &beside) != root, "{at} of {count}, elsewhere");
                assert_ne!(root_over(leaf(&[b"another"]), at as u64, &beside), root);
            }
            assert!(crown.beside(count, |at| leaves.get(at).copied()).is_empty());
        }
        assert_eq!(Crown::new(std::iter::empty::<Hash>().collect::<Vec<_>>().into_iter()).root(), NO_LEAF);
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
