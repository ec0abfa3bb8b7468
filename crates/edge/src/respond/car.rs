//! CAR answers (Trustless Gateway, "CAR responses"): `CARv1`, always depth first. Pure; a crash loses nothing.

use atoll_content::export::Selection;
use atoll_content::reader::Resolved;
use atoll_core::Block;
use atoll_core::block::RAW;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{NO_STORE, NOSNIFF, X_IPFS_PATH, allow_any_origin, cache_control, content_headers, disposition, insert};
use crate::body::Body;
use crate::negotiate::Wanted;
use crate::route::ContentPath;

const CAR: HeaderValue = HeaderValue::from_static("application/vnd.ipld.car; version=1; order=dfs; dups=n");
const CAR_WITH_REPEATS: HeaderValue =
    HeaderValue::from_static("application/vnd.ipld.car; version=1; order=dfs; dups=y");

/// The headers of a CAR, its tag among them.
pub(crate) fn headers(path: &ContentPath, resolved: &Resolved, selection: &Selection, wanted: &Wanted) -> HeaderMap {
    let mut headers = content_headers(path, resolved);
    headers.insert(header::CONTENT_TYPE, if selection.repeats { CAR_WITH_REPEATS } else { CAR });
    headers.insert(header::CACHE_CONTROL, cache_control(path));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    insert(&mut headers, header::ETAG, format!("\"{}\"", tag(path, resolved, selection)));
    if let Some(value) = disposition(wanted, Some(format!("{}.car", resolved.cid))) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    headers
}

/// The headers of a CAR that proves that a path leads nowhere. Like every failure, it is not to be kept.
pub(crate) fn absence_headers(path: &ContentPath, wanted: &Wanted) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    allow_any_origin(&mut headers);
    insert(&mut headers, X_IPFS_PATH, path.full());
    headers.insert(header::CONTENT_TYPE, CAR);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if let Some(value) = disposition(wanted, Some(format!("{}.car", path.root))) {
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

/// The response for a path that leads nowhere.
pub(crate) fn respond_absent(headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = respond(headers, body);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// The same tag means the same bytes: it stands for the way there, shards too, for what is taken of its end, and for how. The
/// order is always the same, so that the tag is a strong one.
fn tag(path: &ContentPath, resolved: &Resolved, selection: &Selection) -> String {
    let way: Vec<String> = resolved.trail.iter().chain([&resolved.cid]).map(ToString::to_string).collect();
    let text = format!("{}\n{}\n{selection:?}\ndfs", path.full(), way.join(" "));
    let digest = Block::sha2_256(RAW, text.into()).map(|block| block.cid().to_string()).unwrap_or_default();
    format!("{}.car.{digest}", resolved.cid)
}
