//! A site's own rules (`docs/formats.md`, "Site rules"): its redirects, rewrites, pages for what is missing, and headers.
//!
//! Rules hold where a site has its origin for itself; `ipfs-404.html` everywhere. A crash loses nothing.

use std::sync::Arc;

use atoll_content::ReadError;
use atoll_content::reader::{Kind, Resolved, read, read_cached};
use atoll_core::FetchError;
use atoll_core::site::{
    self, Asked, Edits, Found, HEADERS, Headers, INDEX, NOT_FOUND, REDIRECTS, Redirects, RedirectsError, Rules, Shown,
    headers, redirects,
};
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::Reading;
use crate::body::Body;
use crate::failure::{Failure, Step};
use crate::respond::file::Part;
use crate::respond::{Described, redirect};

/// A file in a site's root, as far as rules need it.
enum File {
    Absent,
    TooLarge,
    Read(Bytes),
}

impl Reading<'_> {
    /// What is answered where the path names nothing; `failure` where nobody has a better answer.
    pub(super) async fn absent(&self, failure: Failure) -> Result<Response<Body>, Failure> {
        let head = site::head(&*self.rules().await?, &self.asked(), Found::Absent)?;
        match head.shown {
            Shown::Redirect(location) => Ok(self.redirect(redirect::by_rule(self.path, status(head.status), location))),
            Shown::Page { segments, line } => {
                let missing = Failure::PageMissing { status: status(head.status), line };
                let names: Vec<&str> = segments.iter().map(String::as_str).collect();
                let (file, index) = self.page(&names).await?.ok_or(missing)?;
                let name = if index { Some(INDEX) } else { names.last().copied() };
                self.show((&file, &names), name, status(head.status), &head.edits).await
            }
            _ => match self.not_found_page().await {
                Some((page, names)) => {
                    self.show((&page, &names), Some(NOT_FOUND), StatusCode::NOT_FOUND, &head.edits).await
                }
                None => self.missing(failure),
            },
        }
    }

    /// Changes the head of a file as `_headers` says, and says what was changed.
    pub(super) async fn edit(&self, described: &mut Described, found: Found) -> Result<Edits, Failure> {
        let rules = self.rules().await?;
        if rules.headers.is_empty() {
            return Ok(Edits::default());
        }
        let edits = site::head(&rules, &self.asked(), found)?.edits;
        self.apply(&edits, described);
        Ok(edits)
    }

    fn asked(&self) -> Asked<'_> {
        Asked { segments: &self.path.segments, slash: self.path.slash, query: self.request.uri.query() }
    }

    fn apply(&self, edits: &Edits, described: &mut Described) {
        let headers = &mut described.headers;
        let mut changed = edits.detached.iter().chain(edits.set.iter().map(|(name, _)| name));
        described.own_age = changed.any(|name| header::CACHE_CONTROL == **name);
        for name in &edits.detached {
            headers.remove(name);
        }
        for (name, value) in &edits.set {
            let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else { continue };
            // What the visitor asked for in the query comes first.
            let asked = name == header::CONTENT_DISPOSITION && (self.wanted.download || self.wanted.filename.is_some());
            if !asked {
                headers.insert(name, value);
            }
        }
    }

    /// Shows a file of the site that is not the one asked for. Conditions and ranges hold for what is found only (RFC
    /// 9110, sections 13.2.1 and 14.2).
    async fn show(
        &self,
        (file, names): (&Resolved, &[&str]),
        name: Option<&str>,
        status: StatusCode,
        edits: &Edits,
    ) -> Result<Response<Body>, Failure> {
        let mut described = self.describe(file, file, name).await?;
        self.apply(edits, &mut described);
        described.said = self.said_of_page(names, status, &described.headers, edits);
        if status == StatusCode::OK {
            return self.send(file, described).await;
        }
        let mut response = self.send_part(file, described, Part::Whole, false).await?;
        *response.status_mut() = status;
        response.headers_mut().remove(header::ACCEPT_RANGES);
        Ok(response)
    }

    /// The file at those names below the site's root, or the index of the directory there; whether it is an index.
    async fn page(&self, names: &[&str]) -> Result<Option<(Resolved, bool)>, Failure> {
        match self.of_site(names).await? {
            Some(file) if matches!(file.kind, Kind::File { .. }) => Ok(Some((file, false))),
            Some(directory) if directory.is_directory() => {
                let index = self.of_site(&[names, &[INDEX]].concat()).await?;
                Ok(index.filter(|file| matches!(file.kind, Kind::File { .. })).map(|file| (file, true)))
            }
            _ => Ok(None),
        }
    }

    /// The page of the site for what is missing, nearest to where it is missing, and its names.
    async fn not_found_page(&self) -> Option<(Resolved, Vec<&str>)> {
        if !self.accepts_html() {
            return None;
        }
        let mut nearest = None;
        for names in site::not_found_pages(&self.path.segments) {
            let way: Vec<&str> = self.path.named().chain(names.iter().copied()).collect();
            match self.resolve(&way).await {
                Ok(page) if matches!(page.kind, Kind::File { .. }) => nearest = Some((page, names)),
                Ok(_) => {}
                // The directory is there, and has no page.
                Err(Failure::Read { cause: ReadError::NoEntry { name, .. }, .. }) if name == NOT_FOUND => {}
                Err(_) => break,
            }
        }
        nearest
    }

    fn accepts_html(&self) -> bool {
        let values = self.request.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut kinds = values.flat_map(|value| value.split(',')).filter_map(|kind| kind.split(';').next());
        kinds.any(|kind| matches!(kind.trim(), "*/*" | "text/*" | "text/html"))
    }

    /// What the site's rules say, from memory if they are known.
    async fn rules(&self) -> Result<Arc<Rules>, Failure> {
        if !self.path.is_isolated() {
            return Ok(Arc::default());
        }
        let key = (self.path.root, self.path.named().map(str::to_owned).collect());
        if let Some(rules) = self.gateway.sites.get(&key) {
            return Ok(rules);
        }
        let (headers, complete) = self.headers().await?;
        let redirects = match self.root_file(REDIRECTS, redirects::FILE_BYTES_MAX).await {
            Ok(File::Absent) => Ok(Redirects::default()),
            Ok(File::TooLarge) => Err(RedirectsError::too_large()),
            Ok(File::Read(file)) => Redirects::parse(&file),
            // Only what is missing depends on it, and it may be had the next time.
            Err(_) => return Ok(Arc::new(Rules { redirects: Err(RedirectsError::unreadable()), headers })),
        };
        let rules = Arc::new(Rules { redirects, headers });
        if complete {
            self.gateway.sites.insert(key, Arc::clone(&rules));
        }
        Ok(rules)
    }

    /// What `_headers` says, and whether that is sure. A node that holds a site in part shows what it holds.
    async fn headers(&self) -> Result<(Headers, bool), Failure> {
        match self.root_file(HEADERS, headers::FILE_BYTES_MAX).await {
            Ok(File::Absent | File::TooLarge) => Ok((Headers::default(), true)),
            Ok(File::Read(file)) => Ok((Headers::parse(&file), true)),
            Err(Failure::Read {
                cause: ReadError::Fetch(FetchError::NotFound(_) | FetchError::NotAllowed(_)), ..
            }) => Ok((Headers::default(), false)),
            Err(failure) => Err(failure),
        }
    }

    /// Reads a file in the root of the site.
    async fn root_file(&self, name: &str, bytes_max: usize) -> Result<File, Failure> {
        let Some(file) = self.of_site(&[name]).await? else { return Ok(File::Absent) };
        let Kind::File { len } = file.kind else { return Ok(File::Absent) };
        if len > bytes_max as u64 {
            return Ok(File::TooLarge);
        }
        if let Some(parts) = read_cached(&**self.blocks, &file, 0..len, len) {
            return parts.map(|parts| File::Read(parts.concat().into())).map_err(Failure::reading(Step::Read));
        }
        let stream = read(Arc::clone(self.blocks), &file, 0..len).map_err(Failure::reading(Step::Read))?;
        let parts = stream.try_collect::<Vec<Bytes>>();
        let parts = self.within(self.gateway.timeouts.first_byte, Step::Read, parts).await?;
        Ok(File::Read(parts.concat().into()))
    }

    /// What those names below the site's root lead to; `None` if there is no such thing.
    async fn of_site(&self, names: &[&str]) -> Result<Option<Resolved>, Failure> {
        let way: Vec<&str> = self.path.named().chain(names.iter().copied()).collect();
        match self.resolve(&way).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if is_absence(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// Whether a failure says for sure that there is nothing at a path.
pub(super) fn is_absence(failure: &Failure) -> bool {
    matches!(failure, Failure::Read { cause, .. } if cause.is_absence())
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
