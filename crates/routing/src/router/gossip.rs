//! Records between members: asked for at an interval, announced when they are news, kept on disk, and the node's own renewed.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use atoll_core::transport::{Request, Response};
use atoll_core::{Multiaddr, PeerId, Record, Signed, Timestamp, TransportError};
use futures_util::stream::{self, StreamExt};
use rand::seq::IteratorRandom;
use serde_bytes::ByteBuf;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Shared;
use crate::error::RouteError;
use crate::table::{Opened, Peer};
use crate::time::{jittered, millis, within};

/// The most pages asked of one member in one round.
const PAGES_MAX: usize = 64;
/// The most announcements under way.
const ANNOUNCEMENTS_MAX: usize = 64;
/// A clock that gains or loses so much between two rounds was set.
const CLOCK_SET: Duration = Duration::from_secs(60);
/// The most addresses whose place is remembered.
const CURSORS_MAX: usize = 4096;

/// Asks members and seeds for news, for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut met = 0;
    let mut clock = (shared.clock.now(), Instant::now());
    loop {
        let (now, steady) = (shared.clock.now(), Instant::now());
        let expected = clock.0.after(steady.duration_since(clock.1));
        if now.since(expected).max(expected.since(now)) > CLOCK_SET {
            tracing::warn!("the clock was set: what was refused or planned by the old one is looked at anew");
            shared.lock().clock_was_set(now);
            shared.changed();
        }
        clock = (now, steady);
        if let Err(error) = shared.refresh_member(false) {
            tracing::error!(%error, "this node's own member record cannot be renewed");
        }
        let targets = shared.gossip_targets();
        let width = targets.len().max(1);
        stream::iter(targets)
            .map(|address| {
                let shared = Arc::clone(&shared);
                async move {
                    if let Err(error) = shared.pull_records(&address).await {
                        tracing::debug!(%address, %error, "no records");
                    }
                }
            })
            .buffer_unordered(width)
            .collect::<()>()
            .await;
        let pause = jittered(shared.config.gossip_interval, &mut shared.lock().rng);
        tokio::select! {
            biased;
            more = shared.gossip.met(met) => {
                met = more;
                // Others may come with it.
                shared.clock.sleep(shared.config.announce_delay).await;
            }
            () = shared.clock.sleep(pause) => {}
        }
    }
}

/// Tells members what is news, for ever. What was learned from one is news to others once, so nothing goes in circles.
pub(super) async fn announce(shared: Arc<Shared>) {
    let mut announced = 0;
    let mut sending = JoinSet::new();
    loop {
        shared.news.notified().await;
        shared.clock.sleep(shared.config.announce_delay).await;
        let (next, records, more) = shared.lock().table.since(announced);
        announced = next;
        if more {
            shared.news.notify_one();
        }
        if records.is_empty() {
            continue;
        }
        let records = records.into_iter().map(|bytes| ByteBuf::from(bytes.to_vec())).collect();
        let request = Arc::new(Request::Announce { records });
        for address in shared.publish(&request).await {
            while sending.len() >= ANNOUNCEMENTS_MAX {
                sending.join_next().await;
            }
            let (shared, request) = (Arc::clone(&shared), Arc::clone(&request));
            sending.spawn(async move {
                if let Err(error) = shared.ask(&address, &request).await {
                    tracing::debug!(%address, %error, "not announced");
                }
            });
        }
        while sending.try_join_next().is_some() {}
    }
}

/// Saves the records some time after they changed, for ever.
pub(super) async fn persist(shared: Arc<Shared>) {
    let mut version = shared.version.subscribe();
    let mut saved = 0;
    while version.changed().await.is_ok() {
        shared.clock.sleep(shared.config.persist_delay).await;
        if shared.lock().table.last_change() == saved {
            continue;
        }
        match shared.save().await {
            Ok(change) => saved = change,
            Err(error) => tracing::error!(%error, "known records are not on disk"),
        }
    }
}

impl Shared {
    /// One question, within its time.
    pub(super) async fn ask(&self, to: &Multiaddr, request: &Request) -> Result<Response, TransportError> {
        let limit = self.config.request_timeout;
        let answer = within(&*self.clock, limit, self.transport.request(to, request)).await;
        answer.unwrap_or(Err(TransportError::TimedOut(millis(limit))))
    }

    /// Tells all who hear gossip; whom else to tell.
    pub(super) async fn publish(&self, news: &Request) -> Vec<Multiaddr> {
        if self.gossip.publish(news).await { self.targets(|peer| !peer.hears_gossip()) } else { self.gossip_targets() }
    }

    /// Some live members; the seeds, and peers that are connected anyhow, as long as few members are known.
    pub(super) fn gossip_targets(&self) -> Vec<Multiaddr> {
        let mut targets = self.targets(|_| true);
        let neighbours = self.gossip.neighbours();
        let fan_out = self.config.gossip_fan_out;
        if targets.len() < fan_out && !neighbours.is_empty() {
            let room = fan_out.saturating_sub(targets.len());
            targets.extend(neighbours.into_iter().sample(&mut self.lock().rng, room));
        }
        targets
    }

    /// Some live members that are `wanted`, and the seeds as long as those are few.
    fn targets(&self, wanted: impl Fn(&Peer) -> bool) -> Vec<Multiaddr> {
        let state = &mut *self.lock();
        let fan_out = self.config.gossip_fan_out;
        let is_wanted = |peer: &PeerId, entry: &Peer| *peer != self.me && entry.health.live && wanted(entry);
        let live = state.table.members.iter().filter(|(peer, entry)| is_wanted(peer, entry));
        let mut targets = live.filter_map(|(_, entry)| entry.address().cloned()).sample(&mut state.rng, fan_out);
        for seed in &self.seeds {
            if targets.len() < fan_out && !targets.contains(seed) && !state.addresses.contains(seed) {
                targets.push(seed.clone());
            }
        }
        targets
    }

    /// Asks one member for all that changed since it was asked last.
    async fn pull_records(&self, address: &Multiaddr) -> Result<(), RouteError> {
        let broken = |error: TransportError| RouteError::Log(error.to_string());
        for _ in 0..PAGES_MAX {
            let (epoch, since) = self.lock().cursors.get(address).copied().unwrap_or_default();
            let answer = self.ask(address, &Request::Records { epoch, since }).await.map_err(broken)?;
            let Response::Records { epoch, next, records, more } = answer else { return Err(RouteError::Message) };
            self.accept_all(records).await?;
            let mut state = self.lock();
            if state.cursors.len() >= CURSORS_MAX {
                state.cursors.clear();
            }
            state.cursors.insert(address.clone(), (epoch, next));
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Signs this node's member record anew when it is half over or lasts too long, when what it says has changed, or when `always`.
    pub(super) fn refresh_member(&self, always: bool) -> Result<(), RouteError> {
        let _turn = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let addresses = self.lock().addresses.clone();
        if addresses.is_empty() {
            return Ok(());
        }
        let mut member = (self.member)(&addresses);
        let known = self.lock().table.members.get(&self.me).map(|entry| entry.signed.clone());
        if let Some(known) = &known {
            let old = known.record();
            member.seq = old.seq;
            member.exp = old.exp;
            // Free bytes change with every block; only a change that matters is told.
            let drift = old.free.abs_diff(member.free);
            if drift <= old.free / 8 {
                member.free = old.free;
            }
            let lifetime = self.config.member_lifetime;
            let (least, most) = (now.after(lifetime / 2), now.after(lifetime));
            // One that lasts longer than it should is of a time when the clock was ahead, and others may refuse it.
            let exp = Timestamp::from_secs(old.exp);
            if !always && member == *old && least < exp && exp <= most {
                return Ok(());
            }
        }
        let newer = known.map_or(0, |known| known.record().seq().saturating_add(1));
        member.seq = now.as_millis().max(newer);
        member.exp = now.after(self.config.member_lifetime).as_secs().min(member.operator.exp);
        let signed = Signed::seal(member, &self.identity)?;
        self.lock().table.insert(Opened::Member(Box::new(signed), self.me), now, &self.config)?;
        self.lock().note_own_pins(&self.me, now);
        self.news.notify_one();
        self.changed();
        Ok(())
    }
}
