//! Redirects: to a site's own host, to its canonical name, and to a directory's slash. Pure; a crash loses nothing.

use atoll_core::manifest::MOVED;
use http::{HeaderValue, Response, StatusCode, header};

use super::{allow_any_origin, cache_control, insert, mime};
use crate::body::Body;
use crate::host::{Seen, label_of_site};
use crate::route::{ContentPath, Mount, Site, Target};

/// To `LABEL.ipfs.GATEWAY` or `LABEL.ipns.GATEWAY`, path and query kept; `None` for a site too long to be a label.
/// `authority` is the gateway's.
pub(crate) fn to_own_host(
    target: &Target,
    query: Option<&str>,
    seen: Seen<'_>,
    authority: &str,
) -> Option<Response<Body>> {
    let label = label_of_site(&target.site)?;
    let namespace = if matches!(target.site, Site::Root(_)) { "ipfs" } else { "ipns" };
    let rest = target.below_site();
    let location = format!("{}://{label}.{namespace}.{authority}{rest}", seen.scheme());
    Some(moved(StatusCode::MOVED_PERMANENTLY, location, query))
}

/// To the same path with a slash behind, against which a directory's relative links are resolved.
pub(crate) fn to_slash(path: &ContentPath, query: Option<&str>) -> Response<Body> {
    let location = ContentPath { slash: true, ..path.clone() }.link();
    let mut response = moved(StatusCode::MOVED_PERMANENTLY, location, query);
    // What a name points at may have no such directory tomorrow.
    if path.resolution.is_some() {
        response.headers_mut().insert(header::CACHE_CONTROL, cache_control(path));
    }
    response
}

/// To the content path that an `ipfs://` URI names.
pub(crate) fn to_content(target: &Target) -> Response<Body> {
    moved(StatusCode::MOVED_PERMANENTLY, target.link(), None)
}

/// To the canonical form of an IPNS key, where a path gateway was asked by its base58 form.
pub(crate) fn to_canonical(target: &Target, query: Option<&str>) -> Option<Response<Body>> {
    let (Site::Name(name), Mount::Path(base)) = (&target.site, &target.mount) else { return None };
    let written = base.strip_prefix("/ipns/")?;
    let base58 = written.starts_with('1') || written.starts_with("Qm");
    (base58 && written != name).then(|| {
        let mount = Mount::Path(format!("/ipns/{name}"));
        moved(StatusCode::FOUND, Target { mount, ..target.clone() }.link(), query)
    })
}

/// To where a rule of the site leads.
pub(crate) fn by_rule(path: &ContentPath, status: StatusCode, location: String) -> Response<Body> {
    let mut response = moved(status, location, None);
    response.headers_mut().insert(header::CACHE_CONTROL, cache_control(path));
    response
}

fn moved(status: StatusCode, mut location: String, query: Option<&str>) -> Response<Body> {
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    let mut response = Response::new(Body::one(MOVED.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    insert(headers, header::LOCATION, location);
    headers.insert(header::CONTENT_TYPE, mime::TEXT);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    allow_any_origin(headers);
    response
}
