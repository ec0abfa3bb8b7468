//! What is counted about requests: told once for each, when its body was handed over or given up. Counts are lost with
//! the process, as with every scraped figure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A request that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which worker served it.
    pub worker: usize,
    /// Whether it was a member's message.
    pub message: bool,
    /// The HTTP status.
    pub status: u16,
    /// Whether it was answered from the cache of ready responses.
    pub hot: bool,
    /// Whether the whole body was handed over.
    pub complete: bool,
    /// Bytes of the body that were handed over.
    pub bytes: u64,
    /// From the end of the request's head until then.
    pub duration: Duration,
}

/// Takes note of requests. Called on the hot path: no lock, no I/O.
pub trait Observe: Send + Sync + 'static {
    /// A request ended.
    fn request(&self, seen: &Seen);
}

/// Takes no note.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopObserve;

impl Observe for NoopObserve {
    fn request(&self, _seen: &Seen) {}
}

/// Counts requests, each worker in cells of its own, so that workers never contend.
#[derive(Debug)]
pub struct Counters(Vec<Cells>);

/// Buckets of the duration histogram: bucket `i` counts durations below 2^(i/4) microseconds, from 1 µs to 2^24.
const BUCKETS: usize = 97;

// Aligned so that two workers never write to one cache line.
#[repr(align(128))]
#[derive(Debug)]
struct Cells {
    messages: AtomicU64,
    classes: [AtomicU64; 5],
    hot: AtomicU64,
    broken: AtomicU64,
    bytes: AtomicU64,
    micros: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// The sums over all workers since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Members' messages. Nothing else here counts them.
    pub messages: u64,
    /// Requests by the first digit of their status, 1 to 5.
    pub classes: [u64; 5],
    /// Of these, answered from the cache of ready responses.
    pub hot: u64,
    /// Of these, broken off before the end of the body.
    pub broken: u64,
    /// Bytes of bodies.
    pub bytes: u64,
    /// All durations together.
    pub duration: Duration,
    buckets: [u64; BUCKETS],
}

impl Counters {
    /// Counters for so many workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Cells::new()).collect())
    }

    /// The sums up to now.
    pub fn totals(&self) -> Totals {
        let sum = |cell: &dyn Fn(&Cells) -> &AtomicU64| {
            self.0.iter().map(|cells| cell(cells).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
        };
        Totals {
            messages: sum(&|cells| &cells.messages),
            classes: std::array::from_fn(|i| sum(&|cells| &cells.classes[i])),
            hot: sum(&|cells| &cells.hot),
            broken: sum(&|cells| &cells.broken),
            bytes: sum(&|cells| &cells.bytes),
            duration: Duration::from_micros(sum(&|cells| &cells.micros)),
            buckets: std::array::from_fn(|i| sum(&|cells| &cells.buckets[i])),
        }
    }
}

impl Observe for Counters {
    fn request(&self, seen: &Seen) {
        let Some(cells) = self.0.get(seen.worker % self.0.len().max(1)) else { return };
        let add = |cell: &AtomicU64, n: u64| {
            if n > 0 {
                cell.fetch_add(n, Ordering::Relaxed);
            }
        };
        if seen.message {
            add(&cells.messages, 1);
            return;
        }
        let class = usize::from(seen.status / 100).clamp(1, 5) - 1;
        if let Some(cell) = cells.classes.get(class) {
            add(cell, 1);
        }
        add(&cells.hot, u64::from(seen.hot));
        add(&cells.broken, u64::from(!seen.complete));
        add(&cells.bytes, seen.bytes);
        let micros = u64::try_from(seen.duration.as_micros()).unwrap_or(u64::MAX);
        add(&cells.micros, micros);
        if let Some(cell) = cells.buckets.get(bucket(micros)) {
            add(cell, 1);
        }
    }
}

impl Cells {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            messages: zero(),
            classes: std::array::from_fn(|_| zero()),
            hot: zero(),
            broken: zero(),
            bytes: zero(),
            micros: zero(),
            buckets: std::array::from_fn(|_| zero()),
        }
    }
}

impl Totals {
    /// All requests.
    pub fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// The duration that the given share of requests stayed below (0.99: the 99th percentile), within 19 %; `None`
    /// before the first request. Of requests since `earlier`, if given.
    pub fn quantile(&self, share: f64, earlier: Option<&Self>) -> Option<Duration> {
        let count = |i: usize| {
            let before = earlier.and_then(|totals| totals.buckets.get(i)).copied().unwrap_or(0);
            self.buckets.get(i).copied().unwrap_or(0).saturating_sub(before)
        };
        let all: u64 = (0..BUCKETS).map(count).sum();
        let mut below = 0;
        (0..BUCKETS).find_map(|i| {
            below += count(i);
            #[expect(clippy::cast_precision_loss, reason = "a share of a count needs no more than 52 bits")]
            let reached = all > 0 && below as f64 >= share * all as f64;
            reached.then(|| upper(i))
        })
    }
}

/// The first bucket whose upper bound lies above `micros`.
fn bucket(micros: u64) -> usize {
    let whole = micros.max(1).ilog2();
    // The two bits below the highest one divide an octave in four.
    let quarter = if whole >= 2 { (micros >> (whole - 2)) & 3 } else { (micros.max(1) << (2 - whole)) & 3 };
    let index = u64::from(whole) * 4 + quarter + 1;
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The upper bound of a bucket.
fn upper(index: usize) -> Duration {
    let (whole, quarter) = (index / 4, index % 4);
    let octave = 1_u64 << whole.min(40);
    Duration::from_nanos(octave * 1000 + octave * 250 * (quarter as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(worker: usize, status: u16, micros: u64) -> Seen {
        Seen {
            worker,
            message: false,
            status,
            hot: status == 200,
            complete: true,
            bytes: 10,
            duration: Duration::from_micros(micros),
        }
    }

    #[test]
    fn workers_are_summed() {
        let counters = Counters::new(2);
        counters.request(&seen(0, 200, 5));
        counters.request(&seen(1, 404, 5));
        counters.request(&seen(1, 200, 5));
        let totals = counters.totals();
        assert_eq!((totals.classes, totals.hot, totals.bytes), ([0, 2, 0, 1, 0], 2, 30));
        assert_eq!(totals.duration, Duration::from_micros(15));
    }

    #[test]
    fn quantiles_are_within_a_quarter_above() {
        for micros in [1, 2, 3, 5, 7, 100, 999, 65_536, 1_000_000] {
            let counters = Counters::new(1);
            counters.request(&seen(0, 200, micros));
            let p50 = counters.totals().quantile(0.5, None).unwrap();
            let (low, high) = (Duration::from_micros(micros), Duration::from_micros(micros).mul_f64(1.26));
            assert!(p50 >= low && p50 <= high, "{micros} µs gave {p50:?}");
        }
    }

    #[test]
    fn quantiles_of_a_window_leave_out_what_was_before() {
        let counters = Counters::new(1);
        counters.request(&seen(0, 200, 1_000_000));
        let before = counters.totals();
        assert_eq!(before.quantile(0.5, Some(&before)), None);
        counters.request(&seen(0, 200, 10));
        assert!(counters.totals().quantile(0.99, Some(&before)).unwrap() < Duration::from_micros(20));
    }
}
