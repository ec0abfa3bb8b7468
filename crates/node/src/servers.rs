//! The servers of sites, watched and shown. Keeps nothing.

use atoll_edge::front::{Fault, OriginView, SiteOrigins};

use crate::api::{FaultKind, OriginStatus, SiteStatus};

/// Asks a site's servers whether they are well, for ever.
pub(crate) async fn watch(origins: SiteOrigins) {
    origins.probe().await;
}

/// How a site's servers are.
pub(crate) fn status(host: &str, origins: &SiteOrigins) -> SiteStatus {
    SiteStatus { host: host.to_owned(), origins: origins.views().into_iter().map(origin).collect() }
}

fn origin(view: OriginView) -> OriginStatus {
    OriginStatus {
        name: view.name,
        ready: view.ready,
        fault: view.fault.map(|fault| match fault {
            Fault::Dead => FaultKind::Dead,
            Fault::Hangs => FaultKind::Hangs,
        }),
        in_flight: view.in_flight,
        requests: view.requests,
        failures: view.failures,
        retries: view.retries,
        hedges: view.hedges,
        ejections: view.ejections,
    }
}
