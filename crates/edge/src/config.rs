//! What an operator can set for the public listener. Plain data; a crash loses nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use atoll_routing::FetchPolicy;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use crate::http2::config::Http2;
pub use crate::http3::config::Http3;
use crate::respond::contact::{CONTACT_BYTES_MAX, is_contact};
pub use crate::sign::config::Signing;
pub use crate::tls::config::Tls;

/// The most worker threads.
pub const THREADS_MAX: usize = 256;
/// The most gateway names of one kind.
pub const NAMES_MAX: usize = 64;

/// The public listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Worker threads, each with a listener of its own; 0 stands for one per core.
    pub threads: usize,
    /// Host names served as path gateways (`/ipfs/CID`), beside IP addresses, which always are.
    pub path_names: Vec<String>,
    /// Host names whose subdomains are gateways (`CID.ipfs.NAME`); a path request there is redirected to its subdomain.
    pub subdomain_names: Vec<String>,
    /// Proxies before this node whose `X-Forwarded-Host` and `X-Forwarded-Proto` are believed, as networks
    /// (`127.0.0.1/32`). Anybody else's are ignored.
    pub trusted_proxies: Vec<IpNet>,
    /// Load balancers before this node that say before each connection whose it is (PROXY protocol, version 2), as networks. A connection
    /// from there without that is closed; from elsewhere it is not understood.
    pub proxy_protocol: Vec<IpNet>,
    /// Where to report abuse, an e-mail address or a URL: on pages for what is not found or not shown. Empty: nowhere.
    pub abuse_contact: String,
    /// What is fetched for visitors beyond what the node holds: `held` (nothing), `placed` (sites with a placement that
    /// this node accepts), `{ allow-list = [CID, …] }`, or `any`, which makes the node a relay for strangers.
    pub fetch: FetchPolicy,
    /// Whether answers that had to be waited for say for how long, step by step (`Server-Timing`).
    pub server_timing: bool,
    /// The listener that speaks TLS.
    pub tls: Tls,
    /// How much one connection over HTTP/2 may ask for at once.
    pub http2: Http2,
    /// The listener that speaks HTTP/3.
    pub http3: Http3,
    /// How much at once.
    pub limits: Limits,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// The cache of ready responses.
    pub hot: Hot,
    /// Signing answers.
    pub signing: Signing,
}

/// How much the listener takes on at once. Over a limit, clients are answered 429 or 503 with `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open connections in total. An idle one costs about 2 KiB before its first request, 15 KiB after it; when all are
    /// taken, those idle longest are closed for new ones.
    pub connections: usize,
    /// Open connections of one address (IPv6: of one /64).
    pub connections_per_address: usize,
    /// Requests in flight of one address (IPv6: of one /64).
    pub requests_per_address: usize,
    /// Requests in total that wait for blocks or names, on their way to the first byte of their answer.
    pub waiting: usize,
    /// Memory of answers that are being sent, in MiB; one address has a quarter of it. Over it, further large answers are
    /// refused, and the clients that take theirs most slowly are cut off. Each costs three blocks of what it reads.
    pub sending_mib: usize,
    /// What the kernel holds of an answer on its way to one client, in KiB; it counts its own cost too, and takes twice as
    /// much. A client 100 ms away is sent up to ten times that in a second. 0: as much as the kernel likes, 4 MiB mostly.
    pub send_buffer_kib: usize,
    /// Bytes of a request's head: request line and headers.
    pub head_bytes: usize,
}

/// How long each step may take before the connection is closed, or the request answered 504 with the step's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// A connection without a request on it.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// From the first byte of a request's head to its last.
    #[serde(with = "humantime_serde")]
    pub head: Duration,
    /// Receiving the body of a member's message.
    #[serde(with = "humantime_serde")]
    pub body: Duration,
    /// A client that takes less than 16 KiB in this time is cut off.
    #[serde(with = "humantime_serde")]
    pub slow_reader: Duration,
    /// Walking a path from its root to what it names.
    #[serde(with = "humantime_serde")]
    pub resolve: Duration,
    /// From there to the first byte of the answer; a listing's entries count as that.
    #[serde(with = "humantime_serde")]
    pub first_byte: Duration,
    /// Between two parts of an answer; over it the connection is broken, so that no client takes a part for the whole.
    #[serde(with = "humantime_serde")]
    pub chunk: Duration,
    /// Answering a member's message.
    #[serde(with = "humantime_serde")]
    pub message: Duration,
    /// For requests in flight when the node shuts down.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

/// The cache of ready responses, shared by all workers. Their bodies share memory with the block cache where it still
/// holds the blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hot {
    /// The most responses.
    pub entries: usize,
    /// The most memory of their bodies, in MiB.
    pub memory_mib: usize,
    /// The largest body that is kept, in MiB.
    pub body_mib: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            threads: 0,
            path_names: Vec::new(),
            subdomain_names: vec!["localhost".to_owned()],
            trusted_proxies: Vec::new(),
            proxy_protocol: Vec::new(),
            abuse_contact: String::new(),
            fetch: FetchPolicy::default(),
            server_timing: true,
            tls: Tls::default(),
            http2: Http2::default(),
            http3: Http3::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            hot: Hot::default(),
            signing: Signing::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 12_000,
            connections_per_address: 1_024,
            requests_per_address: 256,
            waiting: 4_096,
            sending_mib: 1_024,
            send_buffer_kib: 512,
            head_bytes: 32 * 1024,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(75),
            head: Duration::from_secs(10),
            body: Duration::from_secs(15),
            slow_reader: Duration::from_secs(30),
            resolve: Duration::from_secs(20),
            first_byte: Duration::from_secs(20),
            chunk: Duration::from_secs(30),
            message: Duration::from_secs(10),
            drain: Duration::from_secs(20),
        }
    }
}

impl Default for Hot {
    fn default() -> Self {
        Self { entries: 10_000, memory_mib: 64, body_mib: 4 }
    }
}

impl Config {
    /// Every problem of this configuration, each naming its setting; empty when there is none.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.threads > THREADS_MAX {
            problems.push(format!("threads: {} is over the limit of {THREADS_MAX}", self.threads));
        }
        if self.trusted_proxies.len() > NAMES_MAX {
            problems.push(format!("trusted_proxies: over the limit of {NAMES_MAX} networks"));
        }
        if self.proxy_protocol.len() > NAMES_MAX {
            problems.push(format!("proxy_protocol: over the limit of {NAMES_MAX} networks"));
        }
        if !self.abuse_contact.is_empty() && !is_contact(&self.abuse_contact) {
            let most = CONTACT_BYTES_MAX;
            problems.push(format!("abuse_contact: must be an e-mail address or a URL of at most {most} bytes"));
        }
        for (setting, names) in [("path_names", &self.path_names), ("subdomain_names", &self.subdomain_names)] {
            check_names(setting, names, &mut problems);
        }
        for name in self.path_names.iter().filter(|name| self.subdomain_names.contains(name)) {
            problems.push(format!("path_names: {name} is in subdomain_names too; a name has one form"));
        }
        self.tls.check(&mut problems);
        self.http2.check(&mut problems);
        self.http3.check(&mut problems);
        if !self.http3.listen.is_empty() && self.tls.listen.is_empty() {
            problems.push("http3.listen: needs tls.listen, whose answers tell clients of it".to_owned());
        }
        self.limits.check(&mut problems);
        self.timeouts.check(&mut problems);
        self.hot.check(&mut problems);
        self.signing.check(&mut problems);
        problems
    }

    /// The number of worker threads: as set, or one per core.
    pub fn workers(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            some => some,
        }
    }
}

impl Limits {
    fn check(&self, problems: &mut Vec<String>) {
        for (setting, value) in [
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
            ("requests_per_address", self.requests_per_address),
            ("waiting", self.waiting),
            ("sending_mib", self.sending_mib),
        ] {
            if value == 0 {
                problems.push(format!("limits.{setting}: 0 would refuse everybody"));
            }
        }
        if self.send_buffer_kib > 64 * 1024 {
            problems.push(format!("limits.send_buffer_kib: {} is over the limit of 65536", self.send_buffer_kib));
        }
        if !(8 * 1024..=64 * 1024).contains(&self.head_bytes) {
            problems.push(format!("limits.head_bytes: {} is not between 8192 and 65536", self.head_bytes));
        }
    }
}

impl Timeouts {
    fn check(&self, problems: &mut Vec<String>) {
        for (setting, value) in [
            ("idle", self.idle),
            ("head", self.head),
            ("body", self.body),
            ("slow_reader", self.slow_reader),
            ("resolve", self.resolve),
            ("first_byte", self.first_byte),
            ("chunk", self.chunk),
            ("message", self.message),
        ] {
            if value.is_zero() || value > Duration::from_secs(3600) {
                problems.push(format!("timeouts.{setting}: must be over 0 s and at most 1 h"));
            }
        }
    }
}

impl Hot {
    fn check(&self, problems: &mut Vec<String>) {
        if self.entries > 10_000_000 {
            problems.push(format!("hot.entries: {} is over the limit of 10000000", self.entries));
        }
        if self.memory_mib > 1024 * 1024 {
            problems.push(format!("hot.memory_mib: {} is over the limit of 1048576", self.memory_mib));
        }
        if self.body_mib > self.memory_mib {
            problems.push(format!("hot.body_mib: {} is over hot.memory_mib, {}", self.body_mib, self.memory_mib));
        }
    }
}

/// A gateway name is written as browsers send it: lower case, without port or final dot.
fn check_names(setting: &str, names: &[String], problems: &mut Vec<String>) {
    if names.len() > NAMES_MAX {
        problems.push(format!("{setting}: {} names are over the limit of {NAMES_MAX}", names.len()));
    }
    for name in names {
        let label = |label: &str| (1..=63).contains(&label.len());
        let byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        if name.len() > 190 || !name.bytes().all(byte) || !name.split('.').all(label) {
            problems.push(format!("{setting}: {name:?} is not a host name in lower case, without port"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(Config::default().check(), Vec::<String>::new());
    }

    #[test]
    fn all_problems_are_reported_together() {
        let mut config = Config { threads: 1000, ..Config::default() };
        config.path_names = vec!["Edge.example".to_owned(), "localhost".to_owned()];
        config.limits.connections = 0;
        config.timeouts.head = Duration::ZERO;
        config.hot.body_mib = 1000;
        config.abuse_contact = "nobody".to_owned();
        assert_eq!(config.check().len(), 7);
    }
}
