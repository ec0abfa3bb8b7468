//! Where records of names are asked for and told: members, and the DHT where there is a swarm. In memory: a record that was
//! not put yet when the node ends is put again by whoever stands for it.

use std::sync::Arc;
use std::time::Duration;

use atoll_core::BoxFuture;
use atoll_core::ipns::{Name, Record};
use atoll_core::names::{Asked, NameExchange};
use atoll_swarm::Swarm;
use futures_util::future::{Either, select};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The most records that wait to be put into the DHT; what is left out is put again at the next interval.
const WAITING_MAX: usize = 1024;
/// Records that are put at the same time.
const AT_ONCE: usize = 16;
/// How often a record is tried, each time after twice the pause.
const TRIES: u32 = 6;
/// The pause after the first failure.
const PAUSE: Duration = Duration::from_secs(5);
/// How long the slower source is waited for once the other one has a record: its own may be newer.
const SETTLE: Duration = Duration::from_millis(500);

/// Members and the DHT.
pub(crate) struct Everywhere {
    members: Arc<dyn NameExchange>,
    swarm: Swarm,
    puts: mpsc::Sender<Record>,
    _task: JoinSet<()>,
}

impl Everywhere {
    pub(crate) fn spawn(members: Arc<dyn NameExchange>, swarm: Swarm) -> Self {
        let (puts, waiting) = mpsc::channel(WAITING_MAX);
        let mut task = JoinSet::new();
        task.spawn(put_all(swarm.clone(), waiting));
        Self { members, swarm, puts, _task: task }
    }

    async fn ask_both(&self, name: &Name) -> Asked {
        let (members, dht) = (self.members.ask(name), Box::pin(self.swarm.get_name(name)));
        let (mut asked, slower) = match select(members, dht).await {
            Either::Left((asked, slower)) => (asked, Either::Left(slower)),
            Either::Right((asked, slower)) => (asked, Either::Right(slower)),
        };
        let rest = async {
            match slower {
                Either::Left(slower) => slower.await,
                Either::Right(slower) => slower.await,
            }
        };
        let rest = if asked.records.is_empty() { Some(rest.await) } else { timeout(SETTLE, rest).await.ok() };
        if let Some(mut rest) = rest {
            asked.records.append(&mut rest.records);
            asked.asked = asked.asked.saturating_add(rest.asked);
            asked.answered = asked.answered.saturating_add(rest.answered);
        }
        asked
    }
}

impl NameExchange for Everywhere {
    fn ask<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Asked> {
        Box::pin(self.ask_both(name))
    }

    fn tell(&self, record: &Record) {
        self.members.tell(record);
        if self.puts.try_send(record.clone()).is_err() {
            tracing::debug!(name = %record.name(), "too many records wait to be put");
        }
    }
}

async fn put_all(swarm: Swarm, mut waiting: mpsc::Receiver<Record>) {
    let mut putting = JoinSet::new();
    while let Some(record) = waiting.recv().await {
        while putting.len() >= AT_ONCE {
            putting.join_next().await;
        }
        let swarm = swarm.clone();
        putting.spawn(async move {
            for attempt in 0..TRIES {
                if swarm.put_name(&record).await {
                    tracing::debug!(name = %record.name(), "put into the DHT");
                    return;
                }
                sleep(PAUSE.saturating_mul(1 << attempt)).await;
            }
            tracing::warn!(name = %record.name(), "nobody took the record into the DHT");
        });
        while putting.try_join_next().is_some() {}
    }
}
