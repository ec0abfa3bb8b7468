//! What the site's bundle says of a path, proved (`docs/formats.md`, "Proofs"): for whoever knows the bundle and not the site. Costs the
//! hashes of some hundred entries. Pure but for looking the bundle up; a crash loses nothing.

use atoll_core::manifest;
use http::{HeaderMap, HeaderValue, Response, header};

use super::Reading;
use crate::body::Body;
use crate::failure::Failure;
use crate::respond::{self, insert};

const PROOF: HeaderValue = HeaderValue::from_static("application/vnd.atoll.proof");

impl Reading<'_> {
    /// The proof of what is answered under the path itself; rules of the site lead nowhere.
    pub(super) fn proof(&self) -> Result<Response<Body>, Failure> {
        let named = self.bundle().ok_or(Failure::NoProof)?;
        let key = manifest::key(&self.path.segments, self.path.slash).ok_or(Failure::NoProof)?;
        let mut headers = HeaderMap::with_capacity(12);
        respond::allow_any_origin(&mut headers);
        headers.insert(header::CONTENT_TYPE, PROOF);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, respond::cache_control(self.path));
        insert(&mut headers, header::ETAG, format!("\"{}.proof\"", named.id));
        self.locate(&mut headers, "atoll-proof");
        if headers.get(header::ETAG).is_some_and(|etag| respond::none_match(&self.request.headers, etag)) {
            return Ok(respond::not_modified(&headers));
        }
        let mut response = Response::new(Body::one(named.bundle.prove(&key).to_bytes().into()));
        *response.headers_mut() = headers;
        Ok(response)
    }
}
