//! Who has a block, as far as somebody says so: the boundary between fetching and whatever finds providers.

use multiaddr::Multiaddr;

use crate::block::Cid;
use crate::blocks::BoxFuture;

/// Finds providers. What they send is verified, so that nothing here need be believed.
pub trait Providers: Send + Sync + 'static {
    /// Addresses that a [`crate::Transport`] can reach, the first to be found first; empty when nobody is found in time.
    fn find<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Vec<Multiaddr>>;
}

/// Finds nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopProviders;

impl Providers for NoopProviders {
    fn find<'a>(&'a self, _cid: &'a Cid) -> BoxFuture<'a, Vec<Multiaddr>> {
        Box::pin(async { Vec::new() })
    }
}
