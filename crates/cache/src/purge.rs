//! What an operator, or an origin, takes out of the cache at once: a URL, all URLs below another, a group, everything. It costs the
//! same however much is stored: what is older than its purge is left out when it is found. The journal keeps it through a crash where
//! responses are kept on disk.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use http::{HeaderMap, HeaderName, Uri};
use sfv::{BareItem, List, ListEntry, Parser};

use crate::field;
use crate::key::Digest;

/// The most purges of one kind that are remembered, and the bytes of their names; over it the older half becomes one purge of
/// everything up to then.
const PURGES_MAX: usize = 16 * 1024;
const NAMES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most URLs that are remembered as changed by a request while something of them was on disk.
const REMOVED_MAX: usize = 64 * 1024;
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

/// What is remembered at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// A purge.
    Purged(Purge, Degree),
    /// A request changed a URL of which something was on disk.
    Removed(Digest),
}

/// The purges up to now.
#[derive(Debug, Default)]
pub(crate) struct Purges {
    inner: RwLock<Inner>,
    /// Counts them, so that who has asked need not ask again.
    version: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    all: Cut,
    urls: Cuts,
    prefixes: Cuts,
    /// How long the prefixes are.
    lengths: BTreeSet<usize>,
    /// By host and name.
    groups: Cuts,
    removed: HashMap<Digest, u64>,
}

/// Purges of one kind, by what they name.
#[derive(Debug, Default)]
struct Cuts {
    cuts: HashMap<String, Cut>,
    /// Bytes of the names.
    bytes: usize,
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
            if group.len() > GROUP_BYTES_MAX {
                return Err(format!("a group's name has at most {GROUP_BYTES_MAX} bytes"));
            }
            return Ok(Self::Group { host, group: group.to_owned() });
        }
        let path = parsed.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{host}{path}");
        Ok(if prefix { Self::Prefix(url) } else { Self::Url(url) })
    }
}

impl Purges {
    /// Purges, or remembers as changed, what began before `now`.
    pub(crate) fn add(&self, noted: &Noted, now: u64) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.add(noted, now);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Changes with each purge.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What is left of a response that began at a moment. `url` is its host, path and query.
    pub(crate) fn left(&self, url: &str, groups: &[String], begun: u64) -> Left {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let host = url.split('/').next().unwrap_or_default();
        let prefixes = inner.lengths.iter().filter_map(|len| inner.prefixes.cuts.get(url.get(..*len)?));
        let groups = groups.iter().filter_map(|group| inner.groups.cuts.get(&group_name(host, group)));
        let cuts = [&inner.all].into_iter().chain(inner.urls.cuts.get(url)).chain(prefixes).chain(groups);
        cuts.map(|cut| cut.left(begun)).max().unwrap_or_default()
    }

    /// Whether what began then, of a URL, was changed by a request since.
    pub(crate) fn is_removed(&self, digest: Digest, begun: u64) -> bool {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.removed.get(&digest).is_some_and(|removed| begun < *removed)
    }

    /// All that is remembered, and when it was.
    pub(crate) fn all(&self) -> Vec<(Noted, u64)> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        let mut add = |what: Purge, cut: &Cut| {
            for (moment, degree) in [(cut.hard, Degree::Hard), (cut.soft, Degree::Soft)] {
                if moment > 0 {
                    all.push((Noted::Purged(what.clone(), degree), moment));
                }
            }
        };
        add(Purge::Everything, &inner.all);
        inner.urls.cuts.iter().for_each(|(url, cut)| add(Purge::Url(url.clone()), cut));
        inner.prefixes.cuts.iter().for_each(|(prefix, cut)| add(Purge::Prefix(prefix.clone()), cut));
        for (name, cut) in &inner.groups.cuts {
            let (host, group) = name.split_once('\n').unwrap_or_default();
            add(Purge::Group { host: host.to_owned(), group: group.to_owned() }, cut);
        }
        all.extend(inner.removed.iter().map(|(digest, moment)| (Noted::Removed(*digest), *moment)));
        all
    }

    /// Forgets which URLs were changed before a moment: nothing that old is on disk any more.
    pub(crate) fn forget_removed(&self, before: u64) {
        self.inner.write().unwrap_or_else(PoisonError::into_inner).removed.retain(|_, moment| *moment >= before);
    }
}

impl Inner {
    fn add(&mut self, noted: &Noted, now: u64) {
        let (what, degree) = match noted {
            Noted::Purged(what, degree) => (what, *degree),
            Noted::Removed(digest) => {
                self.removed.insert(*digest, now);
                if self.removed.len() > REMOVED_MAX {
                    let floor = median(self.removed.values().copied());
                    self.removed.retain(|_, moment| *moment > floor);
                    self.all.hard = self.all.hard.max(floor);
                }
                return;
            }
        };
        let (cuts, name) = match what {
            Purge::Everything => {
                self.all.set(degree, now);
                if degree == Degree::Hard {
                    // All that was purged before is purged again.
                    *self = Self { all: self.all, removed: std::mem::take(&mut self.removed), ..Self::default() };
                }
                return;
            }
            Purge::Url(url) => (&mut self.urls, url.clone()),
            Purge::Prefix(prefix) => (&mut self.prefixes, prefix.clone()),
            Purge::Group { host, group } => (&mut self.groups, group_name(host, group)),
        };
        if let Some(floor) = cuts.add(name, degree, now) {
            self.all.hard = self.all.hard.max(floor);
        }
        if matches!(what, Purge::Prefix(_)) {
            self.lengths = self.prefixes.cuts.keys().map(String::len).collect();
        }
    }
}

impl Cuts {
    /// Adds a purge. If there are too many, the older half is forgotten; all that began before the returned moment counts as purged.
    fn add(&mut self, name: String, degree: Degree, now: u64) -> Option<u64> {
        let len = name.len();
        let before = self.cuts.len();
        self.cuts.entry(name).or_default().set(degree, now);
        if self.cuts.len() > before {
            self.bytes = self.bytes.saturating_add(len);
        }
        let mut floor = None;
        while self.cuts.len() > PURGES_MAX || self.bytes > NAMES_BYTES_MAX {
            let middle = median(self.cuts.values().map(|cut| cut.hard.max(cut.soft)));
            self.cuts.retain(|_, cut| cut.hard.max(cut.soft) > middle);
            self.bytes = self.cuts.keys().map(String::len).sum();
            floor = Some(middle);
        }
        floor
    }
}

/// The middle of some moments.
fn median(moments: impl Iterator<Item = u64>) -> u64 {
    let mut moments: Vec<u64> = moments.collect();
    let middle = moments.len() / 2;
    if moments.is_empty() { 0 } else { *moments.select_nth_unstable(middle).1 }
}

fn group_name(host: &str, group: &str) -> String {
    format!("{host}\n{group}")
}

impl Cut {
    fn set(&mut self, degree: Degree, now: u64) {
        match degree {
            Degree::Hard => self.hard = self.hard.max(now),
            Degree::Soft => self.soft = self.soft.max(now),
        }
    }

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
        let purge = |url, prefix, group, degree, now| {
            purges.add(&Noted::Purged(Purge::of(url, prefix, group).unwrap(), degree), now);
        };
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
        purges.add(&Noted::Purged(Purge::Everything, Degree::Hard), 5);
        assert_eq!((left(4), left(5)), (Left::Nothing, Left::All));
    }

    #[test]
    fn over_the_limit_what_is_older_than_half_of_them_is_purged() {
        let purges = Purges::default();
        let max = u64::try_from(PURGES_MAX).unwrap();
        for n in 1..=max + 1 {
            purges.add(&Noted::Purged(Purge::Prefix(format!("a.example/{n}")), Degree::Soft), n);
        }
        let left = |url: &str, begun| purges.left(url, &[], begun);
        assert_eq!((left("other.example/", max / 2), left("other.example/", max / 2 + 1)), (Left::Nothing, Left::All));
        assert_eq!(left(&format!("a.example/{max}/x"), max - 1), Left::Stale);
        purges.add(&Noted::Purged(Purge::Prefix("a".repeat(NAMES_BYTES_MAX + 1)), Degree::Hard), max + 2);
        let (purge, moment) = purges.all().remove(0);
        assert_eq!((purge, moment), (Noted::Purged(Purge::Everything, Degree::Hard), max + 2));
        assert_eq!(purges.all().len(), 1, "names that are too long are forgotten too");
        assert_eq!((left("b", max + 1), left("b", max + 2)), (Left::Nothing, Left::All));
    }

    #[test]
    fn what_is_remembered_can_be_told_again() {
        let (purges, again) = (Purges::default(), Purges::default());
        let group = Purge::of("https://a.example", false, Some("g")).unwrap();
        for (n, noted) in [
            Noted::Purged(Purge::Url("a/1".to_owned()), Degree::Soft),
            Noted::Purged(Purge::Url("a/1".to_owned()), Degree::Hard),
            Noted::Purged(Purge::Prefix("a/2".to_owned()), Degree::Soft),
            Noted::Purged(group, Degree::Hard),
            Noted::Purged(Purge::Everything, Degree::Soft),
            Noted::Removed(7),
        ]
        .into_iter()
        .enumerate()
        {
            purges.add(&noted, n as u64 + 1);
        }
        purges.all().iter().for_each(|(noted, moment)| again.add(noted, *moment));
        let all = |purges: &Purges| {
            let mut all: Vec<_> = purges.all().iter().map(|noted| format!("{noted:?}")).collect();
            all.sort();
            all
        };
        assert_eq!((all(&purges), all(&again).len()), (all(&again), 6));
        assert!(again.is_removed(7, 5) && !again.is_removed(7, 6));
        purges.add(&Noted::Purged(Purge::Everything, Degree::Hard), 9);
        purges.forget_removed(7);
        assert_eq!(purges.all().len(), 2, "the rest is purged with everything");
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
