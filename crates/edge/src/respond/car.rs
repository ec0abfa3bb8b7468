//! CAR answers (Trustless Gateway, "CAR responses"): CARv1, depth first, without duplicates.

use atoll_content::export::Scope;
use atoll_content::reader::Resolved;
use atoll_core::Block;
use atoll_core::block::RAW;
use http::{HeaderMap, HeaderValue, Response, header};

use super::{cache_control, content_headers, disposition, insert};
use crate::body::Body;
use crate::negotiate::Wanted;
use crate::route::ContentPath;

const CAR: HeaderValue = HeaderValue::from_static("application/vnd.ipld.car; version=1; order=dfs; dups=n");

/// The headers of a CAR, its tag among them.
pub(crate) fn headers(path: &ContentPath, resolved: &Resolved, scope: Scope, wanted: &Wanted) -> HeaderMap {
    let mut headers = content_headers(path, resolved);
    headers.insert(header::CONTENT_TYPE, CAR);
    headers.insert(header::CACHE_CONTROL, cache_control(path));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    insert(&mut headers, header::ETAG, format!("\"{}\"", tag(resolved, scope)));
    if let Some(value) = disposition(wanted, Some(format!("{}.car", resolved.cid))) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    headers
}

/// The response. Its length is not known before its end.
pub(crate) fn respond(headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

/// The way there is part of a CAR, so that its tag stands for all blocks on it, and the scope.
fn tag(resolved: &Resolved, scope: Scope) -> String {
    let roots: Vec<String> = resolved.roots.iter().map(ToString::to_string).collect();
    let text = format!("{} {scope:?} dfs n", roots.join("/"));
    let digest = Block::sha2_256(RAW, text.into()).map(|block| block.cid().to_string()).unwrap_or_default();
    format!("{}.car.{digest}", resolved.cid)
}
