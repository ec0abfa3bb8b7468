//! Many blocks as a CAR, and the blocks that prove that a path leads nowhere.

use std::sync::Arc;

use atoll_content::export::{Selection, export, export_trail};
use atoll_content::reader::{Resolved, trail};
use http::{Method, Response, header};

use super::Reading;
use crate::body::Body;
use crate::failure::{Failure, Step};
use crate::negotiate::Format;
use crate::respond::{self, car};

impl Reading<'_> {
    pub(super) fn wants_car(&self) -> bool {
        matches!(self.wanted.format, Format::Car(_))
    }

    pub(super) async fn car(&self, resolved: &Resolved, selection: Selection) -> Result<Response<Body>, Failure> {
        let mut headers = car::headers(self.path, resolved, &selection, &self.wanted);
        self.locate(&mut headers, "car");
        // Nothing is read yet, but a range outside of the file is met here.
        let stream = export(Arc::clone(self.blocks), resolved, selection).map_err(Failure::reading(Step::Read))?;
        if headers.get(header::ETAG).is_some_and(|etag| respond::none_match(&self.request.headers, etag)) {
            return Ok(respond::not_modified(&headers));
        }
        if self.request.method == Method::HEAD {
            return Ok(car::respond(headers, Body::unknown()));
        }
        Ok(car::respond(headers, self.body(stream, None).await?))
    }

    /// 404 for a path that leads nowhere, with the blocks that show it: a client that trusts nobody can tell that from a
    /// gateway that has lost something.
    pub(super) async fn absence(&self, way: &[&str]) -> Result<Response<Body>, Failure> {
        let root = self.path.root;
        let trail = trail(&**self.blocks, &root, way);
        let trail = self.within(self.gateway.timeouts.resolve, Step::Resolve, trail).await?;
        let mut headers = car::absence_headers(self.path, &self.wanted);
        self.locate(&mut headers, "car");
        if self.request.method == Method::HEAD {
            return Ok(car::respond_absent(headers, Body::unknown()));
        }
        let stream = export_trail(Arc::clone(self.blocks), root, &trail).map_err(Failure::reading(Step::Read))?;
        Ok(car::respond_absent(headers, self.body(stream, None).await?))
    }
}
