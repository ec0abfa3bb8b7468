//! The boundary between pinning and whatever knows other peers.

use std::time::Duration;

use atoll_core::{BoxFuture, Cid, Multiaddr};

/// What pinning needs of the network.
pub trait Network: Send + Sync + 'static {
    /// Looks for peers that have `wanted`, a block of the DAG under `root`, for at most `limit`: those at `origins`, those that
    /// are connected or connect meanwhile, and whoever says that it has the DAG. `true` once [`atoll_core::Blocks`] may give the
    /// block.
    fn seek<'a>(
        &'a self,
        root: &'a Cid,
        wanted: &'a Cid,
        origins: &'a [String],
        limit: Duration,
    ) -> BoxFuture<'a, bool>;

    /// Addresses that publishers' nodes can connect to.
    fn delegates(&self) -> Vec<Multiaddr>;
}

/// Knows nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopNetwork;

impl Network for NoopNetwork {
    fn seek<'a>(
        &'a self,
        _root: &'a Cid,
        _wanted: &'a Cid,
        _origins: &'a [String],
        _limit: Duration,
    ) -> BoxFuture<'a, bool> {
        Box::pin(async { false })
    }

    fn delegates(&self) -> Vec<Multiaddr> {
        Vec::new()
    }
}
