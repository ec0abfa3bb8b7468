//! From an origin's name to the addresses that are connected to: looked up again now and then, kept when that fails, and checked.
//! A crash loses what is kept.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::Instant;
use tower_service::Service;

use crate::address::is_public;

/// No more addresses of a name than this are tried.
const ADDRESSES_MAX: usize = 16;

/// A look-up under way.
pub(crate) type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
/// Who looks names up.
pub(crate) type System = Arc<dyn Fn(String) -> Lookup + Send + Sync>;

/// Whom an origin may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Whoever the operator wrote down.
    Any,
    /// Only machines on the public Internet: a stranger wrote it down.
    Public,
}

impl Reach {
    /// The addresses that may be connected to.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn filter(self, mut found: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        if self == Self::Public {
            found.retain(|address| is_public(address.ip()));
        }
        found.truncate(ADDRESSES_MAX);
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it has no address on the public Internet"));
        }
        Ok(found)
    }

    /// Whether a host that is an address already may be connected to.
    ///
    /// # Errors
    /// If it may not.
    pub(crate) fn check(self, host: &str) -> io::Result<()> {
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => self.filter(vec![SocketAddr::new(ip, 0)]).map(drop),
            Err(_) => Ok(()),
        }
    }
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Resolver {
    system: System,
    reach: Reach,
    every: Duration,
    known: Arc<Mutex<Known>>,
}

/// The addresses of the one name that it is for.
#[derive(Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    at: Option<Instant>,
    /// How often they changed.
    changes: u64,
}

impl Resolver {
    pub(crate) fn new(system: System, reach: Reach, every: Duration) -> Self {
        Self { system, reach, every, known: Arc::default() }
    }

    /// Whether it is time to look again, and how often addresses changed.
    pub(crate) fn state(&self) -> (bool, u64) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        (known.at.is_some_and(|at| at.elapsed() >= self.every), known.changes)
    }

    /// The addresses of a name: those known, while they are recent; else those found now, or the last ones if nothing is.
    ///
    /// # Errors
    /// What looking up says, if none is known; or that none may be connected to.
    pub(crate) async fn resolve(&self, name: String) -> io::Result<Vec<SocketAddr>> {
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.at.is_some_and(|at| at.elapsed() < self.every) {
                return Ok(known.addresses.clone());
            }
            if known.at.is_some() {
                // Others need not look up the same meanwhile.
                known.at = Some(Instant::now());
            }
        }
        let found = (self.system)(name).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match found {
            Ok(found) => self.reach.filter(found)?,
            Err(error) if known.addresses.is_empty() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "an origin's name cannot be looked up; its last addresses stand");
                return Ok(known.addresses.clone());
            }
        };
        let same = found.len() == known.addresses.len() && found.iter().all(|one| known.addresses.contains(one));
        if !same && known.at.is_some() {
            known.changes += 1;
        }
        known.addresses.clone_from(&found);
        known.at = Some(Instant::now());
        Ok(found)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("reach", &self.reach).finish_non_exhaustive()
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move { Ok(resolver.resolve(name.as_str().to_owned()).await?.into_iter()) })
    }
}

/// The machine's own way to look names up.
pub(crate) fn system() -> System {
    Arc::new(|name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }))
}

/// Looks up what is given here, for tests.
#[cfg(test)]
pub(crate) fn fixed(found: impl Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> System {
    Arc::new(move |_| Box::pin(std::future::ready(found())))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn names_are_looked_up_again_and_the_last_addresses_stand() {
        let step = Arc::new(AtomicUsize::new(0));
        let answers = Arc::clone(&step);
        let system = fixed(move || match answers.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(vec!["1.1.1.1:0".parse().unwrap()]),
            1 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(vec!["1.0.0.1:0".parse().unwrap()]),
        });
        let resolver = Resolver::new(system, Reach::Public, Duration::from_secs(30));
        let now = async || resolver.resolve("a.example".to_owned()).await.unwrap()[0].ip().to_string();
        assert_eq!((now().await, now().await), ("1.1.1.1".into(), "1.1.1.1".into()));
        assert_eq!((resolver.state(), step.load(Ordering::SeqCst)), ((false, 0), 1));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(resolver.state().0);
        assert_eq!(now().await, "1.1.1.1");
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(now().await, "1.0.0.1");
        assert_eq!(resolver.state(), (false, 1));
    }

    #[tokio::test]
    async fn strangers_origins_are_on_the_public_internet() {
        let mixed = || Ok(vec!["127.0.0.1:0".parse().unwrap(), "[2606:4700::1]:0".parse().unwrap()]);
        let find = async |reach, found: fn() -> io::Result<Vec<SocketAddr>>| {
            Resolver::new(fixed(found), reach, Duration::from_secs(1)).resolve(String::new()).await
        };
        assert_eq!(find(Reach::Any, mixed).await.unwrap().len(), 2);
        assert_eq!(find(Reach::Public, mixed).await.unwrap(), ["[2606:4700::1]:0".parse().unwrap()]);
        let private = || Ok(vec!["[::ffff:10.0.0.1]:0".parse().unwrap()]);
        assert_eq!(find(Reach::Public, private).await.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(Reach::Public.check("[::1]").is_err() && Reach::Public.check("169.254.169.254").is_err());
        assert!(Reach::Public.check("a.example").is_ok() && Reach::Any.check("127.0.0.1").is_ok());
    }
}
