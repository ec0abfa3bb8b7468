//! Files and directories as a tar archive.

use atoll_content::reader::Resolved;
use http::Response;

use super::Reading;
use crate::body::Body;
use crate::failure::Failure;

impl Reading<'_> {
    #[expect(clippy::unused_async, reason = "the archive is read from blocks")]
    pub(super) async fn tar(&self, resolved: &Resolved) -> Result<Response<Body>, Failure> {
        Err(Failure::Codec(resolved.cid.codec()))
    }
}
