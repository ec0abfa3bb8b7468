//! What can be said of an answer by the site's manifest, so that it can be signed. Pure but for looking the bundle up; a crash loses
//! nothing.

use std::sync::Arc;

use atoll_core::bundle::Named;
use atoll_core::manifest;
use atoll_core::merkle::Hash;
use atoll_core::site::{Edits, mime};
use http::{HeaderMap, Response, StatusCode, header};

use super::Reading;
use crate::body::Body;
use crate::failure::Failure;
use crate::respond;
use crate::sign::Said;

impl Reading<'_> {
    /// The bundle of the site, if its answers are signed: the path begins at the root that it is of, and the query changes nothing.
    pub(super) fn bundle(&self) -> Option<Arc<Named>> {
        if self.wanted.filename.is_some() || self.wanted.download || self.path.named().next().is_some() {
            return None;
        }
        self.gateway.desk.bundle(&self.path.root)
    }

    /// What can be said of the file that the path names, or that is the index of the directory there.
    pub(super) fn said_of_file(&self, headers: &HeaderMap, edits: &Edits) -> Option<Arc<Said>> {
        let bundle = self.bundle()?;
        let entry = bundle.bundle.manifest.get(&manifest::key(&self.path.segments, self.path.slash)?)?;
        Said::of_entry(&bundle, entry, 200, head(headers, edits))
    }

    /// What can be said of a page of the site that is shown in place of what the path names: its own entry, or that the path
    /// names nothing.
    pub(super) fn said_of_page(
        &self,
        names: &[impl AsRef<str>],
        status: StatusCode,
        headers: &HeaderMap,
        edits: &Edits,
    ) -> Option<Arc<Said>> {
        let bundle = self.bundle()?;
        let names: Vec<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        let page = bundle.bundle.manifest.page(&names)?;
        match status {
            StatusCode::OK => Said::of_entry(&bundle, page, 200, head(headers, edits)),
            StatusCode::NOT_FOUND => self.said_of_absence(&bundle, page.digest, head(headers, edits)),
            _ => None,
        }
    }

    fn said_of_absence(&self, bundle: &Arc<Named>, digest: Hash, head: Hash) -> Option<Arc<Said>> {
        let key = manifest::key(&self.path.segments, self.path.slash)?;
        Said::of_absence(bundle, &key, digest, head)
    }

    /// The redirect, with what can be said of it: it is one that the manifest lists.
    pub(super) fn redirect(&self, mut response: Response<Body>) -> Response<Body> {
        let said = self.bundle().and_then(|bundle| {
            let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
            let entry = bundle.bundle.manifest.get(&manifest::key(&self.path.segments, self.path.slash)?)?;
            let head = manifest::head(Some(mime::TEXT), Some(location), &Edits::default());
            Said::of_entry(&bundle, entry, response.status().as_u16(), head)
        });
        attach(&mut response, said);
        response
    }

    /// The gateway's own page for a path that names nothing, with what can be said of that.
    pub(super) fn missing(&self, failure: Failure) -> Result<Response<Body>, Failure> {
        let Some(bundle) = self.bundle() else { return Err(failure) };
        let contact = self.gateway.contact.as_ref();
        let mut response = respond::error::respond(&failure, &self.request.headers, contact);
        if response.status() != StatusCode::NOT_FOUND {
            return Err(failure);
        }
        let digest = response.body().at_hand().map(|page| manifest::digest(&page));
        let head = head(response.headers(), &Edits::default());
        let said = digest.and_then(|digest| self.said_of_absence(&bundle, digest, head));
        attach(&mut response, said);
        Ok(response)
    }
}

/// Has it signed.
pub(super) fn attach(response: &mut Response<Body>, said: Option<Arc<Said>>) {
    if let Some(said) = said {
        response.extensions_mut().insert(said);
    }
}

fn head(headers: &HeaderMap, edits: &Edits) -> Hash {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    manifest::head(content_type, None, edits)
}
