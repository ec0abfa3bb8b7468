//! The page of a site that visitors are shown when it is being worked on, or when nobody answers. Read at the start.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};

use crate::body::Body;
use crate::respond::mime;

/// The largest page, in bytes.
const BYTES_MAX: u64 = 1024 * 1024;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Page(Bytes);

impl Page {
    /// That of a file, if one is named.
    ///
    /// # Errors
    /// If it cannot be read, or is too large.
    pub(super) fn of(file: &str) -> Result<Option<Self>, String> {
        if file.is_empty() {
            return Ok(None);
        }
        let wrong = |why: String| format!("maintenance_page: {file}: {why}");
        let len = std::fs::metadata(file).map_err(|error| wrong(error.to_string()))?.len();
        if len > BYTES_MAX {
            return Err(wrong(format!("is larger than {BYTES_MAX} bytes")));
        }
        let page = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
        Ok(Some(Self(page.into())))
    }

    /// An answer with this page in place of its own, for whoever takes one, if nobody else answered.
    pub(super) fn instead(&self, mut response: Response<Body>, request: &HeaderMap) -> Response<Body> {
        let takes = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.contains("text/html"));
        let takes = request.get_all(header::ACCEPT).iter().any(takes);
        if takes && matches!(response.status().as_u16(), 502..=504) {
            response.headers_mut().insert(header::CONTENT_TYPE, mime::HTML);
            *response.body_mut() = Body::one(self.0.clone());
        }
        response
    }
}
