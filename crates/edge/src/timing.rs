//! How long each step of an answer was waited for, as browsers show it (`Server-Timing`, W3C Server Timing). Lives as long
//! as its request.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::HeaderValue;

use crate::failure::Step;

/// The steps that are shown, and what they are called.
const STEPS: [(Step, &str); 4] =
    [(Step::Name, "name"), (Step::Resolve, "resolve"), (Step::Read, "read"), (Step::List, "list")];

/// Microseconds by step.
#[derive(Debug, Default)]
pub(crate) struct Timing([AtomicU64; STEPS.len()]);

impl Timing {
    /// Waits for `work` as a part of `step`.
    pub(crate) async fn of<T>(&self, step: Step, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let cells = self.0.iter().zip(STEPS);
        for (cell, _) in cells.filter(|(_, (known, _))| *known == step) {
            // Whatever was waited for shows, however short it was.
            cell.fetch_add(micros.max(1), Ordering::Relaxed);
        }
        done
    }

    /// The header, `None` when nothing was waited for.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let mut text = String::new();
        for (cell, (_, name)) in self.0.iter().zip(STEPS) {
            let micros = cell.load(Ordering::Relaxed);
            if micros > 0 {
                let comma = if text.is_empty() { "" } else { ", " };
                // Writing to a string does not fail. Milliseconds, as the specification says.
                let _ = write!(text, "{comma}{name};dur={}.{:03}", micros / 1000, micros % 1000);
            }
        }
        HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_was_waited_for_shows() {
        let timing = Timing::default();
        assert_eq!(timing.header(), None);
        timing.of(Step::Resolve, async {}).await;
        timing.of(Step::Read, async {}).await;
        timing.0[2].store(12_034, Ordering::Relaxed);
        let text = timing.header().unwrap();
        assert!(text.to_str().unwrap().starts_with("resolve;dur=0."), "{text:?}");
        assert!(text.to_str().unwrap().ends_with(", read;dur=12.034"), "{text:?}");
    }
}
