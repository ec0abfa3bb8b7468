//! Walking a DAG: the account of what has arrived of it, and what is still wanted. Lost with the pull that keeps it.

use std::collections::HashSet;

use atoll_core::links::links;
use atoll_core::{Block, Cid};

use crate::error::PullError;

/// The most blocks of one DAG that a pull keeps account of.
pub(crate) const DAG_BLOCKS_MAX: usize = 1 << 20;

/// What a pull has seen of a DAG, and what it still wants.
///
/// Only blocks that something verified links to are wanted, so a stranger cannot fill the store with others.
#[derive(Debug)]
pub(crate) struct Walk {
    stack: Vec<Cid>,
    wanted: HashSet<Cid>,
    seen: HashSet<Cid>,
    bytes: u64,
    quota: u64,
}

impl Walk {
    /// Wants `root`, and in all at most `quota` bytes.
    pub(crate) fn new(root: Cid, quota: u64) -> Self {
        Self { stack: vec![root], wanted: HashSet::from([root]), seen: HashSet::from([root]), bytes: 0, quota }
    }

    /// Takes the next wanted block, depth first.
    pub(crate) fn next(&mut self) -> Option<Cid> {
        while let Some(cid) = self.stack.pop() {
            if self.wanted.remove(&cid) {
                return Some(cid);
            }
        }
        None
    }

    /// Whether `cid` is wanted; it no longer is afterwards.
    pub(crate) fn take(&mut self, cid: &Cid) -> bool {
        self.wanted.remove(cid)
    }

    /// Wants `cid` again.
    pub(crate) fn again(&mut self, cid: Cid) {
        self.seen.insert(cid);
        self.wanted.insert(cid);
        self.stack.push(cid);
    }

    /// Counts a block that was taken, and wants what it links to.
    pub(crate) fn arrived(&mut self, block: &Block) -> Result<(), PullError> {
        self.bytes = self.bytes.saturating_add(block.bytes().len() as u64);
        if self.bytes > self.quota {
            return Err(PullError::Quota(self.quota));
        }
        let links = links(block.cid(), block.bytes()).map_err(|cause| PullError::Links(*block.cid(), cause))?;
        for cid in links.into_iter().rev() {
            if self.seen.insert(cid) {
                self.wanted.insert(cid);
                self.stack.push(cid);
            }
        }
        if self.seen.len() > DAG_BLOCKS_MAX { Err(PullError::Blocks(DAG_BLOCKS_MAX)) } else { Ok(()) }
    }

    /// How many blocks are known of so far, wanted ones included.
    pub(crate) fn blocks(&self) -> usize {
        self.seen.len()
    }

    /// How many bytes have arrived.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}
