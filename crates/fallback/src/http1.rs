//! The connections to an origin over HTTP/1.1, each of which has one request at a time. A crash loses them.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::{Request, header};
use http_body::Body as _;
use hyper::client::conn::http1::Builder;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::body::Noted;
use crate::client::{Lanes, READ_BYTES_MAX, SendError, Sent};
use crate::connect::Connector;
use crate::error::causes;
use crate::link::{Arriving, Link};

/// The most idle connections that a lane keeps.
const IDLE_MAX: usize = 128;
/// The most fields of an answer.
const HEADERS_MAX: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    connector: Connector,
    keep_alive: Duration,
    lanes: Lanes<Arc<Mutex<Lane>>>,
}

/// The idle connections of one thread, or a few; the one that was used last is the last.
#[derive(Debug, Default)]
struct Lane {
    /// How often the origin's addresses had changed when they were begun.
    changes: u64,
    idle: Vec<(Box<Link>, Instant)>,
    /// Whether somebody closes those that were idle for too long.
    is_tended: bool,
}

/// Where a connection goes when it is idle.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    lane: Weak<Mutex<Lane>>,
    changes: u64,
    keep_alive: Duration,
}

impl Pool {
    pub(crate) fn new(connector: Connector, keep_alive: Duration) -> Self {
        Self { connector, keep_alive, lanes: Lanes::new(Arc::default) }
    }

    pub(crate) async fn send(&self, request: &mut Option<Request<Noted>>, changes: u64, now: Instant) -> Sent {
        // What goes on both ways at once, or in another protocol, goes on by itself.
        let goes_apart = |request: &Request<Noted>| {
            !request.body().is_end_stream() || request.headers().contains_key(header::UPGRADE)
        };
        let apart = request.as_ref().is_some_and(goes_apart);
        loop {
            let mut link = match self.idle(changes, now) {
                Some(link) => link,
                None => match Box::pin(self.connect(changes)).await {
                    Ok(link) => link,
                    Err(error) => return Sent { answered: Err(error), used: false },
                },
            };
            let used = link.has_answered();
            if apart {
                link.set_apart();
            }
            let Some(message) = request.take() else { return Sent::nothing() };
            let mut error = match link.ask(message).await {
                Ok(response) => return Sent { answered: Ok(response.map(|body| Arriving::over(body, link))), used },
                Err(error) => error,
            };
            match error.take_message() {
                // It was closed while it was idle, and nothing was sent.
                Some(unsent) if used => *request = Some(unsent),
                _ => return Sent { answered: Err(SendError::Broken(causes(error.error()))), used },
            }
        }
    }

    /// The idle connection that was used last, if it is fit for use.
    fn idle(&self, changes: u64, now: Instant) -> Option<Box<Link>> {
        let mut lane = lock(self.lanes.own()?);
        lane.follow(changes);
        while let Some((link, since)) = lane.idle.pop() {
            if now.saturating_duration_since(since) < self.keep_alive && link.is_open() {
                return Some(link);
            }
        }
        None
    }

    async fn connect(&self, changes: u64) -> Result<Box<Link>, SendError> {
        let stream = self.connector.connect().await.map_err(|error| SendError::Connect(causes(&*error)))?;
        let mut http = Builder::new();
        http.max_buf_size(READ_BYTES_MAX).max_headers(HEADERS_MAX);
        let shaken = http.handshake(stream).await.map_err(|error| SendError::Broken(causes(&error)))?;
        let lane = self.lanes.own().map(Arc::downgrade).unwrap_or_default();
        Ok(Box::new(Link::new(shaken, Home { lane, changes, keep_alive: self.keep_alive })))
    }
}

impl Lane {
    /// Forgets connections to addresses that are no longer the origin's.
    fn follow(&mut self, changes: u64) {
        if self.changes != changes {
            self.changes = changes;
            self.idle.clear();
        }
    }
}

impl Home {
    /// Takes an idle connection in, unless there are too many.
    pub(crate) fn take_in(self, link: Box<Link>) {
        let Some(lane) = self.lane.upgrade() else { return };
        let mut held = lock(&lane);
        if held.changes != self.changes || held.idle.len() >= IDLE_MAX {
            return;
        }
        held.idle.push((link, Instant::now()));
        if !held.is_tended
            && let Ok(runtime) = Handle::try_current()
        {
            held.is_tended = true;
            runtime.spawn(tend(self.lane, self.keep_alive));
        }
    }
}

/// Closes connections that were idle for too long, until there are none.
async fn tend(lane: Weak<Mutex<Lane>>, keep_alive: Duration) {
    loop {
        sleep(keep_alive).await;
        let Some(lane) = lane.upgrade() else { return };
        let mut lane = lock(&lane);
        lane.idle.retain(|(_, since)| since.elapsed() < keep_alive);
        if lane.idle.is_empty() {
            lane.is_tended = false;
            return;
        }
    }
}

fn lock(lane: &Mutex<Lane>) -> std::sync::MutexGuard<'_, Lane> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}
