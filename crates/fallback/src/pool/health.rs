//! What is known of how one origin is. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::{PoolConfig, ProbeConfig};

/// The share of its requests that an origin gets when it has just come back, in thousandths, and all of them.
pub(super) const FIRST: u32 = 100;
pub(super) const ALL: u32 = 1000;
/// More doublings than this change nothing.
const DOUBLINGS_MAX: u32 = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Health {
    /// Failures since the last answer.
    failures: u32,
    /// Until when it is left out.
    ejected: Option<Instant>,
    /// How often it was, less the windows since in which nothing failed.
    ejections: u32,
    /// Since when it is back.
    back: Option<Instant>,
    /// Whether it has answered nothing since it is back.
    trial: bool,
    /// What probes say.
    well: bool,
    /// Probes in a row that said otherwise.
    streak: u32,
    pub(super) window: Window,
}

/// What came of requests in a while.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    pub(super) good: u32,
    pub(super) bad: u32,
}

impl Window {
    pub(super) fn total(self) -> u32 {
        self.good.saturating_add(self.bad)
    }

    /// Of a hundred.
    pub(super) fn good_percent(self) -> u32 {
        self.good.saturating_mul(100).checked_div(self.total()).unwrap_or(100)
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { good: self.good.saturating_add(other.good), bad: self.bad.saturating_add(other.bad) }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            failures: 0,
            ejected: None,
            ejections: 0,
            back: None,
            trial: false,
            well: true,
            streak: 0,
            window: Window::default(),
        }
    }
}

impl Health {
    /// Ends what is over: whoever was left out long enough, and is well as far as probes say, is back.
    pub(super) fn refresh(&mut self, now: Instant) {
        if self.well && self.ejected.is_some_and(|until| until <= now) {
            self.come_back(now);
        }
    }

    fn come_back(&mut self, now: Instant) {
        (self.ejected, self.back, self.trial, self.failures) = (None, Some(now), true, 0);
    }

    /// Whether it may be asked before others that may not.
    pub(super) fn is_ready(&self) -> bool {
        self.well && self.ejected.is_none()
    }

    /// When it may be again, as far as that is known.
    pub(super) fn ejected(&self) -> Option<Instant> {
        self.ejected
    }

    /// The share of its requests that it gets, in thousandths.
    pub(super) fn share(&self, now: Instant, slow_start: Duration) -> u32 {
        let Some(back) = self.back else { return ALL };
        let passed = now.saturating_duration_since(back);
        if passed >= slow_start {
            return ALL;
        }
        let whole = slow_start.as_millis().max(1);
        let grown = u128::from(ALL - FIRST).saturating_mul(passed.as_millis()) / whole;
        FIRST.saturating_add(u32::try_from(grown).unwrap_or(ALL)).min(ALL)
    }

    /// It answered.
    pub(super) fn good(&mut self) {
        (self.failures, self.trial) = (0, false);
        self.window.good = self.window.good.saturating_add(1);
    }

    /// It failed; whether it is to be left out for that.
    pub(super) fn bad(&mut self, rules: &PoolConfig) -> bool {
        self.window.bad = self.window.bad.saturating_add(1);
        self.failures = self.failures.saturating_add(1);
        rules.failures > 0 && self.ejected.is_none() && (self.trial || self.failures >= rules.failures)
    }

    /// Leaves it out.
    pub(super) fn eject(&mut self, rules: &PoolConfig, now: Instant) {
        let doubled = rules.ejected.saturating_mul(1 << self.ejections.min(DOUBLINGS_MAX));
        self.ejected = Some(now + doubled.min(rules.ejected_max));
        self.ejections = self.ejections.saturating_add(1);
        (self.back, self.trial) = (None, false);
    }

    /// A probe came back; whether that says anew that it is not well.
    pub(super) fn probed(&mut self, well: bool, rules: &ProbeConfig, now: Instant) -> bool {
        if well == self.well {
            self.streak = 0;
            // What visitors met may be over sooner than was thought, if probes go well.
            return false;
        }
        self.streak = self.streak.saturating_add(1);
        let enough = if well { rules.healthy } else { rules.unhealthy };
        if self.streak < enough {
            return false;
        }
        (self.well, self.streak) = (well, 0);
        if well {
            self.come_back(now);
        }
        !well
    }

    /// A window is over.
    pub(super) fn roll(&mut self) {
        if self.window.bad == 0 && self.ejected.is_none() {
            self.ejections = self.ejections.saturating_sub(1);
        }
        self.window = Window::default();
    }
}
