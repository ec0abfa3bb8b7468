//! Who has a block, as far as somebody says so: the boundary between fetching and whatever finds providers.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use multiaddr::Multiaddr;

use crate::block::Cid;

/// Providers as they are found: addresses that a [`crate::Transport`] can reach. Ends when nobody else will be found in time;
/// dropping it ends the search.
pub type ProviderStream = Pin<Box<dyn Stream<Item = Multiaddr> + Send>>;

/// Finds providers. What they send is verified, so that nothing here need be believed.
pub trait Providers: Send + Sync + 'static {
    /// Starts a search.
    fn find(&self, cid: &Cid) -> ProviderStream;
}

/// Finds nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopProviders;

impl Providers for NoopProviders {
    fn find(&self, _cid: &Cid) -> ProviderStream {
        Box::pin(Nobody)
    }
}

/// Ends at once.
struct Nobody;

impl Stream for Nobody {
    type Item = Multiaddr;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Multiaddr>> {
        Poll::Ready(None)
    }
}
