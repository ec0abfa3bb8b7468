//! TXT records of the name of an origin. A crash loses nothing but what the resolver had looked up.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;

/// No more records of a name than this are looked at.
const RECORDS_MAX: usize = 64;

/// A look-up under way: nothing if the name has no such record.
pub(crate) type Asking = Pin<Box<dyn Future<Output = io::Result<Vec<String>>> + Send>>;
/// Who looks the TXT records of a name up.
pub(crate) type Texts = Arc<dyn Fn(String) -> Asking + Send + Sync>;

/// The machine's own servers, as its settings name them (`/etc/resolv.conf`).
pub(crate) fn system() -> Texts {
    static RESOLVER: OnceLock<Option<TokioResolver>> = OnceLock::new();
    Arc::new(|name| {
        Box::pin(async move {
            let made = || TokioResolver::builder_tokio().and_then(|builder| builder.build()).ok();
            let resolver = RESOLVER.get_or_init(made).as_ref().ok_or(io::ErrorKind::NotFound)?;
            // With a dot behind it, no search domain is tried.
            let found = match resolver.txt_lookup(format!("{name}.")).await {
                Ok(found) => found,
                Err(error) if error.is_no_records_found() || error.is_nx_domain() => return Ok(Vec::new()),
                Err(error) => return Err(io::Error::other(error)),
            };
            let text = |data: &RData| match data {
                RData::TXT(txt) => Some(txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect()),
                _ => None,
            };
            Ok(found.answers().iter().take(RECORDS_MAX).filter_map(|record| text(&record.data)).collect())
        })
    })
}
