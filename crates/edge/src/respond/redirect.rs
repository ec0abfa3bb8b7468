//! Redirects: to a content's own host, and to a directory's slash. Pure; a crash loses nothing.

use http::{HeaderValue, Response, StatusCode, header};

use super::{allow_any_origin, insert, mime};
use crate::body::Body;
use crate::host::label_of;
use crate::route::ContentPath;

/// To `LABEL.ipfs.GATEWAY`, path and query kept; `None` for a CID too long to be a label.
pub(crate) fn to_own_host(path: &ContentPath, query: Option<&str>, authority: &str) -> Option<Response<Body>> {
    let label = label_of(&path.root)?;
    let rest = path.below_root();
    Some(moved(format!("http://{label}.ipfs.{authority}{rest}"), query))
}

/// To the same path with a slash behind, against which a directory's relative links are resolved.
pub(crate) fn to_slash(path: &ContentPath, query: Option<&str>) -> Response<Body> {
    moved(ContentPath { slash: true, ..path.clone() }.link(), query)
}

fn moved(mut location: String, query: Option<&str>) -> Response<Body> {
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    let mut response = Response::new(Body::one("Moved permanently.\n".into()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    insert(headers, header::LOCATION, location);
    headers.insert(header::CONTENT_TYPE, mime::TEXT);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    allow_any_origin(headers);
    response
}
