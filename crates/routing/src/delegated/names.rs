//! IPNS records from routers, beside those from members.

use std::sync::Arc;
use std::time::Duration;

use atoll_core::BoxFuture;
use atoll_core::delegated::IPNS_RECORD;
use atoll_core::ipns::{Name, RECORD_BYTES_MAX, Record};
use atoll_core::names::{Asked, NameExchange};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::HeaderValue;
use tokio::time::Instant;

use super::{Inner, Router, RouterError, Routers, media_type};

/// How long the others may take once one has answered with a record: theirs may be newer.
const SETTLE: Duration = Duration::from_millis(300);

/// Members, and routers beside them.
pub struct WithRouters {
    members: Arc<dyn NameExchange>,
    routers: Routers,
}

impl WithRouters {
    /// Asks `members` and `routers` at once; only members are told of news.
    pub fn new(members: Arc<dyn NameExchange>, routers: Routers) -> Self {
        Self { members, routers }
    }

    async fn ask(&self, name: &Name) -> Asked {
        let inner = &self.routers.0;
        let clock = &inner.parts.clock;
        let awake = inner.awake();
        let one = |answered: bool, records| Asked { records, asked: 1, answered: usize::from(answered) };
        let mut answers: FuturesUnordered<BoxFuture<'_, Asked>> = FuturesUnordered::new();
        answers.push(self.members.ask(name));
        for router in &awake {
            answers.push(Box::pin(async move {
                let outcome = inner.record(router, name).await;
                let asked = match &outcome {
                    Ok(record) => one(true, record.iter().cloned().collect()),
                    Err(_) => one(false, Vec::new()),
                };
                inner.note(router, outcome.map(drop));
                asked
            }));
        }
        let mut all = Asked::default();
        let mut settled = clock.sleep(inner.config.timeout);
        loop {
            let answer = tokio::select! {
                biased;
                answer = answers.next() => answer,
                () = &mut settled => None,
            };
            let Some(answer) = answer else { return all };
            if all.records.is_empty() && !answer.records.is_empty() {
                settled = clock.sleep(SETTLE);
            }
            all.records.extend(answer.records);
            all.asked = all.asked.saturating_add(answer.asked);
            all.answered = all.answered.saturating_add(answer.answered);
        }
    }
}

impl NameExchange for WithRouters {
    fn ask<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Asked> {
        Box::pin(self.ask(name))
    }

    fn tell(&self, record: &Record) {
        self.members.tell(record);
    }
}

impl Inner {
    /// A router's record of a name, unverified.
    async fn record(&self, router: &Router, name: &Name) -> Result<Option<Bytes>, RouterError> {
        let until = Instant::now() + self.config.timeout;
        let accept = HeaderValue::from_static(IPNS_RECORD);
        let Some(response) = self.get(router, &format!("ipns/{name}"), accept, until).await? else { return Ok(None) };
        // Any other type says that there is none (IPIP-513).
        if !media_type(&response).to_ascii_lowercase().starts_with(IPNS_RECORD) {
            return Ok(None);
        }
        let mut reader = self.parts.http.reader(response.into_body(), until);
        let mut record = BytesMut::new();
        while let Some(data) = reader.next().await? {
            if record.len().saturating_add(data.len()) > RECORD_BYTES_MAX {
                return Err(RouterError::TooLarge);
            }
            record.extend_from_slice(&data);
        }
        Ok(Some(record.freeze()))
    }
}
