//! How long answers take: the time that 95 of a hundred take at most, of the last thousand or two. Pure.

use std::time::Duration;

/// Four steps for each doubling, from 1 ms to over an hour.
const STEPS: usize = 96;
const STEPS_PER_DOUBLING: f64 = 4.0;
/// After so many, each counts half.
const FULL: u32 = 1024;
/// Fewer than this tell nothing.
const ENOUGH: u32 = 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Latency {
    counts: [u32; STEPS],
    total: u32,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: [0; STEPS], total: 0 }
    }
}

impl Latency {
    /// An answer took so long.
    pub(crate) fn note(&mut self, took: Duration) {
        if self.total >= FULL {
            for count in &mut self.counts {
                *count /= 2;
            }
            self.total = self.counts.iter().sum();
        }
        if let Some(count) = self.counts.get_mut(step(took)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// The time that 95 of a hundred take at most; `None` while too few are known.
    pub(crate) fn p95(&self) -> Option<Duration> {
        if self.total < ENOUGH {
            return None;
        }
        let mut above = self.total / 20;
        for (step, count) in self.counts.iter().enumerate().rev() {
            if *count > above {
                return Some(end(step));
            }
            above -= count;
        }
        None
    }
}

fn step(took: Duration) -> usize {
    let millis = (took.as_secs_f64() * 1000.0).max(1.0);
    let step = (millis.log2() * STEPS_PER_DOUBLING).floor();
    // Not negative, and far below the limit of the type.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a few hundred")]
    let step = step as usize;
    step.min(STEPS - 1)
}

/// The longest time of a step.
fn end(step: usize) -> Duration {
    let step = u32::try_from(step).unwrap_or(u32::MAX);
    Duration::from_secs_f64(((f64::from(step) + 1.0) / STEPS_PER_DOUBLING).exp2() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_about_right_and_forgets() {
        let mut latency = Latency::default();
        assert_eq!(latency.p95(), None);
        for n in 0..1000_u32 {
            latency.note(Duration::from_millis(if n % 100 < 4 { 900 } else { 20 }));
        }
        let p95 = latency.p95().unwrap().as_millis();
        assert!((20..27).contains(&p95), "{p95}");
        for _ in 0..10_000 {
            latency.note(Duration::from_millis(500));
        }
        let p95 = latency.p95().unwrap().as_millis();
        assert!((500..650).contains(&p95), "{p95}");
        latency.note(Duration::from_secs(1 << 40));
        latency.note(Duration::ZERO);
    }
}
