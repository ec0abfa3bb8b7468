//! Tokens of remote pinning, for the CLI: `/v1/pinning/tokens`.

use atoll_pinning::{Allow, Service, StoreError};
use http::{Response, StatusCode};
use hyper::body::Incoming;

use super::routes::{Routed, read_json};
use super::{Body, events};
use crate::api::{TokenMade, TokenRequest, TokenRevoke, TokenRevoked};
use crate::node::Inner;

/// `GET`: all publishers.
pub(super) fn list(node: &Inner) -> Routed {
    Ok(events::json(&service(node)?.publishers()))
}

/// `POST`: a token for a publisher that has none.
pub(super) async fn add(node: &Inner, body: Incoming) -> Routed {
    let request: TokenRequest = read_json(body).await?;
    let allow = Allow::parse(&request.allow).map_err(|why| events::error(StatusCode::BAD_REQUEST, why))?;
    let service = service(node)?;
    let token = service.add_publisher(&request.name, request.quota, allow).await.map_err(refused)?;
    let urls = service.snapshot().listen;
    Ok(events::json(&TokenMade { name: request.name, token, quota: request.quota, urls }))
}

/// `DELETE`: a token counts no more.
pub(super) async fn revoke(node: &Inner, body: Incoming) -> Routed {
    let request: TokenRevoke = read_json(body).await?;
    let released = service(node)?.revoke(&request.name, request.pins).await.map_err(refused)?;
    Ok(events::json(&TokenRevoked { name: request.name, released }))
}

fn service(node: &Inner) -> Result<&Service, Response<Body>> {
    let off = || events::error(StatusCode::CONFLICT, "remote pinning is off on this node: set pinning.listen");
    node.pinning.as_ref().ok_or_else(off)
}

fn refused(error: StoreError) -> Response<Body> {
    let status = match error {
        StoreError::NoPublisher(_) => StatusCode::NOT_FOUND,
        StoreError::HasToken(_) | StoreError::PublishersMax(_) => StatusCode::CONFLICT,
        StoreError::PublisherName(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    events::error(status, error)
}
