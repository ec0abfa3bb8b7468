//! Taking certificates back.

use atoll_certs::Reason;
use http::StatusCode;
use hyper::body::Incoming;

use super::events;
use super::routes::{Routed, read_json};
use crate::api::{RevokeRequest, Revoked};
use crate::node::Inner;

/// Has a certificate revoked that an authority issued.
pub(super) async fn revoke(node: &Inner, body: Incoming) -> Routed {
    let RevokeRequest { name, reason, again } = read_json(body).await?;
    let bad = |why: String| events::error(StatusCode::BAD_REQUEST, why);
    let reason: Reason = reason.parse().map_err(|error: atoll_certs::UnknownReason| bad(error.to_string()))?;
    let authorities = node.authorities.as_ref().ok_or_else(|| bad("certs.acme is not set".to_owned()))?;
    let issued = authorities.revoke(&name, reason, again).await.map_err(|error| bad(error.to_string()))?;
    Ok(events::json(&Revoked { name, issued }))
}
