//! What requests for the same URL at the same time have to do with one another.

use super::Store;
use crate::flight::Flight;
use crate::key::Key;

impl Store {
    /// Goes to the origin for a URL, or waits for who did.
    pub fn board(&self, key: &Key) -> Flight {
        self.flights.board(key)
    }

    /// Remembers that the answer for a URL could not be shared: requests for it need not wait for one another.
    pub fn set_apart(&self, key: &Key) {
        self.apart.insert(key.clone(), ());
    }

    /// The same, if requests wait for that answer now: without any, it would be remembered for nothing.
    pub fn set_apart_if_followed(&self, key: &Key) {
        if self.flights.are_followed(key) {
            self.set_apart(key);
        }
    }

    /// Whether the last answer for a URL could not be shared.
    pub fn is_apart(&self, key: &Key) -> bool {
        self.apart.get(key).is_some()
    }
}
