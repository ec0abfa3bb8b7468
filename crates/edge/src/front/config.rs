//! What an operator can set about a site with origins. Plain data; a crash loses nothing.

use super::Quota;
use atoll_cache::{Config as CacheConfig, Key, Profile, Rules};
use atoll_fallback::{OriginConfig, Timeouts};
use serde::{Deserialize, Serialize};

/// The most sites, hosts of a site, and origins of a site.
const MANY_MAX: usize = 1024;

/// A site whose content comes from servers elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SiteConfig {
    /// Its host names, in lower case and without port; `*` is every host that no other site has, the gateway's own names too.
    pub hosts: Vec<String>,
    /// Its servers, in the order in which they are tried.
    pub origins: Vec<OriginConfig>,
    /// The largest body of a request, in MiB.
    pub upload_mib: usize,
    /// How long each step with an origin may take.
    pub timeouts: Timeouts,
    /// What is stored of its answers, and used again.
    pub cache: Rules,
    /// What it may take of what all sites share.
    pub quota: Quota,
}

impl Default for SiteConfig {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            origins: Vec::new(),
            upload_mib: 1024,
            timeouts: Timeouts::default(),
            cache: Rules::default(),
            quota: Quota::default(),
        }
    }
}

impl SiteConfig {
    /// Every problem of these sites, each naming its setting; empty when there is none.
    pub fn problems(sites: &[Self]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut seen = std::collections::HashSet::new();
        if sites.len() > MANY_MAX {
            problems.push(format!("{} sites are over the limit of {MANY_MAX}", sites.len()));
        }
        for (n, site) in sites.iter().enumerate() {
            let mut wrong = |problem: String| problems.push(format!("site {}, {problem}", n + 1));
            site.check(&mut wrong);
            for host in site.hosts.iter().filter(|host| !seen.insert((*host).clone())) {
                wrong(format!("hosts: another site has `{host}` too"));
            }
        }
        problems
    }

    /// The cache of its own, if it has one.
    pub(super) fn own_cache(&self, cache: &CacheConfig) -> Option<CacheConfig> {
        let Quota { memory_mib, disk_mib, .. } = self.quota;
        let object_mib = cache.object_mib.min(memory_mib);
        (memory_mib > 0).then_some(CacheConfig { memory_mib, disk_mib, object_mib, ..cache.clone() })
    }

    /// The folder of that: each host is of one site.
    pub(super) fn own_folder(&self) -> String {
        self.hosts.iter().find(|host| *host != "*").map_or_else(|| "every".to_owned(), |host| format!("of-{host}"))
    }

    /// A number that changes with its servers and what of their answers is stored: what was stored of others is not its own.
    pub(super) fn number(&self) -> u64 {
        let servers = self.origins.iter().flat_map(|origin| [&*origin.url, &*origin.host]);
        let profile = if self.cache.profile == Profile::Cdn { "cdn" } else { "rfc9111" };
        Key::site([profile].into_iter().chain(servers))
    }

    fn check(&self, wrong: &mut impl FnMut(String)) {
        let sound = |host: &String| {
            let byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
            host == "*" || (!host.is_empty() && host.len() <= 253 && !host.ends_with('.') && host.bytes().all(byte))
        };
        if self.hosts.is_empty() {
            wrong("hosts: is empty; `*` stands for every host".to_owned());
        }
        for host in self.hosts.iter().filter(|host| !sound(host)) {
            wrong(format!("hosts: `{host}` is neither a host name in lower case, without port, nor `*`"));
        }
        if self.origins.is_empty() {
            wrong("origins: is empty: nobody would answer".to_owned());
        }
        if self.hosts.len().max(self.origins.len()) > MANY_MAX {
            wrong(format!("hosts, origins: over the limit of {MANY_MAX}"));
        }
        for problem in self.origins.iter().flat_map(OriginConfig::problems) {
            wrong(format!("origins.{problem}"));
        }
        if let Some(problem) = self.quota.problem() {
            wrong(problem);
        }
        for problem in self.timeouts.problems() {
            wrong(format!("timeouts.{problem}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(host: &str, url: &str) -> SiteConfig {
        let origins = vec![OriginConfig { url: url.to_owned(), host: String::new() }];
        SiteConfig { hosts: vec![host.to_owned()], origins, ..SiteConfig::default() }
    }

    #[test]
    fn problems_name_the_site_and_its_setting() {
        let sound = [site("*", "http://127.0.0.1:3000"), site("a.example", "https://b.example")];
        assert_eq!(SiteConfig::problems(&sound), [""; 0]);
        let wrong =
            [site("A.example", "b.example"), SiteConfig::default(), site("*", "http://b"), site("*", "http://b")];
        let problems = SiteConfig::problems(&wrong);
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(problems[0].starts_with("site 1, hosts: ") && problems[4].starts_with("site 4, hosts: "));
    }
}
