//! What a drill makes of a source of a site: it fails in some way for a while. A crash ends every drill.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How a source fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody is there.
    Dead,
    /// It takes requests and never answers.
    Hangs,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Drilled(Mutex<Option<(Fault, Instant)>>);

impl Drilled {
    /// Has it fail for so long, or no longer.
    pub fn set(&self, fault: Option<(Fault, Duration)>) {
        let until = fault.map(|(fault, time)| (fault, Instant::now() + time));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// How it is to fail now.
    pub fn now(&self) -> Option<Fault> {
        let fault = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fault.filter(|(_, until)| *until > Instant::now()).map(|(fault, _)| fault)
    }
}
