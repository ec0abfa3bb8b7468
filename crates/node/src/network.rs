//! How the node reaches others beyond its members: over HTTP, over libp2p, and by way of routers that it asks. Keeps nothing itself.

use std::sync::Arc;

use atoll_core::names::NameExchange;
use atoll_core::providers::NoopProviders;
use atoll_core::{PeerId, Providers, Transport};
use atoll_routing::{
    HttpConfig, HttpTransport, Routers, RoutersConfig, RoutersParts, Several, TokioClock, WithRouters,
};
use atoll_swarm::Swarm;

use crate::transport::AnyTransport;

/// All ways to others.
pub(crate) struct Network {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) swarm: Option<Swarm>,
    pub(crate) routers: Option<Routers>,
}

impl Network {
    /// Over HTTP, over `swarm` if there is one, and by way of the routers of the settings.
    pub(crate) fn new(me: PeerId, swarm: Option<Swarm>, config: &RoutersConfig) -> Self {
        let http = HttpTransport::new(HttpConfig::default());
        let transport: Arc<dyn Transport> = Arc::new(AnyTransport::new(http.clone(), swarm.clone()));
        let peers = swarm.is_some();
        let parts = RoutersParts { http, transport: Arc::clone(&transport), clock: Arc::new(TokioClock), me, peers };
        let routers = (!config.urls.is_empty()).then(|| Routers::new(config, parts));
        Self { transport, swarm, routers }
    }

    /// Everybody who finds providers.
    pub(crate) fn providers(&self) -> Arc<dyn Providers> {
        let swarm = self.swarm.clone().map(|swarm| Arc::new(swarm) as Arc<dyn Providers>);
        let routers = self.routers.clone().map(|routers| Arc::new(routers) as Arc<dyn Providers>);
        let mut sources: Vec<_> = swarm.into_iter().chain(routers).collect();
        match (sources.pop(), sources.is_empty()) {
            (None, _) => Arc::new(NoopProviders),
            (Some(only), true) => only,
            (Some(last), false) => Arc::new(Several::new([sources, vec![last]].concat())),
        }
    }

    /// Everybody who knows what names point at.
    pub(crate) fn names(&self, members: Arc<dyn NameExchange>) -> Arc<dyn NameExchange> {
        match &self.routers {
            Some(routers) => Arc::new(WithRouters::new(members, routers.clone())),
            None => members,
        }
    }
}
