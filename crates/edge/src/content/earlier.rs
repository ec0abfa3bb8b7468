//! Files of earlier versions of a site: a page that was opened before another version was published still finds what belongs to it.
//!
//! Only what the present version lacks, only by names, and only files whose own name says what is in them; what is found so is never
//! signed, since it is not what the site's manifest says. A crash loses nothing.

use atoll_content::reader::Kind;
use atoll_core::earlier::is_hashed;
use atoll_core::site::Found;
use http::{HeaderName, Method, Response};

use super::Reading;
use crate::body::Body;
use crate::respond::insert;
use crate::route::Site;

/// Says where an answer is from.
const ATOLL_SOURCE: HeaderName = HeaderName::from_static("atoll-source");

impl Reading<'_> {
    /// The file that the path named in an earlier version, if there is one that may be shown.
    pub(super) async fn earlier(&self) -> Option<Response<Body>> {
        let Site::Name(name) = &self.path.site else { return None };
        let read = matches!(self.request.method, Method::GET | Method::HEAD) && !self.path.slash;
        if !read || !self.path.name().is_some_and(is_hashed) {
            return None;
        }
        let via = self.path.resolution.iter().flat_map(|resolution| &resolution.via);
        let earlier = &self.gateway.services.earlier;
        let way: Vec<&str> = self.path.named().chain(self.path.segments.iter().map(String::as_str)).collect();
        for root in std::iter::once(name).chain(via).flat_map(|name| earlier.roots(name)) {
            let Ok(file) = self.resolve_in(&root, &way).await else { continue };
            if !matches!(file.kind, Kind::File { .. }) {
                continue;
            }
            let mut described = self.describe(&file, &file, self.path.name()).await.ok()?;
            self.edit(&mut described, Found::File).await.ok()?;
            let part = described.part(&self.request.headers);
            let mut response = self.send_part(&file, described, part, false).await.ok()?;
            insert(response.headers_mut(), ATOLL_SOURCE, format!("content; verified; earlier={root}"));
            return Some(response);
        }
        None
    }
}
