//! One request on its way: first to one origin, then to others, at most two at a time, until one has answered.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::{Shared, is_failure};
use crate::body::{Answer, Download};
use crate::bucket::told;
use crate::error::OriginError;
use crate::pool::{Few, Plan};
use crate::server::{Counts, Order};

/// How often a request is sent again, beyond those that reached nobody.
const REPEATS_MAX: usize = 2;
/// How often the budget is asked again, and for how long after a failure.
const BUDGET_AGAIN: Duration = Duration::from_millis(200);
const BUDGET_WAITS_MAX: usize = 5;

/// What came of asking one origin.
enum Tried {
    Answered(Answer),
    /// Nothing was sent.
    Unreached(OriginError),
    /// The request is at fault, or its visitor went away while it sent the body.
    Given(OriginError),
    Failed(Result<Answer, OriginError>),
}

/// Whom a request has not asked yet, and what came of the others.
struct Run<'a> {
    shared: &'a Arc<Shared>,
    left: smallvec::IntoIter<[usize; 2]>,
    /// How many of them are ready.
    ready: usize,
    /// Whom it waits for, and since when.
    asked: Few<(usize, Instant)>,
    repeats: usize,
    /// The best that there is if nobody answers.
    last: Result<Answer, OriginError>,
}

/// Asks origins as planned, beginning now. `again`: whether the request may be sent a second time.
pub(super) async fn run(
    shared: &Arc<Shared>,
    order: &Order<'_>,
    plan: Plan,
    (again, now): (bool, Instant),
) -> Result<Answer, OriginError> {
    match plan.order[..] {
        [n] => match attempt(shared, order, Turn { n, last: true, now }).await.1 {
            Tried::Answered(response) => Ok(response),
            Tried::Failed(failed) => failed,
            Tried::Given(error) | Tried::Unreached(error) => Err(error),
        },
        // Boxed, since it is large, and most sites have one origin.
        _ => Box::pin(several(shared, order, plan, (again, now))).await,
    }
}

async fn several(
    shared: &Arc<Shared>,
    order: &Order<'_>,
    plan: Plan,
    (again, now): (bool, Instant),
) -> Result<Answer, OriginError> {
    let mut run = Run {
        shared,
        left: plan.order.into_iter(),
        ready: plan.ready,
        asked: Few::new(),
        repeats: 0,
        last: Err(OriginError::None),
    };
    match plan.hedge.filter(|_| again && run.left.len() > 1) {
        Some(hedge) => race(&mut run, order, hedge, now).await,
        None => one_by_one(&mut run, order, again, now).await,
    }
}

/// Nobody is asked before the one before has failed.
async fn one_by_one(run: &mut Run<'_>, order: &Order<'_>, again: bool, now: Instant) -> Result<Answer, OriginError> {
    let mut next = run.next(None, now);
    while let Some(turn) = next {
        let (n, tried) = attempt(run.shared, order, turn).await;
        next = match run.take(n, tried)? {
            Taken::Answer(response) => return Ok(response),
            // A body that was begun is gone.
            Taken::Unreached if order.body.is_whole() => run.next(None, Instant::now()),
            Taken::Failed if again && run.may_repeat().await => run.next(Some(Kind::Retry), Instant::now()),
            _ => None,
        };
    }
    run.give_up()
}

/// A second one is asked if the first has not answered after `hedge`. For requests that may be sent again.
async fn race(run: &mut Run<'_>, order: &Order<'_>, hedge: Duration, now: Instant) -> Result<Answer, OriginError> {
    let shared = run.shared;
    let mut racing = FuturesUnordered::new();
    racing.extend(run.next(None, now).map(|turn| attempt(shared, order, turn)));
    let mut late = pin!(sleep(hedge));
    loop {
        tokio::select! {
            biased;
            tried = racing.next() => {
                let Some((n, tried)) = tried else { return run.give_up() };
                let counted = match run.take(n, tried)? {
                    Taken::Answer(response) => return Ok(response),
                    Taken::Unreached => None,
                    Taken::Failed if racing.is_empty() && run.may_repeat().await => Some(Kind::Retry),
                    _ => continue,
                };
                racing.extend(run.next(counted, Instant::now()).map(|turn| attempt(shared, order, turn)));
            }
            () = &mut late, if racing.len() == 1 && run.ready > 0 && run.has_more() => {
                let mut again = BUDGET_AGAIN;
                if run.has_budget() {
                    let next = run.next(Some(Kind::Hedge), Instant::now());
                    racing.extend(next.map(|turn| attempt(shared, order, turn)));
                    again = hedge;
                }
                late.as_mut().reset(Instant::now() + again);
            }
        }
    }
}

/// Asks one origin. The last one may be waited for.
async fn attempt(shared: &Arc<Shared>, order: &Order<'_>, Turn { n, last, now }: Turn) -> (usize, Tried) {
    let timeouts = &shared.settings.timeouts;
    let Some(server) = shared.servers.get(n) else { return (n, Tried::Unreached(OriginError::None)) };
    let patient = last.then_some(timeouts.connect);
    let (holding, begun) = match server.enter((Arc::downgrade(shared), n), patient, now).await {
        Ok(entered) => entered,
        Err(error) => return (n, Tried::Unreached(error)),
    };
    server.counts.requests.fetch_add(1, Ordering::Relaxed);
    let tried = match server.ask(order, timeouts.first_byte, begun).await {
        Ok(response) => {
            let failed = is_failure(response.status());
            let goes_on = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            let status = response.status();
            let response = if server.origin.is_bucket() && (status.is_client_error() || status.is_server_error()) {
                told(&response.into_parts().0, &order.head.method)
            } else {
                Box::new(response.map(|body| Download::new(body, timeouts.idle, holding, goes_on)))
            };
            if failed { Tried::Failed(Ok(response)) } else { Tried::Answered(response) }
        }
        Err(error @ (OriginError::Connect { .. } | OriginError::None)) => {
            shared.failed(n);
            Tried::Unreached(error)
        }
        Err(error @ (OriginError::Upload(_) | OriginError::ReadOnly | OriginError::Outside)) => Tried::Given(error),
        Err(error) => Tried::Failed(Err(error)),
    };
    match &tried {
        Tried::Answered(_) => {
            let now = Instant::now();
            shared.pool().good(n, now.saturating_duration_since(begun), now);
        }
        Tried::Failed(_) => shared.failed(n),
        Tried::Unreached(_) | Tried::Given(_) => {}
    }
    (n, tried)
}

/// Whose turn it is.
struct Turn {
    n: usize,
    /// Whether nobody is left to be asked after it.
    last: bool,
    /// Since when.
    now: Instant,
}

/// Why a request is sent to one more origin.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Retry,
    Hedge,
}

/// How it goes on.
enum Taken {
    Answer(Answer),
    Unreached,
    Failed,
}

impl Run<'_> {
    fn has_more(&self) -> bool {
        self.left.len() > 0 && self.repeats < REPEATS_MAX
    }

    /// Whom to ask next.
    fn next(&mut self, kind: Option<Kind>, now: Instant) -> Option<Turn> {
        let n = self.left.next()?;
        self.ready = self.ready.saturating_sub(1);
        self.asked.push((n, now));
        if let (Some(kind), Some(server)) = (kind, self.shared.servers.get(n)) {
            self.repeats += 1;
            kind.of(&server.counts).fetch_add(1, Ordering::Relaxed);
            tracing::debug!(origin = server.origin.name(), ?kind, "one more origin is asked");
        }
        Some(Turn { n, last: self.left.len() == 0, now })
    }

    fn has_budget(&self) -> bool {
        self.shared.pool().may_repeat(Instant::now())
    }

    /// Whether there is somebody left to ask, and a budget for that, soon.
    async fn may_repeat(&self) -> bool {
        for _ in 0..BUDGET_WAITS_MAX {
            if !self.has_more() {
                return false;
            }
            if self.has_budget() {
                return true;
            }
            sleep(BUDGET_AGAIN).await;
        }
        false
    }

    /// The best that there is, since nobody answers.
    fn give_up(&mut self) -> Result<Answer, OriginError> {
        std::mem::replace(&mut self.last, Err(OriginError::None))
    }

    /// What came of asking one of them.
    fn take(&mut self, n: usize, tried: Tried) -> Result<Taken, OriginError> {
        let begun = self.asked.iter().find(|(asked, _)| *asked == n).map(|(_, begun)| *begun);
        self.asked.retain(|(asked, _)| *asked != n);
        match tried {
            Tried::Answered(response) => {
                // Whoever was asked before, and has not answered, is too slow.
                for (slow, _) in self.asked.iter().filter(|(_, since)| Some(*since) < begun) {
                    self.shared.failed(*slow);
                }
                Ok(Taken::Answer(response))
            }
            Tried::Given(error) => Err(error),
            Tried::Unreached(error) => {
                // An answer, even of a failure, says more.
                if self.last.is_err() {
                    self.last = Err(error);
                }
                Ok(Taken::Unreached)
            }
            Tried::Failed(failed) => {
                if failed.is_ok() || self.last.is_err() {
                    self.last = failed;
                }
                Ok(Taken::Failed)
            }
        }
    }
}

impl Kind {
    fn of(self, counts: &Counts) -> &AtomicU64 {
        match self {
            Self::Retry => &counts.retries,
            Self::Hedge => &counts.hedges,
        }
    }
}
