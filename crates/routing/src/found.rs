//! Peers beyond the members that were found to provide a DAG. Searched for once in a while for each root, remembered in
//! memory only.
//!
//! A search goes on while its first results are used already, so that whoever answers first, or lies, hides nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atoll_core::{Cid, Clock, Multiaddr, Providers, Timestamp};
use futures_util::StreamExt as _;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// The most roots whose providers are remembered.
const ROOTS_MAX: usize = 4096;
/// How long providers are remembered, and how long it is remembered that there are none.
const REMEMBERED: Duration = Duration::from_secs(120);
const NOBODY_REMEMBERED: Duration = Duration::from_secs(3);
/// The most searches under way; further ones wait.
const SEARCHES_MAX: usize = 64;
/// The most providers that one search takes.
const PROVIDERS_MAX: usize = 64;
/// How long one search may take, whatever its sources promise.
const SEARCH_MAX: Duration = Duration::from_secs(60);

/// Finds providers, and remembers them.
pub(crate) struct Found {
    providers: Arc<dyn Providers>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    turns: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    roots: HashMap<Cid, Search>,
    tasks: JoinSet<()>,
}

impl Found {
    pub(crate) fn new(providers: Arc<dyn Providers>, clock: Arc<dyn Clock>) -> Self {
        Self { providers, clock, state: Mutex::default(), turns: Arc::new(Semaphore::new(SEARCHES_MAX)) }
    }

    /// The search that is under way, or that is not long over; `None` if it is time to search.
    pub(crate) fn known(&self, root: &Cid) -> Option<Search> {
        let now = self.clock.now();
        self.lock().roots.get(root).filter(|search| search.counts(now)).cloned()
    }

    /// Searches for providers of `root`, or joins whoever does.
    pub(crate) fn search(&self, root: &Cid) -> Search {
        let now = self.clock.now();
        let mut state = self.lock();
        if let Some(search) = state.roots.get(root).filter(|search| search.counts(now)) {
            return search.clone();
        }
        while state.tasks.try_join_next().is_some() {}
        let (sender, progress) = watch::channel(Progress::default());
        let search = Search { progress, seen: 0 };
        if state.roots.len() >= ROOTS_MAX {
            state.roots.retain(|_, search| search.counts(now));
        }
        if state.roots.len() < ROOTS_MAX {
            state.roots.insert(*root, search.clone());
        }
        let (providers, clock, turns) = (Arc::clone(&self.providers), Arc::clone(&self.clock), Arc::clone(&self.turns));
        let root = *root;
        state.tasks.spawn(async move {
            let _turn = turns.acquire_owned().await;
            tokio::select! {
                () = gather(&*providers, &root, &sender) => {}
                () = clock.sleep(SEARCH_MAX) => {}
            }
            sender.send_modify(|progress| progress.ended = Some(clock.now()));
        });
        search
    }

    /// Remembers providers that were found otherwise, beside those that are known.
    pub(crate) fn suggest(&self, root: &Cid, mut providers: Vec<Multiaddr>) {
        let now = self.clock.now();
        let mut state = self.lock();
        if let Some(known) = state.roots.get(root).filter(|search| search.counts(now)) {
            let more = known.progress.borrow().providers.clone();
            providers.extend(more.into_iter().filter(|known| !providers.contains(known)).collect::<Vec<_>>());
        }
        providers.truncate(PROVIDERS_MAX);
        let (_, progress) = watch::channel(Progress { providers, ended: Some(now) });
        if state.roots.len() >= ROOTS_MAX {
            state.roots.retain(|_, search| search.counts(now));
        }
        if state.roots.len() < ROOTS_MAX {
            state.roots.insert(*root, Search { progress, seen: 0 });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn gather(providers: &dyn Providers, root: &Cid, progress: &watch::Sender<Progress>) {
    let mut found = providers.find(root);
    while let Some(address) = found.next().await {
        if progress.borrow().providers.contains(&address) {
            continue;
        }
        progress.send_modify(|progress| progress.providers.push(address));
        if progress.borrow().providers.len() >= PROVIDERS_MAX {
            return;
        }
    }
}

/// What a search has found so far.
#[derive(Default)]
struct Progress {
    providers: Vec<Multiaddr>,
    ended: Option<Timestamp>,
}

/// A search, under way or over; each clone gives out all that is found.
#[derive(Clone)]
pub(crate) struct Search {
    progress: watch::Receiver<Progress>,
    seen: usize,
}

impl Search {
    /// What was found since it was last asked for; waits until there is something, and is `None` once there will be
    /// nothing more.
    pub(crate) async fn more(&mut self) -> Option<Vec<Multiaddr>> {
        let seen = self.seen;
        let progress = self.progress.wait_for(|now| now.providers.len() > seen || now.ended.is_some()).await.ok()?;
        let new: Vec<Multiaddr> = progress.providers.iter().skip(seen).cloned().collect();
        self.seen = progress.providers.len();
        (!new.is_empty()).then_some(new)
    }

    /// Whether it is under way, or not long over.
    fn counts(&self, now: Timestamp) -> bool {
        let progress = self.progress.borrow();
        let lifetime = if progress.providers.is_empty() { NOBODY_REMEMBERED } else { REMEMBERED };
        progress.ended.is_none_or(|ended| ended.after(lifetime) > now)
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::Block;
    use atoll_core::providers::ProviderStream;
    use tokio::sync::mpsc;

    use super::*;
    use crate::TokioClock;

    /// Finds what a test sends; each search anew.
    struct Sent(Mutex<Vec<mpsc::UnboundedReceiver<Multiaddr>>>);

    impl Providers for Sent {
        fn find(&self, _cid: &Cid) -> ProviderStream {
            let sent = self.0.lock().unwrap().pop().unwrap();
            Box::pin(futures_util::stream::unfold(sent, |mut sent| async { sent.recv().await.map(|one| (one, sent)) }))
        }
    }

    fn found() -> (Found, mpsc::UnboundedSender<Multiaddr>, Cid) {
        let (sender, sent) = mpsc::unbounded_channel();
        let cid = *Block::sha2_256(atoll_core::block::RAW, "calm water".into()).unwrap().cid();
        (Found::new(Arc::new(Sent(Mutex::new(vec![sent]))), Arc::new(TokioClock)), sender, cid)
    }

    fn address(port: usize) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}/http").parse().unwrap()
    }

    #[tokio::test]
    async fn who_joins_a_search_hears_of_all_and_of_those_who_come_later() {
        let (found, sender, cid) = found();
        assert!(found.known(&cid).is_none());
        let mut first = found.search(&cid);
        sender.send(address(1)).unwrap();
        assert_eq!(first.more().await, Some(vec![address(1)]));
        sender.send(address(1)).unwrap();
        sender.send(address(2)).unwrap();
        assert_eq!(first.more().await, Some(vec![address(2)]));
        // There is one search, however many join it.
        let mut second = found.search(&cid);
        assert_eq!(second.more().await, Some(vec![address(1), address(2)]));
        drop(sender);
        assert_eq!((first.more().await, second.more().await), (None, None));
        assert_eq!(found.known(&cid).unwrap().more().await, Some(vec![address(1), address(2)]));
    }

    #[tokio::test]
    async fn a_search_takes_so_many_and_ends() {
        let (found, sender, cid) = found();
        (0..=PROVIDERS_MAX).for_each(|port| sender.send(address(port)).unwrap());
        let (mut search, mut all) = (found.search(&cid), 0);
        while let Some(more) = search.more().await {
            all += more.len();
        }
        assert_eq!(all, PROVIDERS_MAX);
    }
}
