//! Under what a response is stored: the site, the host that was asked for, path and query (RFC 9111, section 2).

use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

use http::Uri;
use http::uri::PathAndQuery;
use sha2::{Digest as _, Sha256};

/// Stands between the scheme of a URL and its host.
const SEPARATOR: &str = "://";

/// The key of a URL. Its methods share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The hash of the URL, for tables in memory: a request is looked for in several.
    hash: u64,
    url: Arc<str>,
    site: u64,
    /// One more than the number of a slice of what is there; 0 for the whole.
    slice: u64,
}

/// The name of a key on disk: 16 bytes of the SHA-256 of site, slice and URL.
pub(crate) type Digest = u128;

impl Key {
    /// That of a path and query at a host, as one site sees it; the scheme and host in lower case.
    pub fn new(scheme: &str, authority: &str, uri: &Uri) -> Self {
        Self::of(scheme, authority, uri.path_and_query().map_or("/", PathAndQuery::as_str))
    }

    /// That of a path and query as text.
    pub fn of(scheme: &str, authority: &str, path_and_query: &str) -> Self {
        let mut url = [scheme, SEPARATOR, authority, path_and_query].concat();
        let host = scheme.len() + SEPARATOR.len();
        if let Some(host) = url.get_mut(host..host + authority.len()) {
            host.make_ascii_lowercase();
        }
        static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self { hash: SEED.hash_one(&url), url: url.into(), site: 0, slice: 0 }
    }

    /// A number for a site, by what makes it what it is.
    pub fn site<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.finalize().iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }

    /// The same URL as one site's. A number stands for the site and its servers: what was stored of others is not this site's.
    #[must_use]
    pub fn within(self, site: u64) -> Self {
        Self { site, ..self }
    }

    /// That of a slice of what is there.
    #[must_use]
    pub fn slice(&self, number: u64) -> Self {
        Self { slice: number.saturating_add(1), ..self.clone() }
    }

    /// Host, path and query.
    pub fn url(&self) -> &str {
        self.url.split_once(SEPARATOR).map_or("", |(_, url)| url)
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Its name on disk.
    pub(crate) fn digest(&self) -> Digest {
        let (site, slice) = (self.site.to_be_bytes(), self.slice.to_be_bytes());
        let hash = Sha256::new().chain_update(site).chain_update(slice).chain_update(self.url.as_bytes()).finalize();
        hash.first_chunk().map_or(0, |first| u128::from_be_bytes(*first))
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for number in [self.hash, self.site, self.slice] {
            state.write_u64(number);
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}
