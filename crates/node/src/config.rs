//! A node's configuration: flags over environment over `node.toml` over defaults, every problem reported at once.
//!
//! Each setting has a path such as `gateway.listen`; its environment variable is `ATOLL_` and the path in capitals with
//! `_` for `.`. Nothing is read after start.

mod layers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atoll_edge::front::SiteConfig;
use serde::{Deserialize, Serialize};

pub use crate::delegated::DelegatedConfig;
pub use layers::{Layers, Problem, Problems, Source, Sources};

/// What a takeover may be given: no start is faster, and no visitor waits longer.
const TAKEOVER_MIN: Duration = Duration::from_secs(1);
const TAKEOVER_MAX: Duration = Duration::from_secs(3600);

/// All settings of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who the node is.
    pub node: NodeConfig,
    /// The block store.
    pub store: StoreConfig,
    /// The public listener.
    pub gateway: atoll_edge::Config,
    /// Sites whose content comes from servers elsewhere (`docs/front.md`).
    pub sites: Vec<SiteConfig>,
    /// What is stored of those servers' answers.
    pub cache: atoll_edge::front::CacheConfig,
    /// The certificates of listeners with TLS.
    pub certs: atoll_certs::Config,
    /// The listener of operators: status page, metrics, health.
    pub admin: AdminConfig,
    /// Members, placement, fetching.
    pub routing: atoll_routing::Config,
    /// Connections to other peers over libp2p.
    pub swarm: atoll_swarm::Config,
    /// Delegated Routing over HTTP: answering others, and asking others.
    pub delegated: DelegatedConfig,
    /// Pinning for publishers elsewhere: the IPFS Pinning Service API.
    pub pinning: atoll_pinning::Config,
    /// What names point at: IPNS records and DNSLinks.
    pub names: atoll_identity::Config,
    /// What is not shown.
    pub deny: atoll_security::Config,
    /// What is written to standard error.
    pub log: LogConfig,
}

/// Who the node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Addresses under which others reach the public listener, as multiaddrs; empty: the address that was bound.
    pub announce: Vec<String>,
    /// Gateways of members to join through, as multiaddrs or `http://host:port`.
    pub seeds: Vec<String>,
    /// File with the operator's certificate for this node (`atoll key certify`); empty: the node makes an operator key
    /// of its own.
    pub operator_certificate: String,
    /// Label of that own operator.
    pub operator_label: String,
    /// Which sites it holds for others: `any` or `none`; a list of site ids for some.
    pub accept: Accept,
    /// For how long after another version of a site was published files of the earlier one are still found whose names hold a hash
    /// (`app.3f9a01bc.js`); 0: not at all.
    #[serde(with = "humantime_serde")]
    pub earlier: Duration,
    /// Of which sites that it holds it asks the servers that these name themselves (`atoll.toml`), if those agree: `none` or `any`; a
    /// list of site ids for some.
    pub servers: Accept,
    /// How long a process that takes over (`--takeover`) may take from when it is given the folder until it serves; then it is ended, and the
    /// one before goes on.
    #[serde(with = "humantime_serde")]
    pub takeover_timeout: Duration,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            announce: Vec::new(),
            seeds: Vec::new(),
            operator_certificate: String::new(),
            operator_label: "independent".to_owned(),
            accept: Accept::Word(AcceptWord::Any),
            earlier: Duration::from_secs(86_400),
            servers: Accept::Word(AcceptWord::None),
            takeover_timeout: Duration::from_secs(120),
        }
    }
}

/// Which placements the node accepts, as it is written in TOML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Accept {
    /// `"any"` or `"none"`.
    Word(AcceptWord),
    /// Site ids.
    Sites(Vec<String>),
}

impl Accept {
    /// Whether it accepts nothing, whatever comes.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::Word(AcceptWord::None)
    }
}

/// See [`Accept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AcceptWord {
    /// All, while there is room.
    Any,
    /// None.
    None,
}

/// The block store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// The most bytes on disk.
    pub bytes_max: u64,
    /// The most bytes of verified blocks in memory.
    pub cache_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { bytes_max: 64 << 30, cache_bytes: 256 << 20 }
    }
}

/// The listener of operators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Address; keep it on loopback or a private network.
    pub listen: SocketAddr,
    /// Host names beside `localhost` and IP addresses under which it answers.
    pub hosts: Vec<String>,
    /// The largest CAR that is taken, in bytes.
    pub upload_bytes_max: u64,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8081)), hosts: Vec::new(), upload_bytes_max: 32 << 30 }
    }
}

/// What is written to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Directives such as `info` or `info,atoll_edge=debug`.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".to_owned(), json: false }
    }
}

impl Config {
    /// The certificates that are needed: none without a listener for them.
    pub(crate) fn certs_used(&self) -> atoll_certs::Config {
        if self.gateway.tls.listen.is_empty() {
            return atoll_certs::Config { files: Vec::new(), self_signed: Vec::new(), ..self.certs.clone() };
        }
        self.certs.clone()
    }

    /// What the types cannot say, all of it.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |path: &str, why: String| problems.push(Problem::new(path, why));
        for text in &self.node.announce {
            if text.parse::<atoll_core::Multiaddr>().is_err() {
                wrong("node.announce", format!("`{text}` is not a multiaddr such as /ip4/192.0.2.1/tcp/8080/http"));
            }
        }
        for text in &self.node.seeds {
            if let Err(why) = crate::address::parse(text) {
                wrong("node.seeds", why.to_string());
            }
        }
        for (setting, accept) in [("node.accept", &self.node.accept), ("node.servers", &self.node.servers)] {
            let Accept::Sites(sites) = accept else { continue };
            for site in sites.iter().filter(|site| site.parse::<atoll_core::SiteId>().is_err()) {
                wrong(setting, format!("`{site}` is not a site id"));
            }
        }
        if self.node.earlier > Duration::from_secs(30 * 86_400) {
            wrong("node.earlier", "is over 30 days".to_owned());
        }
        if !(TAKEOVER_MIN..=TAKEOVER_MAX).contains(&self.node.takeover_timeout) {
            wrong("node.takeover_timeout", format!("is not between {TAKEOVER_MIN:?} and {TAKEOVER_MAX:?}"));
        }
        if self.node.operator_label.len() > atoll_core::record::LABEL_BYTES_MAX {
            wrong("node.operator_label", "is longer than 63 bytes".to_owned());
        }
        if self.store.bytes_max < 16 << 20 {
            wrong("store.bytes_max", "is below 16777216 (16 MiB), too little for one pack".to_owned());
        }
        if self.gateway.listen == self.admin.listen && self.admin.listen.port() != 0 {
            wrong("admin.listen", "is the same address as gateway.listen; they are separate listeners".to_owned());
        }
        problems.extend(self.gateway.check().into_iter().map(|problem| Problem::in_section("gateway", &problem)));
        problems.extend(SiteConfig::problems(&self.sites).into_iter().map(|problem| Problem::new("sites", problem)));
        problems.extend(self.cache.problems().into_iter().map(|problem| Problem::in_section("cache", &problem)));
        if self.certs.acme.is_used() && self.gateway.tls.listen.is_empty() {
            problems.push(Problem::new("certs.acme", "needs gateway.tls.listen, where certificates are shown"));
        }
        problems.extend(self.certs.problems().into_iter().map(|problem| Problem::in_section("certs", &problem)));
        problems.extend(self.routing.problems().into_iter().map(|problem| Problem::in_section("routing", &problem)));
        problems.extend(self.swarm.problems().into_iter().map(|problem| Problem::in_section("swarm", &problem)));
        let delegated = self.delegated.problems().into_iter();
        problems.extend(delegated.map(|problem| Problem::in_section("delegated", &problem)));
        if !self.pinning.listen.is_empty() && self.swarm.listen.is_empty() {
            problems.push(Problem::new("pinning.listen", "needs swarm.listen: publishers' nodes connect to the swarm"));
        }
        problems.extend(self.pinning.problems().into_iter().map(|problem| Problem::in_section("pinning", &problem)));
        problems.extend(self.names.problems().into_iter().map(|problem| Problem::in_section("names", &problem)));
        problems.extend(self.deny.check().into_iter().map(|problem| Problem::in_section("deny", &problem)));
        if !crate::log::is_filter(&self.log.filter) {
            problems.push(Problem::new("log.filter", "takes directives such as `info` or `info,atoll_edge=debug`"));
        }
        problems
    }
}

/// Where a node keeps things: one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.0.join("node.toml")
    }

    /// Its secret keys.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// Its blocks.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The records of others that it knows.
    pub fn records(&self) -> PathBuf {
        self.0.join("records")
    }

    /// What is stored of origins' answers.
    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// The IPNS records that it keeps.
    pub fn names(&self) -> PathBuf {
        self.0.join("names")
    }

    /// What was announced to the DHTs, and when.
    pub fn provided(&self) -> PathBuf {
        self.0.join("provided")
    }

    /// The bundles by which it signs.
    pub fn bundles(&self) -> PathBuf {
        self.0.join("bundles")
    }

    /// The last good word of each site on its servers.
    pub fn servers(&self) -> PathBuf {
        self.0.join("servers")
    }

    /// Keys and certificates of listeners with TLS.
    pub fn tls(&self) -> PathBuf {
        self.0.join("tls")
    }

    /// Pin requests of publishers.
    pub fn pinning(&self) -> PathBuf {
        self.0.join("pinning")
    }

    /// Which earlier versions of sites are kept.
    pub fn earlier(&self) -> PathBuf {
        self.0.join("earlier")
    }

    /// How far publishers' purges are obeyed.
    pub fn purged(&self) -> PathBuf {
        self.0.join("purged")
    }

    /// What drills found.
    pub fn drills(&self) -> PathBuf {
        self.0.join("drills.json")
    }

    /// The socket of its CLI.
    pub fn socket(&self) -> PathBuf {
        self.0.join("node.sock")
    }

    /// The token of its admin API.
    pub fn token(&self) -> PathBuf {
        self.0.join("admin.token")
    }
}

#[cfg(test)]
mod tests;
