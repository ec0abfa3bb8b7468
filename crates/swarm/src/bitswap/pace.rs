//! How fast a peer gives blocks, and how far its word counts: learned from every answer, in memory only.

use std::time::{Duration, Instant};

/// How long an answer is waited for before anything is known of a peer.
const PATIENCE_FIRST: Duration = Duration::from_secs(1);
const PATIENCE_MIN: Duration = Duration::from_millis(300);
const PATIENCE_MAX: Duration = Duration::from_secs(5);
/// What one recent failure costs in the order; doubled for each further one.
const FAILURE: Duration = Duration::from_millis(100);
/// The most doublings.
const FAILURES_MAX: u32 = 8;
/// So many blocks are asked of a peer whose speed is not known, as if it were the fastest.
const UNKNOWN_MAX: usize = 4;
/// What a further one counts as.
const UNKNOWN: Duration = Duration::from_secs(1);

/// What is known of one peer.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Smoothed milliseconds between two blocks while it had more to send.
    service: Option<f64>,
    /// Smoothed milliseconds from asking to the block, and how much they vary.
    latency: Option<(f64, f64)>,
    /// Blocks that are asked of it now.
    waiting: usize,
    /// When the last block came.
    last: Option<Instant>,
    /// Answers in a row that did not come in time, or were wrong.
    failures: u32,
    failed: Option<Instant>,
}

impl Pace {
    /// A block is asked for; how long to wait before another peer is asked too.
    pub(super) fn begin(&mut self) -> Duration {
        self.waiting = self.waiting.saturating_add(1);
        let usual = self.latency.map(|(mean, deviation)| millis(2.0 * mean + 4.0 * deviation));
        usual.unwrap_or(PATIENCE_FIRST).clamp(PATIENCE_MIN, PATIENCE_MAX)
    }

    /// A block came that was asked for at `asked`.
    pub(super) fn arrived(&mut self, asked: Instant, now: Instant) {
        let busy = self.last.map_or(asked, |last| last.max(asked));
        let sample = now.saturating_duration_since(busy).as_secs_f64() * 1000.0;
        self.service = Some(self.service.map_or(sample, |mean| 0.875 * mean + 0.125 * sample));
        let sample = now.saturating_duration_since(asked).as_secs_f64() * 1000.0;
        // Smoothed as TCP does its round trip (RFC 6298 §2).
        self.latency = Some(match self.latency {
            None => (sample, sample / 2.0),
            Some((mean, deviation)) => (0.875 * mean + 0.125 * sample, 0.75 * deviation + 0.25 * (mean - sample).abs()),
        });
        self.last = Some(now);
        self.failures /= 2;
        self.end();
    }

    /// A block is not asked for any more.
    pub(super) fn end(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// It did not do what it said, or not in time.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.failed = Some(now);
    }

    /// When one more block would be here. A peer that failed comes later, but never not at all.
    pub(super) fn expected(&self, now: Instant) -> Duration {
        let count = u32::try_from(self.waiting.saturating_add(1)).unwrap_or(u32::MAX);
        let time = match self.service {
            Some(service) => millis(service).saturating_mul(count),
            None if self.waiting < UNKNOWN_MAX => Duration::from_micros(count.into()),
            None => UNKNOWN.saturating_mul(count),
        };
        let penalty = FAILURE.saturating_mul(1 << self.failures.min(FAILURES_MAX));
        let is_recent = self.failed.is_some_and(|at| now.saturating_duration_since(at) < penalty * 4);
        if self.failures > 0 && is_recent { time.saturating_add(penalty) } else { time }
    }

    /// The connection is gone, and with it what was asked.
    pub(super) fn reset(&mut self) {
        self.waiting = 0;
        self.last = None;
    }

    /// Whether it ever gave a block.
    pub(super) fn has_given(&self) -> bool {
        self.service.is_some()
    }
}

fn millis(value: f64) -> Duration {
    Duration::from_secs_f64(value.clamp(0.0, 60_000.0) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_faster_gets_more_and_a_failure_is_forgiven() {
        let start = Instant::now();
        let (mut fast, mut slow) = (Pace::default(), Pace::default());
        for (pace, time) in [(&mut fast, 10), (&mut slow, 40)] {
            pace.begin();
            pace.arrived(start, start + MS * time);
        }
        let mut counts = [0, 0];
        for _ in 0..50 {
            let to_fast = fast.expected(start) <= slow.expected(start);
            if to_fast { &mut fast } else { &mut slow }.begin();
            counts[usize::from(!to_fast)] += 1;
        }
        assert_eq!(counts, [40, 10]);
        let before = slow.expected(start);
        slow.failed(start);
        assert!(slow.expected(start) > before);
        assert_eq!(slow.expected(start + Duration::from_secs(60)), before);
    }

    #[test]
    fn nobody_is_waited_for_too_long_or_too_short() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.begin(), PATIENCE_FIRST);
        pace.arrived(start, start + MS);
        assert_eq!(pace.begin(), PATIENCE_MIN);
        pace.arrived(start, start + Duration::from_secs(60));
        assert_eq!(pace.begin(), PATIENCE_MAX);
    }

    #[test]
    fn an_unknown_peer_is_tried_but_not_with_everything() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert!(pace.expected(now) < MS);
        for _ in 0..UNKNOWN_MAX {
            pace.begin();
        }
        assert!(pace.expected(now) >= UNKNOWN);
    }
}
