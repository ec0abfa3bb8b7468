//! The page that lists a directory. Made once: it follows from the directory, the path and the form, so that further
//! visitors get it from memory.

use std::sync::Arc;

use atoll_content::reader::{Resolved, list};
use futures_util::StreamExt;
use http::{HeaderValue, Response, header};

use super::{Reading, within};
use crate::body::Body;
use crate::failure::{Failure, Step};
use crate::respond::{self, Described, listing};

impl Reading<'_> {
    pub(super) async fn listing(&self, directory: &Resolved) -> Result<Response<Body>, Failure> {
        let headers = listing::headers(self.path, directory);
        let etag = headers.get(header::ETAG).cloned().unwrap_or(HeaderValue::from_static("\"\""));
        if respond::none_match(&self.request.headers, &etag) {
            return Ok(respond::not_modified(&headers));
        }
        // Whatever the query says, the page is the same: nobody makes us render it again and again.
        if let Some(ready) = self.kept_page(&etag) {
            return Ok(ready.described.respond_from(&self.request.headers, &ready.parts));
        }
        let page = self.rendered(directory).await?;
        let described = Described::new(headers, etag, page.len() as u64).without_ranges();
        let response = described.respond_from(&self.request.headers, std::slice::from_ref(&page));
        self.keep_page(described, page);
        Ok(response)
    }

    async fn rendered(&self, directory: &Resolved) -> Result<bytes::Bytes, Failure> {
        let mut stream = list(Arc::clone(self.blocks), directory);
        let entries = async {
            let mut entries = Vec::new();
            while let Some(entry) = stream.next().await {
                if entries.len() == listing::ENTRIES_MAX {
                    return Ok((entries, true));
                }
                entries.push(entry?);
            }
            Ok((entries, false))
        };
        let (entries, more) = within(self.gateway.timeouts.first_byte, Step::List, entries).await?;
        // Without the spare room that it was written into, since it may be kept.
        Ok(listing::page(self.path, entries, more).into_boxed_str().into_boxed_bytes().into())
    }
}
