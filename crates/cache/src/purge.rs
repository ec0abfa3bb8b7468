//! What an operator, or an origin, takes out of the cache at once: a URL, all URLs below another, a group, everything. It costs the
//! same however much is stored: what is older than its purge is left out when it is found. A crash loses it, with all that is stored.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use http::{HeaderMap, HeaderName, Uri};
use sfv::{BareItem, List, ListEntry, Parser};

use crate::field;

/// The most prefixes and the most groups that are remembered; over it everything is purged instead.
const PURGES_MAX: usize = 4096;
/// The most groups that one response is in, and the longest name of one, in bytes (RFC 9875, section 2, asks for 32 and 128 at least).
const GROUPS_MAX: usize = 128;
const GROUP_BYTES_MAX: usize = 1024;

/// What is purged. URLs are those of visitors, without their schemes: `host/path?query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// All.
    Everything,
    /// One URL, whatever it varies by.
    Url(String),
    /// All URLs that begin so.
    Prefix(String),
    /// A group of responses of one host (RFC 9875).
    Group {
        /// The host, and its port if it is not the scheme's own.
        host: String,
        /// Its name.
        group: String,
    },
}

/// How much of what is purged is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Degree {
    /// Nothing.
    Hard,
    /// It is stale: it is validated before it is used, and serves when the origin fails.
    Soft,
}

/// What a purge left of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Left {
    #[default]
    All,
    Stale,
    Nothing,
}

/// The moments of the last purges of something.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    hard: u64,
    soft: u64,
}

/// The purges up to now.
#[derive(Debug, Default)]
pub(crate) struct Purges(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    all: Cut,
    urls: HashMap<String, Cut>,
    prefixes: Vec<(String, Cut)>,
    groups: HashMap<(String, String), Cut>,
    /// Whether any of the last three has anything.
    any: bool,
}

impl Purge {
    /// A purge of one URL, or of what begins with it, or of a group of its host.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn of(url: &str, prefix: bool, group: Option<&str>) -> Result<Self, String> {
        let wrong = || format!("`{url}` is not a URL such as https://shop.example/path, as visitors write it");
        let parsed: Uri = url.parse().map_err(|_| wrong())?;
        let (Some(host), Some(_)) = (parsed.authority(), parsed.scheme()) else { return Err(wrong()) };
        let host = host.as_str().to_ascii_lowercase();
        if let Some(group) = group {
            return Ok(Self::Group { host, group: group.to_owned() });
        }
        let path = parsed.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{host}{path}");
        Ok(if prefix { Self::Prefix(url) } else { Self::Url(url) })
    }
}

impl Purges {
    /// Purges what began before `now`.
    pub(crate) fn add(&self, what: &Purge, degree: Degree, now: u64) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let full = inner.urls.len().max(inner.prefixes.len()).max(inner.groups.len()) >= PURGES_MAX;
        let cut = match what {
            _ if full => {
                *inner = Inner { all: Cut { hard: now, soft: now }, ..Inner::default() };
                return;
            }
            Purge::Everything => &mut inner.all,
            Purge::Url(url) => inner.urls.entry(url.clone()).or_default(),
            Purge::Group { host, group } => inner.groups.entry((host.clone(), group.clone())).or_default(),
            Purge::Prefix(prefix) => {
                let at = inner.prefixes.iter().position(|(known, _)| known == prefix).unwrap_or_else(|| {
                    inner.prefixes.push((prefix.clone(), Cut::default()));
                    inner.prefixes.len().saturating_sub(1)
                });
                match inner.prefixes.get_mut(at) {
                    Some((_, cut)) => cut,
                    None => return,
                }
            }
        };
        match degree {
            Degree::Hard => cut.hard = now,
            Degree::Soft => cut.soft = now,
        }
        inner.any |= *what != Purge::Everything;
    }

    /// What is left of a response that began at a moment. `url` is its host, path and query.
    pub(crate) fn left(&self, url: &str, groups: &[String], begun: u64) -> Left {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let left = inner.all.left(begun);
        if !inner.any || left == Left::Nothing {
            return left;
        }
        let of = |cut: Option<&Cut>| cut.map_or(Left::All, |cut| cut.left(begun));
        let host = url.split('/').next().unwrap_or_default();
        let prefixes = inner.prefixes.iter().filter(|(prefix, _)| url.starts_with(prefix.as_str()));
        let prefixes = prefixes.map(|(_, cut)| cut.left(begun)).max().unwrap_or_default();
        let groups = groups.iter().map(|group| of(inner.groups.get(&(host.to_owned(), group.clone()))));
        left.max(of(inner.urls.get(url))).max(prefixes).max(groups.max().unwrap_or_default())
    }
}

impl Cut {
    fn left(self, begun: u64) -> Left {
        match (begun < self.hard, begun < self.soft) {
            (true, _) => Left::Nothing,
            (false, true) => Left::Stale,
            (false, false) => Left::All,
        }
    }
}

/// The groups that a response says it is in: `Cache-Groups` (RFC 9875), `Surrogate-Key` (words) and `Cache-Tag` (a list).
pub(crate) fn groups(headers: &HeaderMap) -> Vec<String> {
    const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
    const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut found = strings(headers, &HeaderName::from_static("cache-groups"));
    let keys = headers.get_all(SURROGATE_KEY).iter().flat_map(|line| line.as_bytes().split(u8::is_ascii_whitespace));
    found.extend(keys.filter(|key| !key.is_empty()).map(text));
    found.extend(field::members(headers, &CACHE_TAG).map(text));
    found.retain(|group| group.len() <= GROUP_BYTES_MAX);
    found.truncate(GROUPS_MAX);
    found
}

/// The groups of its host that an answer to a request that changed something says are no longer what they were (RFC 9875, section 3).
pub fn invalidated_groups(headers: &HeaderMap) -> Vec<String> {
    strings(headers, &HeaderName::from_static("cache-group-invalidation"))
}

/// A list of strings (RFC 9651); what is no string is left out.
fn strings(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    if !headers.contains_key(name) {
        return Vec::new();
    }
    let joined = field::joined(headers, name);
    let Ok(list) = Parser::new(&joined[..]).parse::<List>() else { return Vec::new() };
    let string = |entry: &ListEntry| match entry {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::String(text) => Some(text.as_str().to_owned()),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    };
    list.iter().filter_map(string).take(GROUPS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_its_purge_is_left_out() {
        let purges = Purges::default();
        let groups = ["g".to_owned()];
        let left = |begun| purges.left("a.example/x/y?z", &groups, begun);
        assert_eq!(left(1), Left::All);
        let purge = |url, prefix, group, degree, now| purges.add(&Purge::of(url, prefix, group).unwrap(), degree, now);
        purge("https://a.example/x", false, None, Degree::Hard, 9);
        purge("https://b.example/", true, None, Degree::Hard, 9);
        purge("https://b.example/", false, Some("g"), Degree::Hard, 9);
        assert_eq!(left(1), Left::All);
        purge("https://A.example/", false, Some("g"), Degree::Soft, 2);
        assert_eq!((left(1), left(2)), (Left::Stale, Left::All));
        purge("http://a.example/x/", true, None, Degree::Hard, 3);
        assert_eq!((left(2), left(3)), (Left::Nothing, Left::All));
        purge("http://a.example/x/y?z", false, None, Degree::Hard, 4);
        assert_eq!((left(3), left(4)), (Left::Nothing, Left::All));
        purges.add(&Purge::Everything, Degree::Hard, 5);
        assert_eq!((left(4), left(5)), (Left::Nothing, Left::All));
    }

    #[test]
    fn over_the_limit_everything_is_purged() {
        let purges = Purges::default();
        for n in 0..=PURGES_MAX {
            purges.add(&Purge::Prefix(format!("a.example/{n}")), Degree::Soft, 7);
        }
        assert_eq!(purges.left("other.example/", &[], 6), Left::Nothing);
    }

    #[test]
    fn groups_are_read_in_three_ways() {
        let headers: HeaderMap = [
            ("cache-groups", "\"one\", two, \"three\";x"),
            ("surrogate-key", "four  five"),
            ("cache-tag", "six, seven"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect();
        assert_eq!(groups(&headers), ["one", "three", "four", "five", "six", "seven"]);
        assert_eq!(groups(&HeaderMap::new()), [""; 0]);
    }

    #[test]
    fn urls_are_whole() {
        for wrong in ["", "/path", "shop.example/path", "shop.example"] {
            assert!(Purge::of(wrong, false, None).is_err(), "{wrong}");
        }
        assert_eq!(Purge::of("https://A.b:8443", true, None), Ok(Purge::Prefix("a.b:8443/".to_owned())));
    }
}
