//! Forgetting what is stored of origins' answers.

use atoll_edge::front::{Degree, Purge};
use hyper::body::Incoming;

use super::events;
use super::routes::{Routed, read_json};
use crate::api::{PurgeRequest, Purged};
use crate::node::Inner;

/// Purges what a request names.
pub(super) async fn purge(node: &Inner, body: Incoming) -> Routed {
    let request: PurgeRequest = read_json(body).await?;
    let purge = match (&request.url, request.prefix, &request.group) {
        (None, false, None) => Ok(Purge::Everything),
        (Some(_), true, Some(_)) => Err("a group is no prefix".to_owned()),
        (Some(url), prefix, group) => Purge::of(url, prefix, group.as_deref()),
        (None, ..) => Err("a prefix or a group needs a URL of its host".to_owned()),
    };
    let purge = purge.map_err(|why| events::error(http::StatusCode::BAD_REQUEST, why))?;
    let degree = if request.soft { Degree::Soft } else { Degree::Hard };
    node.fronts.purge(&purge, degree).await.map_err(|error| {
        let why = format!("what is stored on disk could not be marked: {error}; a restart may bring it back");
        events::error(http::StatusCode::INTERNAL_SERVER_ERROR, why)
    })?;
    tracing::info!(?purge, ?degree, "purged");
    Ok(events::json(&Purged { purged: true }))
}
