//! Certificates on demand: names that clients ask for and that no certificate holds for. Somebody says which of them may have one, since
//! anybody can have a name lead here; what was said is remembered for a while, so that a flood of names is not a flood of questions. In
//! memory only.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::oneshot;

use super::config::OnDemand;
use crate::config::is_name;

/// The most answers that are remembered.
const SAID_MAX: usize = 10_000;
/// How long an answer may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// The time in which orders are counted.
const HOUR: Duration = Duration::from_secs(3_600);

/// A client waits for the certificate of a name.
#[derive(Debug)]
pub(crate) struct Demand {
    pub(crate) name: String,
    /// Ends the waiting, whatever came of it.
    pub(crate) done: oneshot::Sender<()>,
}

/// Who may have a certificate.
#[derive(Debug)]
pub(super) struct Judge {
    config: OnDemand,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    /// What was said of each name, and until when that holds.
    said: Mutex<HashMap<String, (bool, Instant)>>,
    /// When the hour began, and the orders in it.
    orders: Mutex<(Instant, u32)>,
}

impl Judge {
    pub(super) fn new(config: OnDemand) -> Self {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(atoll_trust::here()).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new()).build(connector.build());
        Self { config, client, said: Mutex::default(), orders: Mutex::new((Instant::now(), 0)) }
    }

    /// Whether a name may have a certificate.
    pub(super) async fn allows(&self, name: &str) -> bool {
        if self.config.ask.is_empty() || !is_host(name) {
            return false;
        }
        let known = lock(&self.said).get(name).copied();
        if let Some((allowed, _)) = known.filter(|(_, until)| *until > Instant::now()) {
            return allowed;
        }
        let allowed = match tokio::time::timeout(ASK_TIMEOUT, self.ask(name)).await {
            Ok(Ok(status)) => status == StatusCode::OK,
            Ok(Err(cause)) => {
                tracing::warn!(name, cause, "whether it may have a certificate cannot be asked");
                false
            }
            Err(_) => {
                tracing::warn!(name, "nobody says in time whether it may have a certificate");
                false
            }
        };
        let holds = if allowed { self.config.allowed_for } else { self.config.refused_for };
        let mut said = lock(&self.said);
        make_room(&mut said);
        said.insert(name.to_owned(), (allowed, Instant::now() + holds));
        allowed
    }

    /// Counts an order; `false` if there were too many lately.
    pub(super) fn takes_order(&self) -> bool {
        let mut orders = lock(&self.orders);
        if orders.0.elapsed() >= HOUR {
            *orders = (Instant::now(), 0);
        }
        orders.1 = orders.1.saturating_add(1);
        orders.1 <= self.config.per_hour
    }

    /// The most names that have certificates on demand.
    pub(super) fn names_max(&self) -> usize {
        self.config.names
    }

    async fn ask(&self, name: &str) -> Result<StatusCode, String> {
        let uri: Uri = format!("{}?domain={name}", self.config.ask).parse().map_err(|error| format!("{error}"))?;
        let request = Request::get(uri).body(Empty::new()).map_err(|error| error.to_string())?;
        self.client.request(request).await.map(|answer| answer.status()).map_err(|error| error.to_string())
    }
}

/// Forgets what does not hold any more, and if that is not enough the refusal that was said first: a flood of names must not keep
/// others from being asked about.
fn make_room(said: &mut HashMap<String, (bool, Instant)>) {
    if said.len() < SAID_MAX {
        return;
    }
    let now = Instant::now();
    said.retain(|_, (_, until)| *until > now);
    while said.len() >= SAID_MAX {
        let oldest = said.iter().min_by_key(|(_, (allowed, until))| (*allowed, *until)).map(|(name, _)| name.clone());
        let Some(oldest) = oldest else { break };
        said.remove(&oldest);
    }
}

/// Whether authorities give certificates for it.
pub(super) fn is_host(name: &str) -> bool {
    is_name(name) && name.contains('.') && !name.starts_with("*.") && name.parse::<std::net::IpAddr>().is_err()
}

/// The value behind a lock, whatever a panicking thread left there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_floods_makes_refusals_be_forgotten_and_keeps_nobody_out() {
        let until = Instant::now() + HOUR;
        let mut said: HashMap<_, _> = (0..SAID_MAX as u64)
            .map(|number| (number.to_string(), (number == 0, until + Duration::from_millis(number))))
            .collect();
        make_room(&mut said);
        assert_eq!(said.len(), SAID_MAX - 1);
        // What is allowed stays, though it was said first.
        assert!(said.contains_key("0") && !said.contains_key("1") && said.contains_key("2"));
        said.insert("gone".to_owned(), (true, Instant::now()));
        make_room(&mut said);
        assert!(!said.contains_key("gone") && said.contains_key("2"));
    }

    #[tokio::test]
    async fn what_is_no_host_is_not_asked_about_and_orders_are_counted() {
        let judge = Judge::new(OnDemand { ask: "http://127.0.0.1:1/".to_owned(), per_hour: 2, ..OnDemand::default() });
        for name in ["localhost", "*.site.example", "127.0.0.1", "a..b", "site.example/?domain=other", ""] {
            assert!(!judge.allows(name).await, "{name}");
        }
        assert!(lock(&judge.said).is_empty());
        // Nobody answers: no, and it is remembered.
        assert!(!judge.allows("site.example").await);
        assert_eq!(lock(&judge.said).len(), 1);
        assert_eq!([(); 3].map(|()| judge.takes_order()), [true, true, false]);
        assert!(!Judge::new(OnDemand::default()).allows("site.example").await, "it is off by default");
    }
}
