//! Queries of Kademlia, followed to their end: who provides a key, and IPNS records.

use std::collections::{HashMap, HashSet};

use atoll_core::ipns::Name;
use bytes::Bytes;
use libp2p::kad::{self, GetProvidersOk, GetRecordOk, QueryId, QueryResult, Quorum, Record, RecordKey};
use libp2p::{PeerId, Swarm};
use tokio::sync::{mpsc, oneshot};

use crate::behaviour::Behaviour;
use crate::names;

/// The most queries of ours under way; more are refused.
const QUERIES_MAX: usize = 1024;

/// A query under way.
enum Query {
    Find { seen: HashSet<PeerId>, found: mpsc::Sender<PeerId> },
    GetName { found: mpsc::Sender<Bytes> },
    PutName { done: oneshot::Sender<bool> },
}

/// All of them.
#[derive(Default)]
pub(super) struct Queries(HashMap<QueryId, Query>);

impl Queries {
    fn has_room(&self) -> bool {
        self.0.len() < QUERIES_MAX
    }

    pub(super) fn find(&mut self, swarm: &mut Swarm<Behaviour>, key: &[u8], found: &mpsc::Sender<PeerId>) {
        if !self.has_room() {
            return;
        }
        let key = RecordKey::from(key.to_vec());
        for kad in swarm.behaviour_mut().tables() {
            let query = Query::Find { seen: HashSet::new(), found: found.clone() };
            self.0.insert(kad.get_providers(key.clone()), query);
        }
    }

    pub(super) fn get_name(&mut self, swarm: &mut Swarm<Behaviour>, name: &Name, found: &mpsc::Sender<Bytes>) {
        if !self.has_room() {
            return;
        }
        for kad in swarm.behaviour_mut().tables() {
            self.0.insert(kad.get_record(names::key_of(name)), Query::GetName { found: found.clone() });
        }
    }

    /// Whether the public network keeps it is what counts where there is one.
    pub(super) fn put_name(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        name: &Name,
        value: &Bytes,
        done: oneshot::Sender<bool>,
    ) {
        if !self.has_room() {
            return;
        }
        let record = || Record::new(names::key_of(name), value.to_vec());
        let started: Vec<_> = swarm
            .behaviour_mut()
            .tables()
            .filter_map(|kad| {
                let started = kad.put_record(record(), Quorum::One);
                started.inspect_err(|error| tracing::debug!(%name, %error, "a name is not put")).ok()
            })
            .collect();
        if let Some(id) = started.last() {
            self.0.insert(*id, Query::PutName { done });
        }
    }

    /// Takes what a query found; the providers that are new.
    pub(super) fn progress(
        &mut self,
        id: QueryId,
        result: QueryResult,
        step: &kad::ProgressStep,
    ) -> Option<(Vec<PeerId>, mpsc::Sender<PeerId>)> {
        let mut news = None;
        match (result, self.0.get_mut(&id)) {
            (
                QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })),
                Some(Query::Find { seen, found }),
            ) => {
                let new = providers.into_iter().filter(|peer| seen.insert(*peer)).collect();
                news = Some((new, found.clone()));
            }
            (QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found_record))), Some(Query::GetName { found })) => {
                // Nobody waits for more than it can hold.
                let _ = found.try_send(Bytes::from(found_record.record.value));
            }
            (QueryResult::PutRecord(result), _) => {
                if let Some(Query::PutName { done }) = self.0.remove(&id) {
                    // Whoever asked may have gone.
                    let _ = done.send(result.is_ok());
                }
            }
            _ => {}
        }
        if step.last {
            self.0.remove(&id);
        }
        news
    }
}
