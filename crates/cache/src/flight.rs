//! Requests for the same URL at the same time: one goes to the origin, the others wait until the head of its answer says whether
//! they may share it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::DefaultHashBuilder;
use tokio::sync::watch;

use crate::key::Key;

/// The URLs that are being asked for.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<Key, Begun, DefaultHashBuilder>>);

/// A request on its way to the origin: how those who wait for it are told, if any do.
type Begun = Option<watch::Sender<Option<Landed>>>;

/// What a request for a URL does.
#[derive(Debug)]
pub enum Flight {
    /// It goes to the origin.
    Lead(Leader),
    /// It waits for one that did.
    Follow(Landing),
}

/// What became of the one that went to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landed {
    /// It has an answer, which is in the store if it may be shared.
    Answered,
    /// The origin gave none.
    Failed,
    /// It went away before: somebody else is to go.
    Gone,
}

/// The one that goes to the origin. Dropping it says that it went away.
#[derive(Debug)]
pub struct Leader {
    key: Key,
    flights: Arc<Flights>,
    landed: Landed,
}

/// The end of another request's flight.
#[derive(Debug)]
pub struct Landing(watch::Receiver<Option<Landed>>);

impl Flights {
    pub(crate) fn board(self: &Arc<Self>, key: &Key) -> Flight {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(begun) = flights.get_mut(key) {
            let told = begun.get_or_insert_with(|| watch::channel(None).0);
            return Flight::Follow(Landing(told.subscribe()));
        }
        flights.insert(key.clone(), None);
        Flight::Lead(Leader { key: key.clone(), flights: Arc::clone(self), landed: Landed::Gone })
    }

    /// Whether requests wait for another that went to the origin.
    pub(crate) fn are_followed(&self, key: &Key) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).is_some_and(Option::is_some)
    }
}

impl Leader {
    /// Tells those who wait what became of it.
    pub fn land(mut self, landed: Landed) {
        self.landed = landed;
    }
}

impl Landing {
    /// What became of it, once that is known.
    pub async fn wait(mut self) -> Landed {
        let landed = self.0.wait_for(Option::is_some).await;
        landed.ok().and_then(|landed| *landed).unwrap_or(Landed::Gone)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let begun = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        if let Some(told) = begun.flatten() {
            told.send_replace(Some(self.landed));
        }
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
        assert!(flights.are_followed(&key));
        let waiting = tokio::spawn(landing.wait());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(leader);
        assert_eq!(waiting.await.unwrap(), Landed::Gone);
        let Flight::Lead(leader) = flights.board(&key) else { panic!("nobody leads any more") };
        assert!(!flights.are_followed(&key));
        let Flight::Follow(landing) = flights.board(&key) else { panic!("one leads") };
        leader.land(Landed::Answered);
        assert_eq!(landing.wait().await, Landed::Answered);
    }
}
