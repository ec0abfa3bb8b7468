//! Answers that are kept for requests to come, and under what. In memory only.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use super::Reading;
use crate::host::label_of;
use crate::hot::{Ready, Usage};
use crate::respond::Described;
use crate::route::{Mount, Site};

impl Reading<'_> {
    /// Keeps a file for plain requests to come.
    pub(super) fn keep(&self, described: Described, parts: Vec<Bytes>) {
        if self.request.uri.query().is_none() && !self.wanted.by_accept {
            self.insert(described, parts, None);
        }
    }

    /// Keeps a page. Its links hold the authority that it was asked for under, so that it is for requests to that alone.
    /// What a name points at changes: pages of names are not kept.
    pub(super) fn keep_page(&self, described: Described, page: Bytes) {
        if matches!(self.path.site, Site::Root(_)) {
            self.insert(described, vec![page], self.authority().map(Into::into));
        }
    }

    /// The page that was kept, if it has that tag.
    pub(super) fn kept_page(&self, etag: &HeaderValue) -> Option<Arc<Ready>> {
        let ready = self.gateway.hot.get(&self.host_key()?, self.request.uri.path())?;
        let same = ready.described.etag == etag && ready.authority.as_deref() == self.authority();
        (same && ready.deny_version == self.deny_version).then_some(ready)
    }

    fn insert(&self, described: Described, parts: Vec<Bytes>, authority: Option<Box<str>>) {
        let Some(host) = self.host_key() else { return };
        let name = if let Site::Name(name) = &self.path.site { Some(name.clone()) } else { None };
        let path = self.path.resolution.as_ref().map_or_else(Vec::new, |resolution| resolution.path.clone());
        let (root, deny_version) = (self.path.root, self.deny_version);
        let ready =
            Arc::new(Ready { described, parts, name, root, path, authority, deny_version, usage: Usage::default() });
        self.gateway.hot.insert(&host, self.request.uri.path(), ready);
    }

    /// What tells the request's host from others.
    fn host_key(&self) -> Option<String> {
        match (&self.path.mount, &self.path.site) {
            (Mount::Path(_), _) => Some(String::new()),
            (Mount::Subdomain(_), Site::Root(root)) => label_of(root),
            (Mount::Subdomain(_), Site::Name(name)) => Some(format!("{name}.ipns")),
            (Mount::Domain(_), Site::Root(_)) => None,
            (Mount::Domain(_), Site::Name(name)) => Some(name.clone()),
        }
    }

    fn authority(&self) -> Option<&str> {
        match &self.path.mount {
            Mount::Path(_) => None,
            Mount::Subdomain(authority) | Mount::Domain(authority) => Some(authority),
        }
    }
}
