//! Types as values of headers; which type what has is decided in `atoll_core::site::mime`. Pure; a crash loses nothing.

use std::borrow::Cow;

use atoll_core::site::mime as table;
use http::HeaderValue;

/// How many of the first bytes decide.
pub(crate) const SNIFF_BYTES: u64 = table::SNIFF_BYTES as u64;

/// A page of HTML.
pub(crate) const HTML: HeaderValue = HeaderValue::from_static(table::HTML);
/// Text that is nothing else.
pub(crate) const TEXT: HeaderValue = HeaderValue::from_static(table::TEXT);

/// The type that a name's extension stands for.
pub(crate) fn by_name(name: &str) -> Option<HeaderValue> {
    match table::by_name(name)? {
        Cow::Borrowed(known) => Some(HeaderValue::from_static(known)),
        Cow::Owned(known) => HeaderValue::try_from(known).ok(),
    }
}

/// The type that the first bytes suggest.
pub(crate) fn by_content(start: &[u8]) -> HeaderValue {
    HeaderValue::from_static(table::by_content(start))
}
