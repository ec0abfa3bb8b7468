//! Which of a site's origins is asked next: what is known of each, and how they share the requests. Pure: times are told. A crash
//! loses it, and it is learnt again.

mod budget;
mod health;
mod latency;

use std::time::Duration;

use smallvec::{SmallVec, smallvec};
use tokio::time::Instant;

use crate::config::{Choose, Hedge, OriginConfig, PoolConfig};
use budget::Budget;
use health::{ALL, Health, Window};
use latency::Latency;

/// How often what came of requests is compared.
const WINDOW: Duration = Duration::from_secs(10);
/// Fewer requests than this in a window tell nothing.
const WINDOW_REQUESTS_MIN: u32 = 20;
/// When answers are late, while it is not known how long they take.
const LATE: Duration = Duration::from_secs(1);

/// Mostly one.
pub(crate) type Few<T> = SmallVec<[T; 2]>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    rules: PoolConfig,
    members: Vec<Member>,
    budget: Budget,
    latency: Latency,
    window: Instant,
}

#[derive(Debug)]
struct Member {
    weight: u32,
    backup: bool,
    health: Health,
    /// What it is owed of the requests, in weights.
    owed: i64,
    ejections: u64,
}

/// The origins to ask, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) order: Few<usize>,
    /// How many of them are ready; the others are asked only as a last resort.
    pub(crate) ready: usize,
    /// After which time without an answer another one is asked too.
    pub(crate) hedge: Option<Duration>,
}

impl Pool {
    pub(crate) fn new(origins: &[OriginConfig], rules: &PoolConfig, now: Instant) -> Self {
        let member = |origin: &OriginConfig| Member {
            weight: origin.weight,
            backup: origin.backup,
            health: Health::default(),
            owed: 0,
            ejections: 0,
        };
        Self {
            rules: rules.clone(),
            members: origins.iter().map(member).collect(),
            budget: Budget::new(rules.retry_percent, rules.retries_per_second, now),
            latency: Latency::default(),
            window: now,
        }
    }

    /// Whom a new request asks, of these.
    pub(crate) fn plan(&mut self, among: &[usize], now: Instant) -> Plan {
        self.budget.deposit();
        for member in &mut self.members {
            member.health.refresh(now);
        }
        if let [only] = *among {
            return Plan { order: smallvec![only], ready: usize::from(self.is_ready(only)), hedge: None };
        }
        let (mut order, mut rest): (Few<usize>, Few<usize>) = among.iter().copied().partition(|n| self.is_ready(*n));
        // Stable: the order of the settings stays.
        order.sort_by_key(|n| self.members.get(*n).is_some_and(|member| member.backup));
        rest.sort_by_key(|n| self.members.get(*n).and_then(|member| member.health.ejected()));
        if let Some(at) = self.choose(&order, now) {
            let chosen = order.remove(at);
            order.insert(0, chosen);
        }
        let ready = order.len();
        order.extend(rest);
        let hedge = match self.rules.hedge {
            _ if order.len() < 2 => None,
            Hedge::Off => None,
            Hedge::P95 => Some(self.latency.p95().unwrap_or(LATE)),
            Hedge::After(time) => Some(time),
        };
        Plan { order, ready, hedge }
    }

    fn is_ready(&self, n: usize) -> bool {
        self.members.get(n).is_some_and(|member| member.health.is_ready())
    }

    /// Where in `order` the one stands whose turn it is: smoothly by weight, so that turns of one do not come in a row.
    fn choose(&mut self, order: &[usize], now: Instant) -> Option<usize> {
        let backup = self.members.get(*order.first()?)?.backup;
        let mut left = ALL;
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (at, n) in order.iter().enumerate() {
            let Some(member) = self.members.get_mut(*n).filter(|member| member.backup == backup) else { continue };
            let share = member.health.share(now, self.rules.slow_start);
            let weight = match self.rules.choose {
                // Who has just come back leaves the rest of its requests to the next.
                Choose::Order => left * share / ALL,
                Choose::Weight => member.weight.saturating_mul(share),
            };
            left = left.saturating_sub(weight);
            if weight == 0 {
                continue;
            }
            let weight = i64::from(weight);
            member.owed = member.owed.saturating_add(weight);
            total += weight;
            if best.is_none_or(|(_, owed)| member.owed > owed) {
                best = Some((at, member.owed));
            }
        }
        let (at, _) = best?;
        if let Some(member) = order.get(at).and_then(|n| self.members.get_mut(*n)) {
            member.owed = member.owed.saturating_sub(total);
        }
        Some(at)
    }

    /// An origin answered, after so long.
    pub(crate) fn good(&mut self, n: usize, took: Duration, now: Instant) {
        if let Some(member) = self.members.get_mut(n) {
            member.health.good();
            self.latency.note(took);
        }
        self.roll(now);
    }

    /// An origin failed; whether it is left out from now on.
    pub(crate) fn bad(&mut self, n: usize, now: Instant) -> bool {
        let rules = &self.rules;
        let eject = self.members.get_mut(n).is_some_and(|member| member.health.bad(rules));
        let ejected = eject && self.eject(n, now);
        self.roll(now);
        ejected
    }

    /// A probe of an origin came back; whether that is left out from now on for that.
    pub(crate) fn probed(&mut self, n: usize, well: bool, now: Instant) -> bool {
        let rules = &self.rules.probe;
        self.members.get_mut(n).is_some_and(|member| member.health.probed(well, rules, now))
    }

    /// Whether a request may be sent a second time; it is, then.
    pub(crate) fn may_repeat(&mut self, now: Instant) -> bool {
        self.budget.withdraw(now)
    }

    /// Whether an origin is ready, and how often it was left out.
    pub(crate) fn state(&mut self, n: usize, now: Instant) -> (bool, u64) {
        let Some(member) = self.members.get_mut(n) else { return (false, 0) };
        member.health.refresh(now);
        (member.health.is_ready(), member.ejections)
    }

    /// Leaves an origin out, if enough others are left.
    fn eject(&mut self, n: usize, now: Instant) -> bool {
        let count = self.members.len();
        let out = self.members.iter().filter(|member| !member.health.is_ready()).count();
        let percent = usize::try_from(self.rules.ejected_percent_max).unwrap_or(0);
        let most = (count * percent).div_ceil(100).max(1).min(count.saturating_sub(1));
        if !self.is_ready(n) || out >= most {
            return false;
        }
        let Some(member) = self.members.get_mut(n) else { return false };
        member.health.eject(&self.rules, now);
        member.ejections = member.ejections.saturating_add(1);
        true
    }

    /// Compares what came of requests, if a window is over: whoever fails much more than the others do is left out.
    fn roll(&mut self, now: Instant) {
        if now.saturating_duration_since(self.window) < WINDOW {
            return;
        }
        self.window = now;
        let gap = self.rules.gap_percent;
        let windows: Vec<Window> = self.members.iter().map(|member| member.health.window).collect();
        for (n, own) in windows.iter().enumerate() {
            let others = windows.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, other)| *other);
            let others = others.fold(Window::default(), Window::and);
            let enough = own.total().min(others.total()) >= WINDOW_REQUESTS_MIN;
            if gap > 0 && enough && own.good_percent().saturating_add(gap) < others.good_percent() {
                self.eject(n, now);
            }
        }
        for member in &mut self.members {
            member.health.roll();
        }
    }
}

#[cfg(test)]
mod tests;
