//! How much may be signed for whom: a rate and a burst for each address (GCRA). In memory only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quick_cache::sync::Cache;

/// The addresses that are told apart at a time. Of who is forgotten the whole burst comes back.
const ADDRESSES_MAX: usize = 65_536;

/// A budget for each address.
pub(crate) struct Budgets {
    rate: Rate,
    addresses: Cache<u64, Arc<Budget>>,
}

/// One budget: when it would be whole again, in nanoseconds since it began to be counted.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicU64);

/// How fast a budget grows, and how large it becomes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Nanoseconds for one.
    interval: u64,
    /// Nanoseconds for all.
    whole: u64,
    begun: Instant,
}

impl Rate {
    /// So many a second, and `seconds` worth of them at once.
    pub(crate) fn new(per_second: u32, seconds: u32) -> Self {
        let interval = 1_000_000_000 / u64::from(per_second.max(1));
        let whole = interval.saturating_mul(u64::from(per_second)).saturating_mul(u64::from(seconds));
        Self { interval, whole: whole.max(interval), begun: Instant::now() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Budget {
    /// Takes one, if there is one.
    pub(crate) fn take(&self, rate: &Rate) -> bool {
        self.take_at(rate, rate.now())
    }

    fn take_at(&self, rate: &Rate, now: u64) -> bool {
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full| {
            let next = full.max(now).saturating_add(rate.interval);
            (next.saturating_sub(now) <= rate.whole).then_some(next)
        });
        taken.is_ok()
    }
}

impl Budgets {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, addresses: Cache::new(ADDRESSES_MAX) }
    }

    /// Takes one for that address, if there is one.
    pub(crate) fn take(&self, address: u64) -> bool {
        let made = self.addresses.get_or_insert_with(&address, || Ok::<_, std::convert::Infallible>(Arc::default()));
        made.is_ok_and(|budget| budget.take(&self.rate))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let (rate, budget) = (Rate::new(10, 2), Budget::default());
        let second = u64::try_from(Duration::from_secs(1).as_nanos()).unwrap();
        let taken = |at: u64| (0..100).filter(|_| budget.take_at(&rate, at)).count();
        assert_eq!([taken(0), taken(second), taken(second), taken(100 * second)], [20, 10, 0, 20]);
    }

    #[test]
    fn addresses_have_their_own() {
        let budgets = Budgets::new(Rate::new(1, 1));
        assert_eq!([budgets.take(1), budgets.take(1), budgets.take(2)], [true, false, true]);
    }
}
