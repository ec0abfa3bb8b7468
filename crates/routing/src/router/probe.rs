//! Who lives: each member is asked for a signed answer and a random block of what it says it holds.

use std::sync::Arc;
use std::time::Duration;

use atoll_core::links::links;
use atoll_core::record::{PROBE_ROOTS_MAX, ProbeAnswer};
use atoll_core::transport::{Request, Response};
use atoll_core::{Block, BlockError, Cid, Multiaddr, PeerId, PublicKey, Signed, TransportError};
use bytes::Bytes;
use rand::RngExt;
use rand::seq::{IndexedRandom, IteratorRandom, SliceRandom};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Shared, State};
use crate::fetch::lie;
use crate::health::Probed;
use crate::nearness::{MeasuredBy, RoundTrip};
use crate::table::Peer;
use crate::time::{jittered, millis, within};

/// The most steps down a DAG for one random block.
const DESCENT_MAX: usize = 16;
/// The most roots checked by a block in one probe.
const CHECKS_MAX: usize = 4;

/// Probes members for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut probing = JoinSet::new();
    loop {
        while probing.try_join_next().is_some() {}
        let room = shared.config.probes_at_once_max.saturating_sub(probing.len());
        for peer in shared.due(room) {
            let shared = Arc::clone(&shared);
            probing.spawn(async move { shared.probe(peer).await });
        }
        let pause = jittered(shared.config.probe_interval, &mut shared.lock().rng) / 4;
        tokio::select! {
            biased;
            // A member just heard of need not wait.
            () = shared.suspects.notified() => {}
            () = shared.clock.sleep(pause) => {}
        }
    }
}

/// Why a probe failed.
enum Miss {
    /// It lied about this block.
    Lie(Cid),
    /// Anything else.
    Cause(String),
}

impl From<TransportError> for Miss {
    fn from(error: TransportError) -> Self {
        Self::Cause(error.to_string())
    }
}

impl Shared {
    /// Up to `room` members that are to be probed now; they are marked as being probed.
    fn due(&self, room: usize) -> Vec<PeerId> {
        let now = self.clock.now();
        let state = &mut *self.lock();
        let is_due = |peer: &PeerId, entry: &Peer| {
            let health = &entry.health;
            let waited = health.probed.is_none_or(|probed| now.since(probed) >= self.config.probe_interval);
            *peer != self.me && !health.probing && waited && health.is_trusted(now) && entry.address().is_some()
        };
        let due = state.table.members.iter().filter(|(peer, entry)| is_due(peer, entry));
        let mut due: Vec<PeerId> = due.map(|(peer, _)| *peer).collect();
        // Who waited longest comes first.
        due.sort_by_key(|peer| state.table.members.get(peer).and_then(|entry| entry.health.probed));
        if state.table.members.len() > self.config.probe_all_max {
            let (mut first, rest): (Vec<_>, Vec<_>) = due.into_iter().partition(|peer| state.matter.contains(peer));
            first.extend(rest.into_iter().sample(&mut state.rng, self.config.probe_all_max));
            due = first;
        }
        due.truncate(room);
        for peer in &due {
            if let Some(entry) = state.table.members.get_mut(peer) {
                entry.health.probing = true;
                entry.health.probed = Some(now);
            }
        }
        due
    }

    /// Probes one member and notes what came of it.
    async fn probe(&self, peer: PeerId) {
        let Some((address, roots)) = self.lock().probe_about(&peer) else { return };
        // The signed answer, and then a few blocks.
        let limit = self.config.request_timeout.saturating_mul(2);
        let work = Box::pin(self.examine(&peer, &address, roots));
        let result = within(&*self.clock, limit, work).await;
        let result = result.unwrap_or_else(|| Err(TransportError::TimedOut(millis(limit)).into()));
        let now = self.clock.now();
        let state = &mut *self.lock();
        let Some(entry) = state.table.members.get_mut(&peer) else { return };
        let health = &mut entry.health;
        health.probing = false;
        let before = (health.live, health.holds.len());
        match result {
            Ok((probed, time)) => {
                // A probe's time is that of its answer, too, and of the connection if there was none.
                let probe = RoundTrip { time, by: MeasuredBy::Probe };
                let ping = self.transport.round_trip(&address);
                let ping = ping.map(|time| RoundTrip { time, by: MeasuredBy::Ping });
                health.answered(now, ping.unwrap_or(probe), &probed);
                if let Some(round_trip) = health.round_trip {
                    self.fetcher.near(&address, round_trip.time);
                }
            }
            Err(Miss::Cause(cause)) => {
                tracing::debug!(%peer, %address, cause, "a probe failed");
                health.missed(now, cause, self.config.probes_missed_max);
            }
            Err(Miss::Lie(cid)) => {
                tracing::warn!(%peer, %address, %cid, "a member lied");
                self.fetcher.drop_peer(&address, &lie(&cid));
                state.drop_member(&peer, &lie(&cid), now, &self.config);
            }
        }
        let after = state.table.members.get(&peer).map(|entry| (entry.health.live, entry.health.holds.len()));
        if after != Some(before) {
            self.changed();
        }
    }

    /// Asks; checks identity, nonce and a random block of some roots, of those not checked before first. Says also how long the
    /// answer took.
    async fn examine(&self, peer: &PeerId, address: &Multiaddr, asked: Vec<Cid>) -> Result<(Probed, Duration), Miss> {
        let nonce: [u8; 32] = self.lock().rng.random();
        // Finer than the router's clock, and as simulated as that.
        let begun = Instant::now();
        let response = self.ask(address, &Request::Probe { nonce, roots: asked.clone() }).await?;
        let time = begun.elapsed();
        let claims = check_answer(response, peer, nonce)?;
        let claims: Vec<Cid> = claims.into_iter().filter(|root| asked.contains(root)).collect();
        let mut checks = claims.clone();
        {
            let state = &mut *self.lock();
            checks.shuffle(&mut state.rng);
            if let Some(entry) = state.table.members.get(peer) {
                checks.sort_by_key(|root| entry.health.holds.get(root).copied());
                let unchecked = checks.iter().filter(|root| !entry.health.holds.contains_key(root)).count();
                checks.truncate(unchecked.clamp(1, CHECKS_MAX));
            }
        }
        for root in &checks {
            self.check_random_block(address, root).await?;
        }
        Ok((Probed { asked, claims, verified: checks }, time))
    }

    /// Goes down from `root` by random links; the block at the end comes from the member. Blocks on the way that are held
    /// here need not be sent.
    async fn check_random_block(&self, address: &Multiaddr, root: &Cid) -> Result<(), Miss> {
        let mut cid = *root;
        for step in 1..=DESCENT_MAX {
            let held = match Block::inline(&cid) {
                Some(block) => Some(block),
                None => self.held(&cid).await,
            };
            let (block, was_held) = match held {
                Some(block) => (block, true),
                None => (self.block_of(address, cid).await?, false),
            };
            let below = links(block.cid(), block.bytes()).map_err(|error| Miss::Cause(error.to_string()))?;
            let next = below.choose(&mut self.lock().rng).copied();
            match next {
                Some(next) if step < DESCENT_MAX => cid = next,
                _ if was_held && Block::inline(&cid).is_none() => return self.block_of(address, cid).await.map(drop),
                _ => break,
            }
        }
        Ok(())
    }

    /// A block from the local store, if it is there.
    async fn held(&self, cid: &Cid) -> Option<Block> {
        let bytes = self.storage.get(cid).await.ok().flatten()?;
        Block::verified(*cid, bytes).ok()
    }

    /// A block from the member itself.
    async fn block_of(&self, address: &Multiaddr, cid: Cid) -> Result<Block, Miss> {
        let limit = self.config.request_timeout;
        let answer = within(&*self.clock, limit, self.transport.block(address, &cid)).await;
        match answer.unwrap_or(Err(TransportError::TimedOut(millis(limit)))) {
            Err(TransportError::NotFound) => Err(Miss::Cause(format!("it says it holds block {cid}, and has it not"))),
            Err(TransportError::Block(BlockError::Mismatch(cid))) => Err(Miss::Lie(cid)),
            other => Ok(other?),
        }
    }
}

impl State {
    /// Where to reach a member, and which roots to ask it about: those it is known to hold, and a sample of the others.
    fn probe_about(&mut self, peer: &PeerId) -> Option<(Multiaddr, Vec<Cid>)> {
        let entry = self.table.members.get(peer)?;
        let address = entry.address()?.clone();
        let current = self.table.placements.values().flat_map(|placed| placed.roots.iter().take(2)).copied();
        let mut roots: Vec<Cid> = current.sample(&mut self.rng, PROBE_ROOTS_MAX);
        let known = entry.health.holds.keys().filter(|root| !roots.contains(root)).copied();
        let known: Vec<Cid> = known.sample(&mut self.rng, PROBE_ROOTS_MAX / 2);
        let kept = PROBE_ROOTS_MAX.saturating_sub(known.len());
        roots.truncate(kept);
        roots.extend(known);
        Some((address, roots))
    }
}

/// What a member says it holds, if the answer is its own and answers this question. The nonce says that it is fresh, whatever
/// the member's clock says.
fn check_answer(response: Response, peer: &PeerId, nonce: [u8; 32]) -> Result<Vec<Cid>, Miss> {
    let Response::Probe { answer } = response else { return Err(TransportError::Malformed.into()) };
    let signed = Signed::<ProbeAnswer>::open(Bytes::from(answer.into_vec())).map_err(|e| Miss::Cause(e.to_string()))?;
    if PublicKey::from_peer_id(peer).as_ref() != Some(signed.signer()) {
        return Err(Miss::Cause("somebody else answers at its address".to_owned()));
    }
    if signed.record().nonce != nonce {
        return Err(Miss::Cause("it answered another question".to_owned()));
    }
    Ok(signed.record().holds.clone())
}
