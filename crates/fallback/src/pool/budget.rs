//! How many requests may be sent a second time: a share of all, and a few at any rate. Pure.

use tokio::time::Instant;

/// What one request takes, in hundredths.
const ONE: u64 = 100;
/// The most that is saved up of the share, in hundredths of requests.
const SAVED_MAX: u64 = 100 * ONE;
/// For how many seconds the few at any rate are saved up.
const RESERVE_SECONDS: u64 = 10;

/// See the module. All in hundredths of requests.
#[derive(Debug)]
pub(crate) struct Budget {
    /// What each request adds.
    share: u64,
    saved: u64,
    per_second: u64,
    reserve: u64,
    filled: Instant,
}

impl Budget {
    /// So many of a hundred, and so many each second at any rate.
    pub(crate) fn new(percent: u32, per_second: u32, now: Instant) -> Self {
        let per_second = u64::from(per_second) * ONE;
        let reserve = per_second * RESERVE_SECONDS;
        Self { share: percent.into(), saved: 0, per_second, reserve, filled: now }
    }

    /// A request is made.
    pub(crate) fn deposit(&mut self) {
        self.saved = (self.saved + self.share).min(SAVED_MAX);
    }

    /// Whether one may be sent a second time; it is, then.
    pub(crate) fn withdraw(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_millis();
        let more = u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(self.per_second) / 1000;
        if more > 0 {
            self.reserve = self.reserve.saturating_add(more).min(self.per_second * RESERVE_SECONDS);
            self.filled = now;
        }
        let purse = if self.saved >= ONE { &mut self.saved } else { &mut self.reserve };
        let enough = *purse >= ONE;
        if enough {
            *purse -= ONE;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_more_than_the_share_and_the_reserve_are_given() {
        let begun = Instant::now();
        let mut budget = Budget::new(5, 1, begun);
        let mut given = 0;
        // 10,000 requests in 100 s, all of which would like to be sent again.
        for n in 0..10_000_u32 {
            budget.deposit();
            given += u32::from(budget.withdraw(begun + Duration::from_millis(10) * n));
        }
        assert!((500..=611).contains(&given), "{given}");
        // Nothing is asked for: only so much is saved.
        for _ in 0..100_000 {
            budget.deposit();
        }
        let later = begun + Duration::from_secs(3600);
        assert_eq!((0..1000).filter(|_| budget.withdraw(later)).count(), 110);
        let mut none = Budget::new(0, 0, begun);
        none.deposit();
        assert!(!none.withdraw(later));
    }
}
