//! IPNS records between members: asked for when one is missed, and passed on when one is news.
//!
//! A record goes on only if it is valid and newer than all before, so that it comes round once. What a node takes is bounded
//! by budgets, apart for names that are news to it and for names that it knows, so that a flood of made-up names
//! holds up no site's update; what a budget leaves out comes later, when it is asked for or put again. In memory; a crash
//! loses what was not passed on yet, which its publisher's node puts again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atoll_core::ipns::{Name, RECORD_BYTES_MAX, Record};
use atoll_core::names::{Asked, NameExchange, NameRecords, Offered};
use atoll_core::transport::{NAMES_MAX, NamedRecord, Request, Response};
use atoll_core::{BoxFuture, Multiaddr, Timestamp, TransportError};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_bytes::ByteBuf;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Shared;
use super::answer::REFUSED_MAX;
use crate::config::Config;

/// The most members that are asked for one name.
const ASKED_MAX: usize = 8;
/// How long the others may take once one has answered with a record: theirs may be newer.
const SETTLE: Duration = Duration::from_millis(300);
/// The most names that wait to be passed on. What is left out is put again by whoever stands for it.
const NEWS_MAX: usize = 16_384;
/// The most messages under way.
const SENDING_MAX: usize = 64;

/// What a router needs for names.
pub(super) struct Passing {
    records: Arc<dyn NameRecords>,
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    news: BTreeMap<Name, Bytes>,
    new: Budget,
    known: Budget,
}

impl Passing {
    pub(super) fn new(records: Arc<dyn NameRecords>, config: &Config) -> Self {
        let (new, known) = (Budget::new(config.names_new_per_minute), Budget::new(config.names_known_per_minute));
        let state = State { news: BTreeMap::new(), new, known };
        Self { records, state: Mutex::new(state), wake: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that members should hear of `record`.
    fn add_news(&self, record: &Record) {
        let news = &mut self.lock().news;
        if news.len() < NEWS_MAX || news.contains_key(record.name()) {
            news.insert(*record.name(), record.bytes().clone());
        }
        self.wake.notify_one();
    }

    /// As much news as fits one message.
    fn take_news(&self) -> Vec<NamedRecord> {
        let news = &mut self.lock().news;
        let next = |_| {
            let (name, record) = news.pop_first()?;
            Some(NamedRecord { name: ByteBuf::from(name.to_bytes()), record: ByteBuf::from(record.to_vec()) })
        };
        (0..NAMES_MAX).map_while(next).collect()
    }
}

/// So many in a minute, a minute's worth at once at most.
struct Budget {
    interval_us: u64,
    /// When what was taken so far will be paid off, in microseconds since the Unix epoch.
    paid_us: u64,
}

impl Budget {
    fn new(per_minute: u32) -> Self {
        Self { interval_us: 60_000_000 / u64::from(per_minute.max(1)), paid_us: 0 }
    }

    /// Takes one, if there is one.
    fn take(&mut self, now: Timestamp) -> bool {
        let now_us = now.as_millis().saturating_mul(1000);
        let next = self.paid_us.max(now_us).saturating_add(self.interval_us);
        if next > now_us.saturating_add(60_000_000) {
            return false;
        }
        self.paid_us = next;
        true
    }
}

/// Members, for whoever resolves names.
pub(super) struct Exchange(pub(super) Arc<Shared>);

impl NameExchange for Exchange {
    fn ask<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Asked> {
        Box::pin(self.0.ask_for_name(name))
    }

    fn tell(&self, record: &Record) {
        self.0.names.add_news(record);
    }
}

/// Tells members of news, for ever.
pub(super) async fn pass_on(shared: Arc<Shared>) {
    let mut sending = JoinSet::new();
    loop {
        shared.names.wake.notified().await;
        shared.clock.sleep(shared.config.announce_delay).await;
        loop {
            let records = shared.names.take_news();
            if records.is_empty() {
                break;
            }
            let request = Arc::new(Request::Names { records });
            for address in shared.publish(&request).await {
                while sending.len() >= SENDING_MAX {
                    sending.join_next().await;
                }
                let (shared, request) = (Arc::clone(&shared), Arc::clone(&request));
                sending.spawn(async move {
                    if let Err(error) = shared.ask(&address, &request).await {
                        tracing::debug!(%address, %error, "names were not passed on");
                    }
                });
            }
            while sending.try_join_next().is_some() {}
        }
    }
}

impl Shared {
    /// Asks some members for `name`, and waits for those that are not much slower than the first who has it.
    async fn ask_for_name(&self, name: &Name) -> Asked {
        let targets = self.name_targets(name);
        let request = Request::Name { name: ByteBuf::from(name.to_bytes()) };
        let mut answers: FuturesUnordered<_> = targets.iter().map(|address| self.ask(address, &request)).collect();
        let mut asked = Asked { asked: targets.len(), ..Asked::default() };
        let mut settled = self.clock.sleep(self.config.request_timeout);
        loop {
            let answer = tokio::select! {
                biased;
                answer = answers.next() => answer,
                () = &mut settled => None,
            };
            let Some(answer) = answer else { return asked };
            let Ok(Response::Name { record }) = answer else { continue };
            asked.answered = asked.answered.saturating_add(1);
            if let Some(record) = record.filter(|record| record.len() <= RECORD_BYTES_MAX) {
                if asked.records.is_empty() {
                    settled = self.clock.sleep(SETTLE);
                }
                asked.records.push(Bytes::from(record.into_vec()));
            }
        }
    }

    /// Whom to ask: who holds the site of that name, the near ones of them, then others, then the seeds.
    fn name_targets(&self, name: &Name) -> Vec<Multiaddr> {
        let roots = name.site().map_or(Vec::new(), |site| {
            let placed = self.lock();
            placed.table.placements.get(&site).map_or(Vec::new(), |placed| placed.roots.clone())
        });
        let holders = if roots.is_empty() { Vec::new() } else { self.holders(&roots) };
        let mut targets = self.fetcher.best(holders);
        targets.truncate(ASKED_MAX / 2);
        for other in self.gossip_targets() {
            if targets.len() < ASKED_MAX && !targets.contains(&other) {
                targets.push(other);
            }
        }
        targets
    }

    /// The record of one name, as it is kept here.
    pub(super) fn name_asked(&self, name: &[u8]) -> Result<Response, TransportError> {
        let name = Name::from_bytes(name).map_err(|_| TransportError::Malformed)?;
        let record = self.names.records.known(&name).map(|record| ByteBuf::from(record.to_vec()));
        Ok(Response::Name { record })
    }

    /// Takes what is news among `records`, within the budgets, and passes it on; how many were news. `Malformed` if each of them
    /// is wrong.
    pub(super) async fn names_told(&self, records: Vec<NamedRecord>) -> Result<u64, TransportError> {
        if records.len() > NAMES_MAX {
            return Err(TransportError::Refused);
        }
        let all = records.len();
        let mut wanted = Vec::new();
        for NamedRecord { name, record } in records {
            let name = Name::from_bytes(&name).map_err(|_| TransportError::Malformed)?;
            let record = Bytes::from(record.into_vec());
            let known = self.names.records.known(&name);
            if known.as_ref() != Some(&record) && self.affords(&name, known.is_some()) {
                wanted.push((name, record));
            }
        }
        let (mut accepted, mut refused) = (0u64, 0usize);
        for offered in self.names.records.offer(wanted).await {
            match offered {
                Offered::News(record) => {
                    accepted = accepted.saturating_add(1);
                    self.names.add_news(&record);
                }
                Offered::Old => {}
                Offered::Bad => refused = refused.saturating_add(1),
            }
        }
        match refused {
            // Whoever sent only bad ones did not look at them.
            1.. if refused == all => Err(TransportError::Malformed),
            0..=REFUSED_MAX => Ok(accepted),
            _ => Err(TransportError::Refused),
        }
    }

    /// Whether a record of `name` is to be looked at now.
    fn affords(&self, name: &Name, is_known: bool) -> bool {
        let is_placed = || name.site().is_some_and(|site| self.lock().table.placements.contains_key(&site));
        let is_expected = is_known || is_placed();
        let mut state = self.names.lock();
        let budget = if is_expected { &mut state.known } else { &mut state.new };
        budget.take(self.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::ipns::NewRecord;
    use atoll_core::keys::SiteKey;
    use atoll_core::names::NoopNameRecords;

    use super::*;

    fn record(number: usize, sequence: u64) -> Record {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let eol = Timestamp::from_secs(1_800_000_000);
        let new = NewRecord { target: "/ipfs/bafkqaaa".parse().unwrap(), sequence, eol, ttl: Duration::from_secs(60) };
        new.sign(&SiteKey::from_seed(&seed)).unwrap()
    }

    #[test]
    fn so_many_names_wait_to_be_passed_on_and_each_with_its_last_record() {
        let passing = Passing::new(Arc::new(NoopNameRecords), &Config::default());
        (0..NEWS_MAX + 100).for_each(|number| passing.add_news(&record(number, 1)));
        let newer = record(0, 2);
        passing.add_news(&newer);
        let messages: Vec<_> =
            std::iter::from_fn(|| Some(passing.take_news()).filter(|news| !news.is_empty())).collect();
        assert!(messages.iter().all(|message| message.len() <= NAMES_MAX));
        let all: Vec<_> = messages.into_iter().flatten().collect();
        assert_eq!(all.len(), NEWS_MAX);
        assert!(all.iter().any(|news| news.record == *newer.bytes()));
    }

    #[test]
    fn a_budget_is_a_minutes_worth_and_comes_back() {
        let mut budget = Budget::new(60);
        let at = Timestamp::from_secs(1_800_000_000);
        let taken = |budget: &mut Budget, at| (0..1000).filter(|_| budget.take(at)).count();
        assert_eq!(taken(&mut budget, at), 60);
        assert_eq!(taken(&mut budget, at.after(Duration::from_secs(10))), 10);
        assert_eq!(taken(&mut budget, at.after(Duration::from_secs(3600))), 60);
    }
}
