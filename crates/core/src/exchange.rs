//! Peers that tell each other which blocks they want, all at once: the boundary between fetching and Bitswap.

use multiaddr::Multiaddr;

use crate::block::{Block, Cid};
use crate::blocks::BoxFuture;
use crate::transport::TransportError;

/// An exchange of blocks with many peers. It remembers for each DAG who was of use, and asks whoever has a block and is
/// fastest.
pub trait Exchange: Send + Sync + 'static {
    /// A block of the DAG under `root`, hashed once, from one of `peers`, or from whoever else turned out to have such blocks.
    ///
    /// Dropping the future takes the question back.
    fn block<'a>(
        &'a self,
        root: &'a Cid,
        cid: &'a Cid,
        peers: &'a [Multiaddr],
    ) -> BoxFuture<'a, Result<Block, TransportError>>;

    /// Makes `peers` known for the DAG under `root`: questions that are open go to them too.
    fn join(&self, root: &Cid, peers: &[Multiaddr]);
}

/// Knows nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopExchange;

impl Exchange for NoopExchange {
    fn block<'a>(
        &'a self,
        _root: &'a Cid,
        _cid: &'a Cid,
        _peers: &'a [Multiaddr],
    ) -> BoxFuture<'a, Result<Block, TransportError>> {
        Box::pin(async { Err(TransportError::NotFound) })
    }

    fn join(&self, _root: &Cid, _peers: &[Multiaddr]) {}
}
