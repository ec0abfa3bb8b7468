//! The connections to an origin over HTTP/2, which requests share. A crash loses them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Extensions, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpInfo, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::body::Noted;
use crate::client::{Lanes, READ_BYTES_MAX, SendError, Sent};
use crate::connect::Connector;
use crate::error::causes;
use crate::link::Arriving;

/// The most connections that are remembered to have answered.
const USED_MAX: usize = 4096;
/// What an origin may send ahead of what visitors take, in bytes.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    connector: Connector,
    keep_alive: Duration,
    lanes: Lanes<Mutex<Lane>>,
    /// Our ends of connections that have answered before.
    used: Mutex<HashSet<SocketAddr>>,
}

/// The connections of one thread, or a few.
#[derive(Debug)]
struct Lane {
    /// How often the origin's addresses had changed when they were begun.
    changes: u64,
    client: Client<Connector, Noted>,
}

impl Pool {
    pub(crate) fn new(connector: Connector, keep_alive: Duration) -> Self {
        let lanes = Lanes::new(|| Mutex::new(Lane { changes: 0, client: client(&connector, keep_alive) }));
        Self { connector, keep_alive, lanes, used: Mutex::default() }
    }

    pub(crate) async fn send(&self, request: Option<Request<Noted>>, changes: u64) -> Sent {
        let Some(mut request) = request else { return Sent::nothing() };
        let connection = capture_connection(&mut request);
        let answered = self.current(changes).request(request).await;
        let used = self.note(&connection, answered.is_ok());
        let answered =
            answered.map(|response| response.map(Arriving::from)).map_err(|error| match error.is_connect() {
                true => SendError::Connect(causes(&error)),
                false => SendError::Broken(causes(&error)),
            });
        Sent { answered, used }
    }

    fn current(&self, changes: u64) -> Client<Connector, Noted> {
        let new = || client(&self.connector, self.keep_alive);
        let Some(lane) = self.lanes.own() else { return new() };
        let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
        if lane.changes != changes {
            *lane = Lane { changes, client: new() };
        }
        lane.client.clone()
    }

    /// Whether a request's connection has answered before; it has from now on, or is gone.
    fn note(&self, connection: &CaptureConnection, answered: bool) -> bool {
        let mut extras = Extensions::new();
        if let Some(connected) = connection.connection_metadata().as_ref() {
            connected.get_extras(&mut extras);
        }
        let Some(local) = extras.get::<HttpInfo>().map(HttpInfo::local_addr) else { return false };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if !answered {
            return used.remove(&local);
        }
        if used.len() >= USED_MAX {
            used.clear();
        }
        !used.insert(local)
    }
}

fn client(connector: &Connector, keep_alive: Duration) -> Client<Connector, Noted> {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(keep_alive)
        .http2_only(true)
        .http2_initial_stream_window_size(WINDOW_BYTES)
        .http2_initial_connection_window_size(WINDOW_BYTES.saturating_mul(4))
        .http2_max_header_list_size(u32::try_from(READ_BYTES_MAX).unwrap_or(u32::MAX))
        .build(connector.clone())
}
