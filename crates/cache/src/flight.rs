//! Requests for the same URL at the same time: one goes to the origin, the others wait until the head of its answer says whether
//! they may share it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::key::Key;

/// The URLs that are being asked for.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<Key, watch::Receiver<()>>>);

/// What a request for a URL does.
#[derive(Debug)]
pub enum Flight {
    /// It goes to the origin.
    Lead(Leader),
    /// It waits for one that did.
    Follow(Landing),
}

/// The one that goes to the origin. Dropping it says that what it brought, if anything, is in the store.
#[derive(Debug)]
pub struct Leader {
    key: Key,
    flights: Arc<Flights>,
    /// Closed with it.
    _landed: watch::Sender<()>,
}

/// The end of another request's flight.
#[derive(Debug)]
pub struct Landing(watch::Receiver<()>);

impl Flights {
    pub(crate) fn board(self: &Arc<Self>, key: &Key) -> Flight {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = flights.get(key) {
            return Flight::Follow(Landing(landing.clone()));
        }
        let (landed, landing) = watch::channel(());
        flights.insert(key.clone(), landing);
        Flight::Lead(Leader { key: key.clone(), flights: Arc::clone(self), _landed: landed })
    }
}

impl Landing {
    /// Returns when it has landed, or failed.
    pub async fn wait(mut self) {
        // Nothing is ever sent: an error says that the leader is gone.
        let _ = self.0.changed().await;
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_leads_and_the_others_wait() {
        let flights = Arc::new(Flights::default());
        let key = Key::of("http", "a", "/");
        let Flight::Lead(leader) = flights.board(&key) else { panic!("nobody else was there") };
        let Flight::Follow(landing) = flights.board(&key) else { panic!("one leads") };
        assert!(matches!(flights.board(&Key::of("http", "b", "/")), Flight::Lead(_)));
        let waiting = tokio::spawn(landing.wait());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(leader);
        waiting.await.unwrap();
        assert!(matches!(flights.board(&key), Flight::Lead(_)));
    }
}
