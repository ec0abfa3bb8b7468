//! Publishers' signed purges: what is known of them, and telling all members of more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use atoll_core::{Obeyed, PeerId, Purges as _, SiteId};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use hyper::body::Incoming;
use tokio::time::sleep;

use super::routes::{Routed, read};
use super::{Reporter, events};
use crate::api::{KnownPurges, PurgeState, PurgedNode, PurgedNodes};
use crate::node::Inner;

/// How often a node that has not obeyed yet is asked again.
const AGAIN: Duration = Duration::from_millis(200);
/// The longest that nodes are waited for, and how long if the asker does not say, in seconds.
const SECONDS_MAX: u64 = 300;
const SECONDS: u64 = 10;
/// The most members that are asked.
const MEMBERS_MAX: usize = 4096;

/// The purges of a site, as they were signed.
pub(super) fn known(node: &Inner, site: &str) -> Routed {
    let site: SiteId = site.parse().map_err(|_| events::error(StatusCode::BAD_REQUEST, "that is no site id"))?;
    let envelope = node.router.purges_of(&site).map(|log| data_encoding::HEXLOWER.encode(log.bytes()));
    Ok(events::json(&KnownPurges { envelope }))
}

/// Takes signed purges, tells all members of them, and asks each until it obeys or time is up.
pub(super) async fn announce(node: Arc<Inner>, query: Option<&str>, body: Incoming) -> Routed {
    let seconds = query.and_then(|query| query.strip_prefix("seconds=")).map_or(Ok(SECONDS), str::parse);
    let seconds = seconds.map_err(|_| events::error(StatusCode::BAD_REQUEST, "seconds is a number"))?;
    let envelope = read(body).await?;
    let told = node.router.announce_purges(envelope).await;
    let (site, seq) = told.map_err(|error| events::error(StatusCode::BAD_REQUEST, error))?;
    let limit = Duration::from_secs(seconds.min(SECONDS_MAX));
    Ok(events::run(|reporter| async move { Ok(wait(&node, &site, seq, limit, reporter).await) }))
}

async fn wait(node: &Inner, site: &SiteId, seq: u64, limit: Duration, reporter: Reporter) -> PurgedNodes {
    let begun = Instant::now();
    let network = node.router.snapshot();
    let asking = network.members.into_iter().take(MEMBERS_MAX).map(|member| async move {
        let is_me = member.peer == node.peer_id();
        let (obeyed, state) = if member.live || is_me {
            member_obeys(node, &member.peer, (site, seq), limit).await
        } else {
            (None, PurgeState::Away)
        };
        PurgedNode {
            peer: member.peer,
            operator_label: member.operator_label,
            state,
            shows: obeyed.is_some_and(|obeyed| obeyed.shows),
            seconds: begun.elapsed().as_secs_f64(),
        }
    });
    let mut asking: FuturesUnordered<_> = asking.collect();
    let mut nodes = Vec::new();
    while let Some(one) = asking.next().await {
        reporter.progress(&one);
        nodes.push(one);
    }
    nodes.sort_by(|a, b| a.peer.cmp(&b.peer));
    PurgedNodes { site: site.to_string(), seq, nodes }
}

/// Asks one member until it obeys or time is up.
async fn member_obeys(
    node: &Inner,
    peer: &str,
    (site, seq): (&SiteId, u64),
    limit: Duration,
) -> (Option<Obeyed>, PurgeState) {
    let until = Instant::now() + limit;
    let mut last = None;
    let id = peer.parse::<PeerId>().ok();
    loop {
        let answer = match &id {
            _ if peer == node.peer_id() => Some(node.obedience.obeyed(site)),
            Some(id) => node.router.ask_purged(id, site).await.ok(),
            None => None,
        };
        last = answer.or(last);
        match answer {
            Some(obeyed) if obeyed.seq >= seq => return (Some(obeyed), PurgeState::Purged),
            _ if Instant::now() >= until => return (last, PurgeState::Silent),
            _ => sleep(AGAIN).await,
        }
    }
}
