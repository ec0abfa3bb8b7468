//! Answers what members ask. Keeps nothing of its own.

use std::sync::Arc;
use std::time::Duration;

use atoll_core::record::{PROBE_ROOTS_MAX, ProbeAnswer, PurgeAnswer};
use atoll_core::transport::{RECORDS_MAX, Request, Response};
use atoll_core::{Answer, BoxFuture, Cid, Signed, SiteId, TransportError};
use bytes::Bytes;
use serde_bytes::ByteBuf;

use super::Shared;
use crate::error::RouteError;

/// The most bad records in one message; the rest of it is not read.
pub(super) const REFUSED_MAX: usize = 8;
/// How old the list of own pins may be.
const PINS_AGE_MAX: Duration = Duration::from_secs(1);
/// How long an answer to a probe counts.
const PROBE_LIFETIME: Duration = Duration::from_secs(60);

pub(super) struct Answerer(pub(super) Arc<Shared>);

impl Answer for Answerer {
    fn answer(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            match request {
                Request::Records { epoch, since } => Ok(self.0.records(epoch, since)),
                Request::Announce { records } => {
                    let accepted = self.0.accept_all(records).await.map_err(|error| match error {
                        error if error.is_senders_fault() => TransportError::Malformed,
                        _ => TransportError::Refused,
                    })?;
                    Ok(Response::Announced { accepted })
                }
                Request::Probe { nonce, roots } => self.0.probed(nonce, roots).await,
                Request::Purged { nonce, site } => self.0.purged(nonce, &SiteId(site)),
                Request::Name { name } => self.0.name_asked(&name),
                Request::Names { records } => {
                    self.0.names_told(records).await.map(|accepted| Response::Named { accepted })
                }
            }
        })
    }
}

impl Shared {
    /// What changed since the asker's place; from the beginning when it knows another order.
    fn records(&self, epoch: u64, since: u64) -> Response {
        let state = self.lock();
        let since = if epoch == state.table.epoch() { since } else { 0 };
        let (next, records, more) = state.table.since(since);
        let records = records.into_iter().map(|bytes| ByteBuf::from(bytes.to_vec())).collect();
        Response::Records { epoch: state.table.epoch(), next, records, more }
    }

    /// Takes what is news among `records`; how many were. An error if many are refused, and the first one's if each is its
    /// sender's fault.
    pub(super) async fn accept_all(&self, records: Vec<ByteBuf>) -> Result<u64, RouteError> {
        if records.len() > RECORDS_MAX {
            return Err(RouteError::Message);
        }
        let all = records.len();
        let (mut accepted, mut refused, mut wrong) = (0u64, 0usize, 0usize);
        for record in records {
            match self.accept(Bytes::from(record.into_vec())) {
                Ok(news) => accepted = accepted.saturating_add(u64::from(news)),
                // The asker may simply not have heard of the newer one yet.
                Err(RouteError::Older(_) | RouteError::Expired) => {}
                Err(error) => {
                    tracing::debug!(%error, "a record was refused");
                    refused = refused.saturating_add(1);
                    wrong = wrong.saturating_add(usize::from(error.is_senders_fault()));
                    if wrong == all {
                        return Err(error);
                    }
                    if refused > REFUSED_MAX {
                        return Err(RouteError::Message);
                    }
                }
            }
            // Signatures take their time; other tasks go on meanwhile.
            tokio::task::yield_now().await;
        }
        Ok(accepted)
    }

    /// Signs how far the purges of a site are obeyed here.
    fn purged(&self, nonce: [u8; 32], site: &SiteId) -> Result<Response, TransportError> {
        let (obeyed, exp) = (self.purges.obeyed(site), self.clock.now().after(PROBE_LIFETIME).as_secs());
        let answer = PurgeAnswer::new(nonce, exp, site, (obeyed.seq, obeyed.shows));
        let signed = Signed::seal(answer, &self.identity).map_err(|_| TransportError::Malformed)?;
        Ok(Response::Purged { answer: ByteBuf::from(signed.bytes().to_vec()) })
    }

    /// Signs which of `roots` are pinned here.
    async fn probed(&self, nonce: [u8; 32], roots: Vec<Cid>) -> Result<Response, TransportError> {
        if roots.len() > PROBE_ROOTS_MAX {
            return Err(TransportError::Malformed);
        }
        let now = self.clock.now();
        let pins_at = self.lock().pins_at;
        if now.since(pins_at) >= PINS_AGE_MAX {
            self.refresh_pins().await.map_err(|_| TransportError::Refused)?;
        }
        let holds = {
            let state = self.lock();
            roots.into_iter().filter(|root| state.pins.contains_key(root)).collect()
        };
        let answer = ProbeAnswer::new(nonce, now.after(PROBE_LIFETIME).as_secs(), holds);
        let signed = Signed::seal(answer, &self.identity).map_err(|_| TransportError::Malformed)?;
        Ok(Response::Probe { answer: ByteBuf::from(signed.bytes().to_vec()) })
    }
}
