//! The servers of sites, watched and shown. Keeps nothing.

use atoll_edge::front::{ContentView, Fault, OriginView, SiteOrigins, SiteView, Source};

use crate::api::{ContentStatus, FaultKind, OriginStatus, SiteStatus};

/// Asks a site's servers whether they are well, for ever.
pub(crate) async fn watch(origins: SiteOrigins) {
    origins.probe().await;
}

/// How a site's sources are.
pub(crate) fn status(site: SiteView) -> SiteStatus {
    let origins = site.origins.into_iter().map(origin).collect();
    SiteStatus { host: site.host, content: site.content.map(content), origins }
}

fn content(view: ContentView) -> ContentStatus {
    ContentStatus { leads: view.leads == Source::Content, ready: view.ready, fault: view.fault.map(kind) }
}

fn kind(fault: Fault) -> FaultKind {
    match fault {
        Fault::Dead => FaultKind::Dead,
        Fault::Hangs => FaultKind::Hangs,
    }
}

fn origin(view: OriginView) -> OriginStatus {
    OriginStatus {
        name: view.name,
        ready: view.ready,
        fault: view.fault.map(kind),
        in_flight: view.in_flight,
        requests: view.requests,
        failures: view.failures,
        retries: view.retries,
        hedges: view.hedges,
        ejections: view.ejections,
    }
}
