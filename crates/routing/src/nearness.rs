//! Who is near: round trips to members, and the order in which peers of different distance are asked. Lost upon a restart, and
//! measured anew.

use std::time::Duration;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// Peers whose expected times differ by less than this count as equally near, however near they are.
const EQUAL: Duration = Duration::from_millis(2);

/// How a round trip was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MeasuredBy {
    /// The time to answer a member's probe.
    Probe,
    /// A ping of the connection.
    Ping,
}

/// The round trip to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoundTrip {
    pub(crate) time: Duration,
    pub(crate) by: MeasuredBy,
}

impl RoundTrip {
    /// What is believed after this one was measured, when `old` was believed before. A member is no farther than its fastest
    /// answer says; slower ones may have had to wait, and count little by little.
    #[must_use]
    pub(crate) fn after(self, old: Option<Self>) -> Self {
        match old {
            Some(old) if old.by == self.by && self.time > old.time => {
                Self { time: (old.time * 7 + self.time) / 8, ..self }
            }
            _ => self,
        }
    }
}

/// Somebody who may be asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<T> {
    pub(crate) who: T,
    /// How long it is expected to take.
    pub(crate) cost: Duration,
    /// How many questions to it are under way.
    pub(crate) running: u32,
}

/// At most `most` of `choices`, in the order in which they are asked. The next is always among those that are about as near as
/// the nearest that is left: of two of them, at random, the one with less to do. So equals share the work, and not every
/// asker has the same favourite ("The Power of Two Choices in Randomized Load Balancing", Mitzenmacher 2001).
pub(crate) fn order<T>(mut choices: Vec<Choice<T>>, most: usize, rng: &mut impl Rng) -> Vec<T> {
    choices.sort_by_key(|choice| choice.cost);
    let mut order = Vec::new();
    while order.len() < most
        && let Some(nearest) = choices.first()
    {
        let reach = nearest.cost + nearest.cost / 2 + EQUAL;
        let equals = choices.partition_point(|choice| choice.cost <= reach);
        let [one, other] = [0; 2].map(|_: usize| rng.random_range(0..equals));
        let running = |index: usize| choices.get(index).map(|choice| choice.running);
        let chosen = if running(other) < running(one) { other } else { one };
        order.push(choices.remove(chosen).who);
    }
    order
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_round_trip_falls_at_once_and_rises_slowly() {
        let probe = |ms| RoundTrip { time: MS * ms, by: MeasuredBy::Probe };
        let ping = RoundTrip { time: MS * 90, by: MeasuredBy::Ping };
        assert_eq!(probe(80).after(None), probe(80));
        assert_eq!(probe(8).after(Some(probe(80))), probe(8));
        assert_eq!(probe(16).after(Some(probe(8))), probe(9));
        assert_eq!(ping.after(Some(probe(8))), ping, "another kind of measure");
    }

    /// How often each of `choices` (cost in ms, running) comes first in 9,000 orders.
    fn first(choices: &[(u32, u32)]) -> Vec<usize> {
        let mut rng = StdRng::seed_from_u64(1);
        let mut counts = vec![0; choices.len()];
        for _ in 0..9000 {
            let all = choices.iter().enumerate();
            let all = all.map(|(who, (cost, running))| Choice { who, cost: MS * *cost, running: *running });
            counts[order(all.collect(), 1, &mut rng)[0]] += 1;
        }
        counts
    }

    #[test]
    fn equals_share_and_the_far_come_last() {
        let counts = first(&[(10, 0), (80, 0), (11, 0), (12, 0)]);
        assert_eq!(counts[1], 0);
        assert!([0, 2, 3].iter().all(|near| (2700..3300).contains(&counts[*near])), "{counts:?}");
        // Whoever has more to do than another is chosen only when it meets itself.
        let counts = first(&[(10, 5), (10, 0), (10, 1)]);
        assert!(counts[0] < 1300 && counts[1] > 4500, "{counts:?}");
    }

    #[test]
    fn an_order_is_from_near_to_far_and_bounded() {
        let mut rng = StdRng::seed_from_u64(1);
        let choices = || [400, 1, 100, 20].map(|cost| Choice { who: cost, cost: MS * cost, running: 0 }).to_vec();
        assert_eq!(order(choices(), 9, &mut rng), [1, 20, 100, 400]);
        assert_eq!(order(choices(), 2, &mut rng), [1, 20]);
        assert!(order(Vec::<Choice<()>>::new(), 9, &mut rng).is_empty());
    }
}
