//! What one site may take of what all share. A crash loses what was counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// How much more than its rate a site may have sent before requests are refused, in nanoseconds' worth.
const BURST_NANOS: u64 = 1_000_000_000;
const NANOS: u64 = 1_000_000_000;

/// What an operator can set about it. Plain data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Memory of its own for what is stored of its answers, in MiB; 0: it shares that of `[cache]` with others.
    pub memory_mib: usize,
    /// The same on disk; it counts only with `memory_mib`.
    pub disk_mib: usize,
    /// The most requests that are being answered at one time; 0: no limit.
    pub requests: usize,
    /// The most that is sent to visitors, in MiB a second, a second ahead of it at most; 0: no limit.
    pub egress_mib: usize,
}

/// What a site is refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// Too many requests at one time.
    Requests,
    /// Too much was sent.
    Egress,
}

/// What a site takes now.
#[derive(Debug)]
pub(crate) struct Meter {
    requests_max: usize,
    /// Bytes a second.
    rate: u64,
    requests: AtomicUsize,
    begun: Instant,
    /// When all that was sent would have been sent at the rate, in nanoseconds from `begun`.
    paid: AtomicU64,
    refused: [AtomicU64; 2],
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Pass(Arc<Meter>);

impl Spent {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Requests, Self::Egress];

    /// What it is called among figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Egress => "egress",
        }
    }
}

impl Quota {
    /// What is wrong with it.
    pub(super) fn problem(&self) -> Option<String> {
        let (requests, egress) = (self.requests > 1 << 32, self.egress_mib > 1 << 20);
        if self.disk_mib > 0 && self.memory_mib == 0 {
            return Some("quota.disk_mib: needs quota.memory_mib".to_owned());
        }
        (requests || egress).then(|| "quota: requests or egress_mib is out of all bounds; 0 is no limit".to_owned())
    }
}

impl Meter {
    pub(super) fn new(quota: &Quota) -> Arc<Self> {
        let rate = (quota.egress_mib as u64).saturating_mul(1024 * 1024);
        let (requests, paid, refused) = (AtomicUsize::new(0), AtomicU64::new(0), Default::default());
        Arc::new(Self { requests_max: quota.requests, rate, requests, begun: Instant::now(), paid, refused })
    }

    /// Lets a request in.
    pub(super) fn begin(self: &Arc<Self>) -> Result<Pass, Spent> {
        if self.rate > 0 && self.paid.load(Ordering::Relaxed) > self.now().saturating_add(BURST_NANOS) {
            return Err(self.refuse(Spent::Egress));
        }
        // Counted before it is looked at, so that no two take the last place.
        let pass = Pass(Arc::clone(self));
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        if self.requests_max > 0 && before >= self.requests_max {
            return Err(self.refuse(Spent::Requests));
        }
        Ok(pass)
    }

    fn refuse(&self, why: Spent) -> Spent {
        if let Some(count) = self.refused.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        why
    }

    /// How many requests were refused.
    pub(super) fn refused(&self, why: Spent) -> u64 {
        self.refused.get(why as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Pass {
    /// So many bytes of the answer are sent.
    pub(crate) fn sent(&self, bytes: u64) {
        let meter = &*self.0;
        if let Some(cost) = bytes.saturating_mul(NANOS).checked_div(meter.rate) {
            let now = meter.now();
            let pay = |paid: u64| Some(paid.max(now).saturating_add(cost));
            // It always has something to say.
            let _ = meter.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_until_they_end() {
        let meter = Meter::new(&Quota { requests: 2, ..Quota::default() });
        let first = meter.begin().unwrap();
        let _second = meter.begin().unwrap();
        assert_eq!(meter.begin().unwrap_err(), Spent::Requests);
        assert_eq!(meter.begin().unwrap_err(), Spent::Requests);
        drop(first);
        assert!(meter.begin().is_ok());
        assert_eq!((meter.refused(Spent::Requests), meter.refused(Spent::Egress)), (2, 0));
    }

    #[test]
    fn who_has_sent_too_much_is_refused() {
        let meter = Meter::new(&Quota { egress_mib: 1, ..Quota::default() });
        let pass = meter.begin().unwrap();
        pass.sent(1024 * 1024);
        assert!(meter.begin().is_ok(), "a second ahead is allowed");
        pass.sent(3600 * 1024 * 1024);
        assert_eq!(meter.begin().unwrap_err(), Spent::Egress);
        let free = Meter::new(&Quota::default());
        free.begin().unwrap().sent(u64::MAX);
        assert!(free.begin().is_ok());
    }
}
