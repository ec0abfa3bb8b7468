//! Publishers' purges: taken and told on as other records are, and asked about: who obeys them?

use atoll_core::record::{PurgeAnswer, PurgeLog};
use atoll_core::transport::{Request, Response};
use atoll_core::{Obeyed, PeerId, PublicKey, RecordError, Signed, SiteId, TransportError};
use bytes::Bytes;
use rand::RngExt;

use super::{Router, Shared};
use crate::error::RouteError;
use crate::table::Opened;

impl Router {
    /// Takes a publisher's signed purges, keeps them and announces them; they survive power loss once this returns.
    ///
    /// # Errors
    /// [`RouteError`] says why they are refused or could not be kept. What is known already is no error.
    pub async fn announce_purges(&self, envelope: Bytes) -> Result<(SiteId, u64), RouteError> {
        let Opened::Purges(signed) = Opened::open(envelope)? else {
            return Err(RouteError::Record(RecordError::OtherKind));
        };
        let told = (signed.site(), signed.record().seq);
        self.shared.insert(Opened::Purges(signed))?;
        self.shared.save().await?;
        Ok(told)
    }

    /// The purges of every site that are known.
    pub fn purges(&self) -> Vec<Signed<PurgeLog>> {
        self.shared.lock().table.purges.values().map(|purged| purged.signed.clone()).collect()
    }

    /// Those of one site.
    pub fn purges_of(&self, site: &SiteId) -> Option<Signed<PurgeLog>> {
        self.shared.lock().table.purges.get(site).map(|purged| purged.signed.clone())
    }

    /// Asks a member how far it obeys the purges of a site.
    ///
    /// # Errors
    /// [`TransportError`]; `Malformed` too if it is not the member that has signed the answer.
    pub async fn ask_purged(&self, member: &PeerId, site: &SiteId) -> Result<Obeyed, TransportError> {
        self.shared.ask_purged(member, site).await
    }
}

impl Shared {
    async fn ask_purged(&self, member: &PeerId, site: &SiteId) -> Result<Obeyed, TransportError> {
        let (address, nonce) = {
            let state = &mut *self.lock();
            let address = state.table.members.get(member).and_then(|entry| entry.address().cloned());
            (address.ok_or(TransportError::NotFound)?, state.rng.random::<[u8; 32]>())
        };
        let answer = self.ask(&address, &Request::Purged { nonce, site: site.0 }).await?;
        let Response::Purged { answer } = answer else { return Err(TransportError::Malformed) };
        let signed = Signed::<PurgeAnswer>::open(Bytes::from(answer.into_vec()));
        let signed = signed.map_err(|_| TransportError::Malformed)?;
        let record = signed.record();
        let is_own = PublicKey::from_peer_id(member).as_ref() == Some(signed.signer());
        if !is_own || record.nonce != nonce || !record.is_of(site) {
            return Err(TransportError::Malformed);
        }
        Ok(Obeyed { seq: record.done, shows: record.shows })
    }
}
