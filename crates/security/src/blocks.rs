//! Blocks without those that are denied. In memory only.

use std::sync::Arc;

use atoll_core::{Blocks, BoxFuture, Cid, Deny, FetchError, Subject};
use bytes::Bytes;

/// A source of blocks that keeps denied ones from whoever reads it: no file, listing, CAR or archive that is built from it
/// holds one, and nothing is fetched to find out.
pub struct Guarded {
    blocks: Arc<dyn Blocks>,
    deny: Arc<dyn Deny>,
}

impl Guarded {
    /// The blocks of `blocks` but for what `deny` denies.
    pub fn new(blocks: Arc<dyn Blocks>, deny: Arc<dyn Deny>) -> Self {
        Self { blocks, deny }
    }
}

impl Blocks for Guarded {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        // Looked up first, since most questions are about blocks that are not there.
        let bytes = self.blocks.cached(cid)?;
        self.deny.decide(Subject::Block(cid)).is_none().then_some(bytes)
    }

    fn block<'a>(&'a self, root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        match self.deny.decide(Subject::Block(cid)) {
            Some(denied) => Box::pin(async move { Err(FetchError::Denied { cid: *cid, denied }) }),
            None => self.blocks.block(root, cid),
        }
    }

    fn sizes<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Vec<Option<u64>>> {
        Box::pin(async move {
            let sizes = self.blocks.sizes(cids).await;
            let shown =
                |(size, cid): (Option<u64>, &Cid)| size.filter(|_| self.deny.decide(Subject::Block(cid)).is_none());
            sizes.into_iter().zip(cids).map(shown).collect()
        })
    }
}
