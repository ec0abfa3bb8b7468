//! What an operator can set about a site with origins. Plain data; a crash loses nothing.

use std::time::Duration;

use atoll_cache::{Config as CacheConfig, Key, Profile, Rules};

use super::Quota;
use atoll_fallback::{OriginConfig, PoolConfig, Timeouts};
use serde::{Deserialize, Serialize};

use super::both::Both;
use super::lead::Source;
use super::page::Page;
use super::routes::RouteConfig;
use crate::route;

/// The most sites, hosts of a site, and origins of a site.
const MANY_MAX: usize = 1024;

/// A site whose content comes from servers elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SiteConfig {
    /// Its host names, in lower case and without port; `*` is every host that no other site has, the gateway's own names too.
    pub hosts: Vec<String>,
    /// Its servers.
    pub origins: Vec<OriginConfig>,
    /// What was published of it, as `/ipfs/CID` or `/ipns/NAME`; empty if nothing was.
    pub content: String,
    /// The name (IPNS) of the key whose signed purges count for it; empty for that of `content`, if that is a name.
    pub key: String,
    /// Which of the two leads: what was published (`content`), or the servers (`origin`).
    pub prefer: Source,
    /// For how long the other one leads at least, once that has failed.
    #[serde(with = "humantime_serde")]
    pub hold: Duration,
    /// Whether every visitor is told that it is being worked on.
    pub maintenance: bool,
    /// File of the page (HTML) that visitors are shown then, and when nobody answers; empty for a plain one.
    pub maintenance_page: String,
    /// How they share the requests, and when one is left out.
    pub pool: PoolConfig,
    /// Which of them answer what; the first route that fits a request counts, and without one all of them may.
    pub routes: Vec<RouteConfig>,
    /// The protocols that a visitor's connection may go on in, if the server agrees (RFC 9110, section 7.8).
    pub upgrades: Vec<String>,
    /// How long neither side may say anything on such a connection.
    #[serde(with = "humantime_serde")]
    pub switched_idle: Duration,
    /// Whether a stranger has chosen the servers: they must then be on the public Internet, and agree (`/.well-known/atoll`).
    pub published: bool,
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
            content: String::new(),
            key: String::new(),
            prefer: Source::Content,
            hold: Duration::from_secs(60),
            maintenance: false,
            maintenance_page: String::new(),
            pool: PoolConfig::default(),
            routes: Vec::new(),
            upgrades: vec!["websocket".to_owned()],
            switched_idle: Duration::from_secs(600),
            published: false,
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

    /// The name of the key that may purge it, in its canonical form.
    pub(super) fn purged_by(&self) -> Option<String> {
        let text = if self.key.is_empty() { self.content.strip_prefix("/ipns/")? } else { &self.key };
        route::key(text.trim_end_matches('/'))
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
        let servers = self.origins.iter().map(|origin| format!("{} {} {:?}", origin.url, origin.host, origin.bucket));
        let routes = self.routes.iter().map(|route| format!("{route:?}"));
        let profile = if self.cache.profile == Profile::Cdn { "cdn" } else { "rfc9111" };
        let all: Vec<String> = [profile.to_owned()].into_iter().chain(servers).chain(routes).collect();
        Key::site(all.iter().map(String::as_str))
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
        if self.published && self.hosts.iter().any(|host| host == "*") {
            wrong("published: no server can agree to every host; name them in hosts".to_owned());
        }
        if self.origins.is_empty() {
            wrong("origins: is empty: nobody would answer".to_owned());
        }
        if self.hosts.len().max(self.origins.len()).max(self.routes.len()) > MANY_MAX {
            wrong(format!("hosts, origins, routes: over the limit of {MANY_MAX}"));
        }
        if !self.key.is_empty() && self.purged_by().is_none() {
            wrong(format!("key: `{}` is no name of a key, such as k51…", self.key));
        }
        if let Err(problem) = Both::of(self) {
            wrong(problem);
        }
        if let Err(problem) = Page::of(&self.maintenance_page) {
            wrong(problem);
        }
        for problem in self.pool.problems() {
            wrong(format!("pool.{problem}"));
        }
        for problem in self.routes.iter().flat_map(|route| route.problems(&self.origins)) {
            wrong(format!("routes.{problem}"));
        }
        let token = |name: &String| {
            let byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-./".contains(&byte);
            // What is HTTP again would pass by all that is checked here.
            !name.is_empty() && name.bytes().all(byte) && !name.starts_with("h2") && !name.starts_with("http")
        };
        for name in self.upgrades.iter().filter(|name| !token(name)) {
            wrong(format!("upgrades: `{name}` is no protocol in lower case, or one of HTTP's own"));
        }
        if self.switched_idle.is_zero() {
            wrong("switched_idle: must be over 0 s".to_owned());
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
        let origins = vec![OriginConfig { url: url.to_owned(), ..OriginConfig::default() }];
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
