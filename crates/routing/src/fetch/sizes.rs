//! How large the blocks of each DAG are, as far as they were seen. Lost upon a restart, and seen again.

use std::collections::HashMap;
use std::sync::Mutex;

use atoll_core::Cid;

use super::lock;

/// The most DAGs that are remembered.
const DAGS_MAX: usize = 1024;
/// Blocks up to this size are small: their bytes are received and hashed in some 50 microseconds.
pub(super) const SMALL_BYTES: usize = 32 * 1024;

/// The usual size of the blocks of each DAG, smoothed so that a few nodes with many links between leaves do not count for much.
#[derive(Default)]
pub(super) struct Sizes {
    usual: Mutex<HashMap<Cid, usize>>,
}

impl Sizes {
    /// A block of `root`'s DAG has so many bytes.
    pub(super) fn saw(&self, root: Option<Cid>, bytes: usize) {
        let Some(root) = root else { return };
        let mut all = lock(&self.usual);
        // Whoever is forgotten is seen again with its next block.
        if all.len() >= DAGS_MAX && !all.contains_key(&root) {
            all.clear();
        }
        let usual = all.entry(root).or_insert(bytes);
        *usual = usual.saturating_mul(3).saturating_add(bytes) / 4;
    }

    /// Whether the usual block of `root`'s DAG is small; not as long as none was seen.
    pub(super) fn are_small(&self, root: &Cid) -> bool {
        lock(&self.usual).get(root).is_some_and(|usual| *usual <= SMALL_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::Block;
    use atoll_core::block::RAW;

    use super::*;

    fn root(index: usize) -> Cid {
        *Block::sha2_256(RAW, index.to_be_bytes().to_vec().into()).unwrap().cid()
    }

    #[test]
    fn a_few_leaves_tell_what_is_usual() {
        let (sizes, root) = (Sizes::default(), root(0));
        assert!(!sizes.are_small(&root));
        sizes.saw(Some(root), 60 * 1024);
        assert!(!sizes.are_small(&root));
        (0..4).for_each(|_| sizes.saw(Some(root), 4096));
        assert!(sizes.are_small(&root));
        sizes.saw(Some(root), 1024 * 1024);
        assert!(!sizes.are_small(&root));
    }

    #[test]
    fn it_is_bounded() {
        let sizes = Sizes::default();
        (0..=DAGS_MAX).for_each(|index| sizes.saw(Some(root(index)), 1));
        assert!(lock(&sizes.usual).len() <= DAGS_MAX && sizes.are_small(&root(DAGS_MAX)));
    }
}
