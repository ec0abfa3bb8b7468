//! The page that lists a directory. Made once: it follows from the directory, the path and the form, so that further
//! visitors get it from memory.

use std::sync::Arc;

use atoll_content::ReadError;
use atoll_content::reader::{Entry, Kind, Resolved, list};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderValue, Response, header};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::Reading;
use crate::body::Body;
use crate::failure::{Failure, Step};
use crate::respond::{self, Described, listing};

/// Entries that are written before others get a turn on this thread.
const TURN_ENTRIES: usize = 256;

impl Reading<'_> {
    pub(super) async fn listing(&self, directory: &Resolved) -> Result<Response<Body>, Failure> {
        let headers = listing::headers(self.path, directory);
        let etag = headers.get(header::ETAG).cloned().unwrap_or(HeaderValue::from_static("\"\""));
        if respond::none_match(&self.request.headers, &etag) {
            return Ok(respond::not_modified(&headers));
        }
        // Whatever the query says, the page is the same: nobody makes us render it again and again.
        if let Some(page) = self.kept_listing(&etag) {
            return Ok(page);
        }
        // Blocks that somebody else is slow to send must not keep the others from their turn.
        let early = if sharded(directory) { Some(self.entries(directory).await?) } else { None };
        let _turn = self.turn().await?;
        // Another may have written it meanwhile.
        if let Some(page) = self.kept_listing(&etag) {
            return Ok(page);
        }
        let (entries, more) = match early {
            Some(entries) => entries,
            None => self.entries(directory).await?,
        };
        let page = self.rendered(directory, entries, more).await;
        let described = Described::new(headers, etag, page.len() as u64).without_ranges();
        let response = described.respond_from(&self.request.headers, std::slice::from_ref(&page));
        self.keep_page(described, page);
        Ok(response)
    }

    fn kept_listing(&self, etag: &HeaderValue) -> Option<Response<Body>> {
        let ready = self.kept_page(etag)?;
        Some(ready.described.respond_from(&self.request.headers, &ready.parts))
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let turn = timeout(self.gateway.timeouts.first_byte, self.gateway.listings.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or(Failure::TooManyWaiting)
    }

    async fn rendered(&self, directory: &Resolved, mut entries: Vec<Entry>, more: bool) -> Bytes {
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut page = listing::Page::new(self.path, directory.meta, entries.len());
        for some in entries.chunks(TURN_ENTRIES) {
            page.show(some);
            // A large page takes long: others have their turn.
            tokio::task::yield_now().await;
        }
        // Without the spare room that it was written into, since it may be kept.
        page.finish(entries.len(), more).into_boxed_str().into_boxed_bytes().into()
    }

    async fn entries(&self, directory: &Resolved) -> Result<(Vec<Entry>, bool), Failure> {
        let entries = self.within(self.gateway.timeouts.first_byte, Step::List, self.some_entries(directory)).await?;
        tokio::task::yield_now().await;
        Ok(entries)
    }

    /// As many entries as a page shows, and whether there are more.
    async fn some_entries(&self, directory: &Resolved) -> Result<(Vec<Entry>, bool), ReadError> {
        let mut stream = list(Arc::clone(self.blocks), directory);
        let (mut entries, mut bytes) = (Vec::new(), 0_usize);
        while let Some(entry) = stream.next().await {
            let entry = entry?;
            bytes = bytes.saturating_add(entry.name.len());
            if entries.len() == listing::ENTRIES_MAX || bytes > listing::NAMES_BYTES_MAX {
                return Ok((entries, true));
            }
            entries.push(entry);
        }
        Ok((entries, false))
    }
}

fn sharded(directory: &Resolved) -> bool {
    matches!(directory.kind, Kind::Directory { sharded: true })
}
