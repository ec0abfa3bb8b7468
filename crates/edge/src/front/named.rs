//! Sites by their own names: those that have named their servers themselves, and purges by a site's own key, of whichever sites here are
//! that site, under all of their hosts.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use atoll_cache::{Degree, Purge};
use atoll_core::Names;
use atoll_core::record::SitePurge;

use super::{Front, FrontError, Fronts, OriginView, Published};
use crate::host::{Host, Label};
use crate::route::Site;

impl Fronts {
    /// Has the site of a name (an IPNS key in base36) come from the servers that it names itself, too; or no longer.
    ///
    /// # Errors
    /// [`FrontError`] if they cannot be spoken to; what was before stands then.
    pub fn publish(&self, name: &str, published: Option<&Published>) -> Result<(), FrontError> {
        let front = match (published.filter(|published| !published.origins.is_empty()), self.stores.first()) {
            (Some(published), Some(shared)) => {
                let front = self.front(&published.site(name), Arc::clone(shared))?;
                Some(Arc::new(Front { stored_as: Some(name.to_owned()), ..front }))
            }
            _ => None,
        };
        let mut all = self.published.write().unwrap_or_else(PoisonError::into_inner);
        match front {
            Some(front) => drop(all.insert(name.to_owned(), front)),
            None => drop(all.remove(name)),
        }
        self.has_published.store(!all.is_empty(), Ordering::Release);
        Ok(())
    }

    /// The site of a host that has named its servers itself: by its own name, or by a domain whose link leads over that.
    pub(crate) fn published(&self, host: Host<'_>, names: &dyn Names) -> Option<Arc<Front>> {
        if !self.has_published.load(Ordering::Acquire) {
            return None;
        }
        let asked = match host {
            Host::Named { label, .. } => match Label::named(label).ok()? {
                Label::Site(Site::Name(name)) => name,
                _ => return None,
            },
            Host::Other { name, .. } => name.to_ascii_lowercase(),
            _ => return None,
        };
        let find = |name: &str| self.published.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        find(&asked).or_else(|| names.cached(&asked)?.via.iter().find_map(|name| find(name)))
    }

    /// The servers of sites that have named them themselves, each by the site's name and in the order of those: of so many at most, since
    /// strangers choose how many there are.
    pub fn published_origins(&self, most: usize) -> Vec<(String, Vec<OriginView>)> {
        let published = self.published.read().unwrap_or_else(PoisonError::into_inner);
        let mut sites: Vec<_> = published.iter().collect();
        sites.sort_unstable_by_key(|(name, _)| *name);
        let mut left = most;
        let views = |(name, front): (&String, &Arc<Front>)| {
            let mut views = front.origins.views();
            views.truncate(left);
            left = left.saturating_sub(views.len());
            (name.clone(), views)
        };
        sites.into_iter().map(views).take_while(|(_, views)| !views.is_empty()).collect()
    }

    /// Whether a site here is that of this name (an IPNS key in base36).
    pub fn has_named(&self, name: &str) -> bool {
        !self.named(name).is_empty()
    }

    /// Forgets what a site's own key has purged, under every host that it has here; visitors may have come by any of these `ports`.
    /// When it returns, no crash brings it back.
    ///
    /// # Errors
    /// That of the disk; it is forgotten until the next start then.
    pub async fn purge_named(&self, name: &str, ports: &[u16], what: &SitePurge, degree: Degree) -> io::Result<()> {
        for front in self.named(name) {
            for purge in front.purges(ports, what) {
                front.store.purge(&purge, degree).await?;
            }
        }
        Ok(())
    }

    fn named(&self, name: &str) -> Vec<Arc<Front>> {
        let own = self.published.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        self.all.iter().filter(|front| front.key.as_deref() == Some(name)).cloned().chain(own).collect()
    }
}

impl Front {
    /// What a purge of its own key means for what is stored of it.
    fn purges(&self, ports: &[u16], what: &SitePurge) -> Vec<Purge> {
        let whole = what.url.contains("://");
        if whole {
            let purge = Purge::of(&what.url, what.prefix, what.group.as_deref()).ok();
            return purge.filter(|purge| self.has(purge)).into_iter().collect();
        }
        if self.hosts.iter().any(|host| host == "*") {
            // Which hosts visitors have asked for, nobody has written down.
            return vec![Purge::Everything];
        }
        let with_ports = |host: &String| {
            let ported: Vec<String> = ports.iter().map(|port| format!("{host}:{port}")).collect();
            std::iter::once(host.clone()).chain(ported)
        };
        let hosts = match &self.stored_as {
            Some(name) => vec![name.clone()],
            None => self.hosts.iter().flat_map(with_ports).collect(),
        };
        let purge = |host: String| match (&what.group, &*what.url) {
            (Some(group), _) => Purge::Group { host, group: group.clone() },
            (None, "") => Purge::Prefix(format!("{host}/")),
            (None, path) if what.prefix => Purge::Prefix(format!("{host}{path}")),
            (None, path) => Purge::Url(format!("{host}{path}")),
        };
        hosts.into_iter().map(purge).collect()
    }

    /// Whether a purge is of one of its hosts.
    fn has(&self, purge: &Purge) -> bool {
        let authority = match purge {
            Purge::Everything => return false,
            Purge::Url(url) | Purge::Prefix(url) => url.split('/').next().unwrap_or_default(),
            Purge::Group { host, .. } => host,
        };
        let host = crate::host::name_of(authority).unwrap_or_default();
        self.hosts.iter().any(|own| own == host || own == "*")
    }
}
