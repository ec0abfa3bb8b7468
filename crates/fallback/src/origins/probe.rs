//! Asking origins whether they are well, now and then, all at a time.

use std::sync::Arc;

use futures_util::future::join_all;
use http::{HeaderValue, Request, header};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::Shared;
use crate::server::{Order, Server};

/// Probes for as long as it is polled.
pub(super) async fn run(shared: &Arc<Shared>) {
    let rules = &shared.settings.pool.probe;
    if rules.path.is_empty() {
        return;
    }
    let mut ticks = interval(rules.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        join_all(shared.servers.iter().enumerate().map(|(n, server)| probe(shared, n, server))).await;
    }
}

async fn probe(shared: &Shared, n: usize, server: &Server) {
    let rules = &shared.settings.pool.probe;
    let Ok(request) = Request::get(&*rules.path).header(header::USER_AGENT, "atoll-probe").body(()) else { return };
    let (head, ()) = request.into_parts();
    let host = HeaderValue::try_from(server.origin.authority());
    let Ok(host) = host else { return };
    let order = Order::own(&head, &host);
    let answered = timeout(rules.timeout, server.ask(&order, rules.timeout, Instant::now())).await;
    let well = answered.is_ok_and(|answered| {
        answered.is_ok_and(|response| response.status().is_success() || response.status().is_redirection())
    });
    if shared.pool().probed(n, well, Instant::now()) {
        tracing::warn!(origin = server.origin.name(), "an origin is left out until its probes go well");
    }
}
