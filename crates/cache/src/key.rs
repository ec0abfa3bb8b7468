//! Under what a response is stored: the site, the host that was asked for, path and query (RFC 9111, section 2).

use std::fmt;
use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;

/// The key of a URL. Its methods share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// That of a path and query at a host, as one site sees it; the scheme and host in lower case.
    pub fn new(scheme: &str, authority: &str, uri: &Uri) -> Self {
        Self::of(scheme, authority, uri.path_and_query().map_or("/", PathAndQuery::as_str))
    }

    /// That of a path and query as text.
    pub fn of(scheme: &str, authority: &str, path_and_query: &str) -> Self {
        let authority = authority.to_ascii_lowercase();
        Self(format!("{scheme}://{authority}{path_and_query}").into())
    }

    /// Host, path and query.
    pub fn url(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, url)| url)
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
