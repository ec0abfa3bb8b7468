//! The way from a name to content through what is known: no I/O, nothing waits. Keeps nothing.

use std::sync::Arc;
use std::time::Duration;

use atoll_core::content_path::{ContentPath, PATH_BYTES_MAX, Root};
use atoll_core::ipns::{Name, Record};
use atoll_core::names::{NameError, RECURSION_MAX, Resolution};
use atoll_core::{Cid, Timestamp};

use crate::config::Config;
use crate::dnslink::DnsLinks;
use crate::store::{Entry, Store};

/// However short a TTL, a name is asked for no more often.
const REFRESH_MIN: Duration = Duration::from_secs(5);

/// What is known, and how long it counts.
pub(crate) struct Known<'a> {
    pub(crate) store: &'a Store,
    pub(crate) links: &'a dyn DnsLinks,
    pub(crate) config: &'a Config,
    pub(crate) now: Timestamp,
}

/// Where the way leads.
pub(crate) enum Walk {
    /// To content.
    Found {
        resolution: Box<Resolution>,
        /// The names on it that should be asked for again.
        stale: Vec<Root>,
        /// One of them is so old that nobody should be shown it before.
        too_old: bool,
    },
    /// To a name of which nothing is known that counts, and why.
    Stuck(Root, NameError),
    /// To nothing that could be shown, whatever is asked.
    Fails(NameError),
}

/// One name's record.
struct Link {
    target: ContentPath,
    fresh_until: Timestamp,
    valid_until: Option<Timestamp>,
    is_stale: bool,
    too_old: bool,
}

impl Known<'_> {
    /// Follows `start`.
    pub(crate) fn walk(&self, start: &Root) -> Walk {
        let (mut root, mut path, mut path_bytes) = (start.clone(), Vec::new(), 0usize);
        let (mut stale, mut any_too_old, mut via) = (Vec::new(), false, Vec::new());
        let (mut fresh, mut valid): (Option<Timestamp>, Option<Timestamp>) = (None, None);
        for _ in 0..=RECURSION_MAX {
            if let Root::Ipfs(cid) = root {
                let resolution = Box::new(self.resolution(cid, path, via, fresh, valid));
                return Walk::Found { resolution, stale, too_old: any_too_old };
            }
            let link = match self.link(&root) {
                Ok(link) => link,
                Err(walk) => return walk,
            };
            let mut segments = link.target.segments;
            path_bytes = path_bytes.saturating_add(segments.iter().map(|segment| segment.len() + 1).sum());
            if path_bytes > PATH_BYTES_MAX {
                return Walk::Fails(NameError::Target {
                    name: text_of(start),
                    target: "a path of over 10 KiB".to_owned(),
                });
            }
            segments.append(&mut path);
            path = segments;
            if link.is_stale {
                stale.push(root);
            }
            any_too_old |= link.too_old;
            fresh = Some(fresh.map_or(link.fresh_until, |fresh| fresh.min(link.fresh_until)));
            valid = valid.into_iter().chain(link.valid_until).min();
            root = link.target.root;
            if !matches!(root, Root::Ipfs(_)) {
                via.push(text_of(&root));
            }
        }
        Walk::Fails(NameError::TooDeep(text_of(start)))
    }

    fn resolution(
        &self,
        root: Cid,
        path: Vec<String>,
        via: Vec<String>,
        fresh: Option<Timestamp>,
        valid: Option<Timestamp>,
    ) -> Resolution {
        Resolution { root, path, via, fresh_until: fresh.unwrap_or(self.now), valid_until: valid }
    }

    /// What is known of one name.
    fn link(&self, root: &Root) -> Result<Link, Walk> {
        match root {
            Root::Ipns(name) => self.link_of_name(name),
            Root::Domain(domain) => {
                let known = self.links.known(domain, self.now);
                let link = known.ok_or_else(|| Walk::Stuck(root.clone(), NameError::NotFound(domain.clone())))?;
                let is_stale = link.fresh_until <= self.now;
                Ok(Link {
                    target: link.target,
                    fresh_until: link.fresh_until,
                    valid_until: None,
                    is_stale,
                    too_old: false,
                })
            }
            Root::Ipfs(cid) => Ok(self.link_of_cid(*cid)),
        }
    }

    /// A CID stands for itself.
    fn link_of_cid(&self, cid: Cid) -> Link {
        Link { target: cid.into(), fresh_until: self.now, valid_until: None, is_stale: false, too_old: false }
    }

    fn link_of_name(&self, name: &Name) -> Result<Link, Walk> {
        let entry = self.usable(name).map_err(|error| Walk::Stuck(Root::Ipns(*name), error))?;
        let stuck = || Walk::Stuck(Root::Ipns(*name), NameError::NotFound(name.to_string()));
        let record = entry.held.record().ok_or_else(stuck)?;
        entry.set_used(self.now);
        let target = record.target().map_err(|_| {
            let target = String::from_utf8_lossy(record.value()).into_owned();
            // A newer record may mend it.
            Walk::Stuck(Root::Ipns(*name), NameError::Target { name: name.to_string(), target })
        })?;
        let fresh_until = entry.checked().after(record.ttl());
        let is_stale = self.is_stale(&entry);
        Ok(Link {
            target,
            fresh_until,
            valid_until: Some(record.eol().timestamp()),
            is_stale,
            too_old: self.is_too_old(&entry),
        })
    }

    /// Whether it is so stale that nobody should be shown it before it was asked for again.
    pub(crate) fn is_too_old(&self, entry: &Entry) -> bool {
        let ttl = entry.held.record().map_or(REFRESH_MIN, Record::ttl);
        self.is_stale(entry) && entry.checked().after(ttl).after(self.config.stale_max) <= self.now
    }

    /// Whether it is past its TTL, and was not asked for lately.
    pub(crate) fn is_stale(&self, entry: &Entry) -> bool {
        let ttl = entry.held.record().map_or(REFRESH_MIN, Record::ttl).max(REFRESH_MIN);
        entry.checked().after(ttl) <= self.now && entry.retry() <= self.now
    }

    /// The entry of `name`, when it holds a record that counts.
    pub(crate) fn usable(&self, name: &Name) -> Result<Arc<Entry>, NameError> {
        let entry = self.store.entry(name).ok_or_else(|| NameError::NotFound(name.to_string()))?;
        match entry.kept_error() {
            Some(cause) => Err(NameError::Invalid { name: name.to_string(), cause }),
            None if entry.is_live(self.now) => Ok(entry),
            None => Err(NameError::Expired(name.to_string())),
        }
    }
}

/// A name as people write it.
pub(crate) fn text_of(root: &Root) -> String {
    match root {
        Root::Ipfs(cid) => cid.to_string(),
        Root::Ipns(name) => name.to_string(),
        Root::Domain(domain) => domain.clone(),
    }
}
