//! What all workers share: the services behind the gateway, the cache of ready responses, the names and limits.

use std::net::IpAddr;
use std::sync::Arc;

use atoll_core::{Answer, Blocks, Deny, Names as NameSource};
use http::HeaderValue;
use ipnet::IpNet;
use tokio::sync::Semaphore;

use crate::admission::Admission;
use crate::config::{Config, Http2, Timeouts};
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
    pub(crate) timeouts: Timeouts,
    pub(crate) http2: Http2,
    pub(crate) tls: Tls,
    /// What answers over TLS say of coming back by it.
    pub(crate) hsts: Option<HeaderValue>,
    pub(crate) head_bytes_max: usize,
    pub(crate) server_timing: bool,
    pub(crate) hot: Hot,
    pub(crate) sites: Sites,
    pub(crate) desk: Desk,
    pub(crate) contact: Option<Contact>,
    pub(crate) admission: Arc<Admission>,
    /// Whoever writes a page that lists a directory has one of these.
    pub(crate) listings: Semaphore,
}

/// The pages that are written at the same time. Each takes some 20 MiB until it is done, and none waits for anything but
/// its turn on a thread.
const LISTINGS_MAX: usize = 4;

impl Gateway {
    pub(crate) fn new(config: &Config, services: Services) -> Result<Arc<Self>, rustls::Error> {
        let tls = Tls::new(&config.tls, Arc::clone(&services.certificates))?;
        let desk = Desk::new(&config.signing, services.signer.clone());
        Ok(Arc::new(Self {
            services,
            names: Names::new(config),
            trusted: config.trusted_proxies.clone(),
            timeouts: config.timeouts.clone(),
            http2: config.http2.clone(),
            tls,
            hsts: config.tls.hsts(),
            head_bytes_max: config.limits.head_bytes,
            server_timing: config.server_timing,
            hot: Hot::new(&config.hot),
            sites: Sites::new(),
            desk,
            contact: Contact::of(&config.abuse_contact),
            admission: Admission::new(config.limits.clone()),
            listings: Semaphore::new(LISTINGS_MAX),
        }))
    }

    /// Whether what a client at `ip` says about its own clients is believed.
    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|proxy| proxy.contains(&ip.to_canonical()))
    }
}
