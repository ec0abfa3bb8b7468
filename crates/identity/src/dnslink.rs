//! DNSLinks (dnslink.dev): host names that stand for content paths. They are as good as the DNS, or the settings, that
//! they come by. Today they come from the settings alone; a resolver of DNS is another [`DnsLinks`].

use std::collections::BTreeMap;
use std::time::Duration;

use atoll_core::content_path::{ContentPath, Root};
use atoll_core::{BoxFuture, NameError, Timestamp};

use crate::config::Config;

/// What a host name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsLink {
    /// The content path.
    pub target: ContentPath,
    /// Until when it need not be asked for again.
    pub fresh_until: Timestamp,
}

/// Where DNSLinks come from.
pub trait DnsLinks: Send + Sync + 'static {
    /// What is known of `domain` without waiting, even if it is stale.
    fn known(&self, domain: &str, now: Timestamp) -> Option<DnsLink>;

    /// Finds out, so that [`Self::known`] knows, or that there is nothing to know.
    fn look_up<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<(), NameError>>;
}

/// The DNSLinks of the settings: always fresh, and for visitors' caches as long as the settings say.
#[derive(Clone, Debug, Default)]
pub struct MapLinks {
    links: BTreeMap<String, ContentPath>,
    ttl: Duration,
}

impl MapLinks {
    /// Those of settings that were checked; what is no DNSLink is left out.
    pub fn new(config: &Config) -> Self {
        let read = |(domain, target): (&String, &String)| match domain.parse() {
            Ok(Root::Domain(domain)) => Some((domain, target.parse().ok()?)),
            _ => None,
        };
        Self { links: config.dnslink.iter().filter_map(read).collect(), ttl: config.dnslink_ttl }
    }
}

impl DnsLinks for MapLinks {
    fn known(&self, domain: &str, now: Timestamp) -> Option<DnsLink> {
        let target = self.links.get(domain)?.clone();
        Some(DnsLink { target, fresh_until: now.after(self.ttl) })
    }

    fn look_up<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<(), NameError>> {
        let known = self.links.contains_key(domain);
        Box::pin(async move { if known { Ok(()) } else { Err(NameError::NotFound(domain.to_owned())) } })
    }
}
