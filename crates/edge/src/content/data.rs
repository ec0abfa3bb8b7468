//! IPLD data in its own codec.

use atoll_content::reader::Resolved;
use http::Response;

use super::Reading;
use crate::body::Body;
use crate::failure::Failure;
use crate::negotiate::DataFormat;

impl Reading<'_> {
    #[expect(clippy::unused_async, reason = "more blocks may be read on the way")]
    pub(super) async fn data(&self, resolved: &Resolved, _format: DataFormat) -> Result<Response<Body>, Failure> {
        Err(Failure::Codec(resolved.cid.codec()))
    }
}
