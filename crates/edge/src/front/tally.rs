//! What became of the requests for sites with origins, counted. Lost with the process, as scraped figures are.

use std::sync::atomic::{AtomicU64, Ordering};

use atoll_cache::{Forwarded, Report};
use http::StatusCode;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Something stored answered it.
    Hit,
    /// So did what it waited for together with others.
    Collapsed,
    /// What was stored is still right, said the origin.
    Validated,
    /// What was stored is stale, and answered because the origin did not.
    Rescued,
    /// The origin answered, and that is stored.
    Stored,
    /// The origin answered, and that is not stored.
    Passed,
    /// The connection went on in another protocol.
    Switched,
    /// What was published answered.
    Published,
    /// Nobody answered.
    Failed,
}

/// The counts since the start.
#[derive(Debug, Default)]
pub struct Tally([AtomicU64; Outcome::ALL.len()]);

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Hit,
        Self::Collapsed,
        Self::Validated,
        Self::Rescued,
        Self::Stored,
        Self::Passed,
        Self::Switched,
        Self::Published,
        Self::Failed,
    ];

    /// What it is called among figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Collapsed => "collapsed",
            Self::Validated => "validated",
            Self::Rescued => "rescued",
            Self::Stored => "stored",
            Self::Passed => "passed",
            Self::Switched => "switched",
            Self::Published => "published",
            Self::Failed => "failed",
        }
    }

    /// What a report says.
    pub(super) fn of(report: &Report) -> Self {
        match report {
            Report { forwarded: None, collapsed: true, .. } => Self::Collapsed,
            Report { forwarded: None, .. } => Self::Hit,
            Report { status: Some(StatusCode::NOT_MODIFIED), stored: true, .. } => Self::Validated,
            Report { stored: true, .. } => Self::Stored,
            // Stale, by its time or because it was asked for again, and not replaced.
            Report { ttl: Some(_), forwarded: Some(Forwarded::Stale | Forwarded::Request), .. } => Self::Rescued,
            Report { .. } => Self::Passed,
        }
    }
}

impl Tally {
    pub(super) fn count(&self, outcome: Outcome) {
        if let Some(cell) = self.0.get(outcome as usize) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often that was so.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0.get(outcome as usize).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }
}
