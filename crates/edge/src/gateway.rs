//! What all workers share: the services behind the gateway, the cache of ready responses, the names and limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use atoll_core::earlier::Earlier;
use atoll_core::{Answer, Blocks, Deny, Names as NameSource};
use http::HeaderValue;
use ipnet::IpNet;
use tokio::sync::Semaphore;

use crate::admission::Admission;
use crate::config::{Config, Http2, Http3, Timeouts};
use crate::front::Fronts;
use crate::host::Names;
use crate::hot::Hot;
use crate::observe::Observe;
use crate::respond::contact::Contact;
use crate::sign::{Desk, Signer};
use crate::site::Sites;
use crate::tls::Tls;

/// What stands behind the listener.
#[derive(Clone)]
pub struct Services {
    /// Blocks from wherever they can be had.
    pub blocks: Arc<dyn Blocks>,
    /// Blocks that are held here, for `Cache-Control: only-if-cached`.
    pub local: Arc<dyn Blocks>,
    /// What names point at.
    pub names: Arc<dyn NameSource>,
    /// Earlier versions of sites.
    pub earlier: Arc<dyn Earlier>,
    /// What is not shown. `blocks` and `local` are to hold nothing that it denies.
    pub deny: Arc<dyn Deny>,
    /// Sites whose content comes from servers elsewhere.
    pub fronts: Arc<Fronts>,
    /// Who answers members.
    pub answer: Arc<dyn Answer>,
    /// Who takes note of requests.
    pub observe: Arc<dyn Observe>,
    /// What listeners with TLS show.
    pub certificates: Arc<atoll_certs::Store>,
    /// Who signs answers; `None`: nobody.
    pub signer: Option<Signer>,
}

/// The state that workers share.
pub(crate) struct Gateway {
    pub(crate) services: Services,
    pub(crate) names: Names,
    pub(crate) trusted: Vec<IpNet>,
    balancers: Vec<IpNet>,
    pub(crate) timeouts: Timeouts,
    pub(crate) http2: Http2,
    pub(crate) http3: Http3,
    pub(crate) tls: Tls,
    /// What answers over TLS say of coming back by it.
    pub(crate) hsts: Option<HeaderValue>,
    /// What they say of HTTP/3 (`Alt-Svc`, RFC 7838).
    pub(crate) alternative: Option<HeaderValue>,
    pub(crate) head_bytes_max: usize,
    pub(crate) server_timing: bool,
    pub(crate) hot: Hot,
    /// Connections that rest between requests.
    pub(crate) resting: AtomicUsize,
    pub(crate) sites: Sites,
    pub(crate) desk: Desk,
    pub(crate) contact: Option<Contact>,
    pub(crate) admission: Arc<Admission>,
    /// Whoever writes a page that lists a directory has one of these.
    pub(crate) listings: Semaphore,
    left: AtomicBool,
}

/// The pages that are written at the same time. Each takes some 20 MiB until it is done, and none waits for anything but
/// its turn on a thread.
const LISTINGS_MAX: usize = 4;

impl Gateway {
    /// Clients can come to `http3_port` by HTTP/3, if there is one.
    pub(crate) fn new(
        config: &Config,
        services: Services,
        http3_port: Option<u16>,
    ) -> Result<Arc<Self>, rustls::Error> {
        let tls = Tls::new(&config.tls, Arc::clone(&services.certificates))?;
        let desk = Desk::new(&config.signing, services.signer.clone());
        Ok(Arc::new(Self {
            services,
            names: Names::new(config),
            trusted: config.trusted_proxies.clone(),
            balancers: config.proxy_protocol.clone(),
            timeouts: config.timeouts.clone(),
            http2: config.http2.clone(),
            http3: config.http3.clone(),
            tls,
            hsts: config.tls.hsts(),
            alternative: http3_port.and_then(|port| HeaderValue::try_from(format!("h3=\":{port}\"; ma=86400")).ok()),
            head_bytes_max: config.limits.head_bytes,
            server_timing: config.server_timing,
            hot: Hot::new(&config.hot),
            resting: AtomicUsize::new(0),
            sites: Sites::new(),
            desk,
            contact: Contact::of(&config.abuse_contact),
            admission: Admission::new(config.limits.clone()),
            listings: Semaphore::new(LISTINGS_MAX),
            left: AtomicBool::new(false),
        }))
    }

    /// Clients that ask for something on a connection over HTTP/1 are told to make another one from now on.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Whether that is so.
    pub(crate) fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// Whether what a client at `ip` says about its own clients is believed.
    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|proxy| proxy.contains(&ip.to_canonical()))
    }

    /// Whether connections from `ip` begin with whose they are.
    pub(crate) fn is_balancer(&self, ip: IpAddr) -> bool {
        self.balancers.iter().any(|balancer| balancer.contains(&ip.to_canonical()))
    }
}
