//! Purges by a site's own key: of whichever sites here are that site, under all of their hosts.

use std::io;
use std::sync::{Arc, PoisonError};

use atoll_cache::{Degree, Purge};
use atoll_core::record::SitePurge;

use super::{Front, Fronts};

impl Fronts {
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
