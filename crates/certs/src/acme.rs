//! Certificates by ACME (RFC 8555): one for each name of `certs.acme`, renewed in time, from whichever authority gives it.
//!
//! Authorities are asked in the order of the settings; one that fails rests, for longer each time, and the next is asked. What was
//! issued serves until it ends, whatever happens to authorities. Accounts and certificates are on disk before they count; a crash
//! loses an order under way, which is begun again.

mod account;
mod challenges;
mod client;
pub(crate) mod config;
mod demand;
mod issue;
mod renewal;
mod revocation;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};

use crate::certificate::Certificate;
use crate::files::{self, FileError};
use crate::store::Store;
use account::Accounts;
pub use challenges::Challenges;
pub use config::{Acme, Authority, OnDemand};
pub(crate) use demand::Demand;
use demand::Judge;
pub use issue::AcmeError;
use renewal::Renewal;
pub use revocation::{Reason, UnknownReason};

/// The longest that one order may take, with all its checks.
const ISSUE_TIMEOUT: Duration = Duration::from_secs(180);
/// How often it is looked for names whose time has come, at least and at most.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const LOOK_EVERY_MIN: Duration = Duration::from_millis(50);
/// The most orders under way at the same time.
const ORDERS_MAX: usize = 8;
/// The most names that clients wait for at a time.
const DEMANDS_MAX: usize = 64;

/// Gets certificates and renews them.
#[derive(Debug)]
pub struct Manager {
    config: Acme,
    folder: PathBuf,
    accounts: Accounts,
    store: Arc<Store>,
    resting: Mutex<HashMap<(usize, String), Resting>>,
    renewals: Mutex<HashMap<String, Renewal>>,
    judge: Judge,
    /// Names that have a certificate on demand, or are about to.
    demanded: Mutex<BTreeSet<String>>,
    demands: tokio::sync::Mutex<mpsc::Receiver<Demand>>,
    /// Names whose certificate was revoked since the start, and whether they are to have another one.
    revoked: Mutex<HashMap<String, bool>>,
}

/// An authority that failed for a name is not asked for it meanwhile.
#[derive(Clone, Copy, Debug)]
struct Resting {
    until: SystemTime,
    failures: u32,
}

impl Manager {
    /// Reads from `folder` what was issued before and shows it in `store`.
    ///
    /// # Errors
    /// [`FileError`] if the folder cannot be read.
    pub fn open(folder: &Path, config: Acme, store: Arc<Store>) -> Result<Self, FileError> {
        let accounts = Accounts::new(folder.join("accounts"), config.clone());
        let folder = folder.join("certificates");
        let judge = Judge::new(config.on_demand.clone());
        let mut demanded = BTreeSet::new();
        let (ask, demands) = mpsc::channel(DEMANDS_MAX);
        if !config.on_demand.ask.is_empty() {
            demanded = files::stems(&folder, "pem")?
                .into_iter()
                .filter(|name| demand::is_host(name))
                .filter(|name| !config.names.contains(name))
                .collect();
            store.serve_demands(ask);
        }
        for name in config.names.iter().chain(&demanded) {
            let Some(pem) = files::read_if_there(&file(&folder, name))? else { continue };
            match Certificate::read(&pem, &pem, SystemTime::now()) {
                Ok(certificate) => store.issued(name, Arc::new(certificate)),
                Err(error) => tracing::warn!(name, %error, "an issued certificate does not serve any more"),
            }
        }
        let (resting, renewals) = (Mutex::default(), Mutex::default());
        let (demanded, demands) = (Mutex::new(demanded), tokio::sync::Mutex::new(demands));
        let revoked = Mutex::default();
        Ok(Self { config, folder, accounts, store, resting, renewals, judge, demanded, demands, revoked })
    }

    /// Gets and renews certificates until `stop` changes.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let looking = async {
            loop {
                let wait = self.look().await;
                tokio::time::sleep(wait).await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = self.meet_demands() => {}
            _ = stop.changed() => {}
        }
    }

    /// Gets what clients wait for. Those who wait for the same name wait for one order.
    async fn meet_demands(&self) {
        let mut demands = self.demands.lock().await;
        let mut waiting = HashMap::<String, Vec<oneshot::Sender<()>>>::new();
        let mut orders = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(Demand { name, done }) = demands.recv(), if orders.len() < DEMANDS_MAX => {
                    let others = waiting.entry(name.clone()).or_default();
                    others.push(done);
                    if others.len() == 1 {
                        orders.push(async move {
                            self.meet(&name).await;
                            name
                        });
                    }
                }
                Some(name) = orders.next() => {
                    for done in waiting.remove(&name).unwrap_or_default() {
                        // Whoever waited may have gone.
                        let _ = done.send(());
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    /// Gets a certificate for a name that may have one.
    async fn meet(&self, name: &str) {
        if self.store.find(Some(name)).is_some() || self.revoked(name) == Some(false) {
            return;
        }
        // That is no order, and does not count as one.
        if self.all_rest(name) || !self.judge.allows(name).await {
            return;
        }
        let has_room = {
            let mut demanded = self.demanded.lock().unwrap_or_else(PoisonError::into_inner);
            demanded.len() < self.judge.names_max() && self.judge.takes_order() && {
                demanded.insert(name.to_owned());
                true
            }
        };
        if !has_room {
            return tracing::warn!(name, "no certificate on demand: certs.acme.on_demand.names or per_hour is reached");
        }
        if let Err(cause) = self.obtain(name).await {
            tracing::warn!(name, cause = cause.map(|cause| cause.to_string()), "no certificate on demand");
            self.demanded.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
    }

    /// Asks for all whose time has come; how long to wait before the next look.
    async fn look(&self) -> Duration {
        let demanded = self.demanded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let demanded: Vec<_> = demanded.into_iter().filter(|name| self.store.issued_for(name).is_some()).collect();
        let all = self.config.names.iter().map(|name| self.attend(name, true));
        let all: Vec<_> = all.chain(demanded.iter().map(|name| self.attend(name, false))).collect();
        let attended = stream::iter(all).buffer_unordered(ORDERS_MAX);
        let next = attended.fold(SystemTime::now() + LOOK_EVERY, |first, next| async move { first.min(next) }).await;
        next.duration_since(SystemTime::now()).unwrap_or_default().clamp(LOOK_EVERY_MIN, LOOK_EVERY)
    }

    /// Asks for a name's certificate if its time has come; when to look again. What is not `settled` may have become unwanted.
    async fn attend(&self, name: &str, settled: bool) -> SystemTime {
        let due = match self.revoked(name) {
            Some(true) => self.rested_until(name),
            Some(false) => return SystemTime::now() + LOOK_EVERY,
            None => self.due(name).await,
        };
        if due > SystemTime::now() {
            return due;
        }
        if !settled && !self.judge.allows(name).await {
            return SystemTime::now() + LOOK_EVERY;
        }
        match self.obtain(name).await {
            Ok(()) => return SystemTime::now(),
            Err(Some(error)) => {
                tracing::error!(name, %error, "no authority gave a certificate; what there is serves on");
                self.store.wrong(name, Some(error.to_string()));
            }
            Err(None) => {}
        }
        self.rested(name)
    }

    /// Asks every authority that does not rest for a certificate, until one gives it. The error is the last one's, if any was asked.
    ///
    /// # Errors
    /// [`AcmeError`] of the last that was asked; `None` if all rest.
    async fn obtain(&self, name: &str) -> Result<(), Option<AcmeError>> {
        let mut last = None;
        for (index, authority) in self.config.authorities.iter().enumerate() {
            let key = (index, name.to_owned());
            if self.resting(&key).is_some_and(|resting| resting.until > SystemTime::now()) {
                continue;
            }
            let limited = tokio::time::timeout(ISSUE_TIMEOUT, self.issue(index, authority, name));
            match limited.await.unwrap_or(Err(AcmeError::Late)) {
                Ok(()) => {
                    self.resting.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(name, authority = authority.directory, %error, "an authority gives no certificate");
                    self.rest(key);
                    last = Some(error);
                }
            }
        }
        Err(last)
    }

    async fn issue(&self, index: usize, authority: &Authority, name: &str) -> Result<(), AcmeError> {
        let account = self.accounts.open(index, authority).await?;
        let before = self.store.issued_for(name);
        let failures = self.resting(&(index, name.to_owned())).map_or(0, |resting| resting.failures);
        let (replaces, challenges) = (before.as_deref(), self.store.challenges());
        let order = issue::Order { name, authority, replaces, challenges, over_http: failures % 2 == 1 };
        let pem = order.issue(&account).await?;
        let certificate = Certificate::read(pem.as_bytes(), pem.as_bytes(), SystemTime::now())?;
        // On disk before it counts.
        let (path, bytes) = (file(&self.folder, name), pem.into_bytes());
        tokio::task::spawn_blocking(move || files::write_secret(&path, &bytes))
            .await
            .map_err(|_| AcmeError::Late)??;
        tracing::info!(name, authority = authority.directory, "a certificate was issued");
        self.renewals.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.is_replaced(name);
        self.store.issued(name, Arc::new(certificate));
        Ok(())
    }

    /// When a name's certificate is to be renewed, by what its authority suggests (RFC 9773), or else past two thirds of its life.
    async fn due(&self, name: &str) -> SystemTime {
        let Some(certificate) = self.store.issued_for(name) else { return SystemTime::UNIX_EPOCH };
        let known = self.renewals.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        if let Some(known) = known.filter(|known| known.ask_again > SystemTime::now()) {
            return known.due;
        }
        let renewal = renewal::of(&certificate, &self.accounts, &self.config.authorities).await;
        self.renewals.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), renewal);
        renewal.due
    }

    fn resting(&self, key: &(usize, String)) -> Option<Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn rest(&self, key: (usize, String)) {
        let mut all = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let resting = all.entry(key).or_insert(Resting { until: SystemTime::UNIX_EPOCH, failures: 0 });
        let pause = self.config.retry.saturating_mul(1 << resting.failures.min(16)).min(self.config.retry_max);
        *resting = Resting { until: SystemTime::now() + pause, failures: resting.failures.saturating_add(1) };
    }

    /// Whether no authority may be asked for a name now.
    fn all_rest(&self, name: &str) -> bool {
        let now = SystemTime::now();
        let rests = |index| self.resting(&(index, name.to_owned())).is_some_and(|resting| resting.until > now);
        (0..self.config.authorities.len()).all(rests)
    }

    /// When one may be, at once if none was asked in vain.
    fn rested_until(&self, name: &str) -> SystemTime {
        if self.all_rest(name) { self.rested(name) } else { SystemTime::UNIX_EPOCH }
    }

    /// When the first authority may be asked for a name again.
    fn rested(&self, name: &str) -> SystemTime {
        let all = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let of_name = all.iter().filter(|((_, of), _)| of == name).map(|(_, resting)| resting.until);
        of_name.min().unwrap_or_else(|| SystemTime::now() + LOOK_EVERY)
    }
}

/// Where a name's certificate is, its key and chain in one file, so that they change together.
fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.pem"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Somebody who allows every name; the URL.
    fn allowing() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut tcp in listener.incoming().flatten() {
                let _ = tcp.read(&mut [0; 4096]);
                let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            }
        });
        url
    }

    #[tokio::test]
    async fn who_waits_while_all_authorities_rest_takes_no_order_from_others() {
        let folder = tempfile::tempdir().unwrap();
        // Nobody listens there: each order fails at once, and the authority rests for the name.
        let gone = Authority { directory: "https://127.0.0.1:1/directory".to_owned(), ..Authority::default() };
        let on_demand = OnDemand { ask: allowing(), per_hour: 2, ..OnDemand::default() };
        let config = Acme { authorities: vec![gone], agree: true, on_demand, ..Acme::default() };
        let store = Arc::new(Store::open(folder.path(), &crate::Config::default()).unwrap());
        let manager = Manager::open(folder.path(), config, store).unwrap();
        let failures = |name: &str| manager.resting(&(0, name.to_owned())).map(|resting| resting.failures);
        for _ in 0..5 {
            manager.meet("one.example").await;
        }
        assert_eq!(failures("one.example"), Some(1), "it was asked once, and rests");
        manager.meet("two.example").await;
        assert_eq!(failures("two.example"), Some(1), "there was an order left");
        manager.meet("three.example").await;
        assert_eq!(failures("three.example"), None, "two orders were this hour's");
        assert!(manager.demanded.lock().unwrap().is_empty(), "who got none takes no place");
    }
}
