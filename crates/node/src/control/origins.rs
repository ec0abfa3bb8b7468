//! How the servers of sites are; having them fail for a drill, and remembering what that drill found.

use std::time::Duration;

use atoll_edge::front::Fault;
use http::StatusCode;
use hyper::body::Incoming;

use super::events;
use super::routes::{Routed, read_json};
use crate::api::{Drill, FaultKind, FaultRequest};
use crate::node::Inner;

/// The longest that a server is made to fail without being told so again, in seconds.
const FAULT_SECONDS_MAX: u64 = 600;

/// Has a server fail, or no longer.
pub(super) async fn fault(node: &Inner, body: Incoming) -> Routed {
    let request: FaultRequest = read_json(body).await?;
    let time = Duration::from_secs(request.seconds.min(FAULT_SECONDS_MAX));
    let fault = request.fault.map(|fault| match fault {
        FaultKind::Dead => (Fault::Dead, time),
        FaultKind::Hangs => (Fault::Hangs, time),
    });
    if !node.fronts.set_fault(&request.site, &request.origin, fault) {
        let (site, origin) = (&request.site, &request.origin);
        return Err(events::error(StatusCode::NOT_FOUND, format!("there is no source `{origin}` of a site `{site}`")));
    }
    tracing::warn!(site = request.site, origin = request.origin, fault = ?request.fault, "a drill");
    Ok(events::json(&serde_json::json!({ "set": true })))
}

/// Remembers what a drill found.
pub(super) async fn remember(node: &Inner, body: Incoming) -> Routed {
    let drill: Drill = read_json(body).await?;
    let kept = node.drills.remember(drill);
    kept.map_err(|error| events::error(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    Ok(events::json(&serde_json::json!({ "remembered": true })))
}
