//! Files and directories as a tar archive (Path Gateway, "TAR").

use std::sync::Arc;

use atoll_content::archive::archive;
use atoll_content::reader::{Kind, Resolved};
use http::{HeaderValue, Method, Response, header};

use super::Reading;
use crate::body::Body;
use crate::failure::Failure;
use crate::respond::{self, insert};

const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");

impl Reading<'_> {
    pub(super) async fn tar(&self, resolved: &Resolved) -> Result<Response<Body>, Failure> {
        if resolved.kind == Kind::Data {
            return Err(Failure::Codec(resolved.cid.codec()));
        }
        let mut headers = respond::content_headers(self.path, resolved);
        headers.insert(header::CONTENT_TYPE, TAR);
        headers.insert(header::CACHE_CONTROL, respond::cache_control(self.path));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
        // Weak, since others may archive the same otherwise.
        insert(&mut headers, header::ETAG, format!("W/\"{}.x-tar\"", resolved.cid));
        if let Some(value) = respond::disposition(&self.wanted, Some(format!("{}.tar", resolved.cid))) {
            headers.insert(header::CONTENT_DISPOSITION, value);
        }
        self.locate(&mut headers, "tar");
        if headers.get(header::ETAG).is_some_and(|etag| respond::none_match(&self.request.headers, etag)) {
            return Ok(respond::not_modified(&headers));
        }
        let body = if self.request.method == Method::HEAD {
            Body::unknown()
        } else {
            self.body(archive(Arc::clone(self.blocks), resolved), None).await?
        };
        let mut response = Response::new(body);
        *response.headers_mut() = headers;
        Ok(response)
    }
}
