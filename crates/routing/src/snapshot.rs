//! What a router knows, for the status page and the command line. A copy, so nobody waits for whoever reads it.

use std::sync::atomic::Ordering;

use atoll_core::ipns::Name;
use atoll_core::{PeerId, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::nearness::MeasuredBy;
use crate::plan::Standing;
use crate::router::{PullState, Shared, State};
use crate::table::{Peer, Placed};
use crate::time::micros;

/// Everything at one moment. Ids, roots and addresses are in their text forms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// This node's peer id.
    pub me: String,
    /// When it was taken, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// All known members, this node included.
    pub members: Vec<MemberView>,
    /// All live placements.
    pub placements: Vec<PlacementView>,
    /// Records that were refused since the start.
    pub records_refused: u64,
    /// Sites that were pulled since the start.
    pub pulls: u64,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberView {
    /// Peer id.
    pub peer: String,
    /// Operator's key.
    pub operator: String,
    /// Operator's label, which anybody may claim.
    pub operator_label: String,
    /// Gateway addresses.
    pub addresses: Vec<String>,
    /// Whether it answered lately, rightly.
    pub live: bool,
    /// Since when it is live or not, in milliseconds since the Unix epoch.
    pub changed_ms: u64,
    /// Its last good answer, in milliseconds since the Unix epoch.
    pub seen_ms: Option<u64>,
    /// The round trip to it, smoothed, in microseconds.
    pub rtt_us: Option<u64>,
    /// How that was measured.
    #[serde(default)]
    pub rtt_by: Option<MeasuredBy>,
    /// Failed probes in a row.
    pub missed: u32,
    /// Bytes that it offers.
    pub free: u64,
    /// Roots of which it served a random block.
    pub holds: Vec<String>,
    /// Why nothing that it says counts now.
    pub dropped: Option<String>,
    /// What its last failed probe died of.
    pub trouble: Option<String>,
}

/// A placement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacementView {
    /// Site id.
    pub site: String,
    /// Its name (IPNS), in base36.
    #[serde(default)]
    pub name: String,
    /// Present root.
    pub root: String,
    /// The bundle that the publisher names, for signing answers.
    #[serde(default)]
    pub bundle: Option<String>,
    /// Copies wanted.
    pub target: u64,
    /// Sequence.
    pub seq: u64,
    /// Expiry, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// Peer ids of the live members that were seen to hold the present root, this node included.
    pub holders: Vec<String>,
    /// How many those are.
    pub copies: u64,
    /// How many operators run them.
    pub operators: u64,
    /// Whether that is fewer than wanted.
    pub below_target: bool,
    /// Peer ids of the members that should hold it, best first.
    pub ranked: Vec<String>,
    /// What this node does about it.
    pub role: Role,
}

/// What a node does about a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum Role {
    /// Not its business.
    None,
    /// It should hold it, and waits for the rank to be stable.
    Waiting,
    /// It is fetching it.
    Pulling {
        /// Blocks known of so far.
        blocks: u64,
        /// Bytes that arrived.
        bytes: u64,
    },
    /// It could not be pulled, and will be tried again.
    Failed {
        /// Why.
        cause: String,
        /// When, in milliseconds since the Unix epoch.
        retry_ms: u64,
    },
    /// It holds it.
    Holds,
    /// It holds it, but need not any more.
    Leaving {
        /// Since when, in milliseconds since the Unix epoch.
        since_ms: u64,
    },
}

impl Snapshot {
    pub(crate) fn of(shared: &Shared) -> Self {
        let now = shared.clock.now();
        let state = shared.lock();
        let members = state.table.members.iter().map(|(peer, entry)| MemberView::of(peer, entry, now)).collect();
        let live = state.table.placements.iter().filter(|(_, placed)| placed.signed.is_live(now));
        let placements = live.map(|(site, placed)| PlacementView::of(&state, site, placed, &shared.me)).collect();
        Self {
            me: shared.me.to_string(),
            at_ms: now.as_millis(),
            members,
            placements,
            records_refused: state.refused,
            pulls: state.pulled,
        }
    }
}

impl MemberView {
    fn of(peer: &PeerId, entry: &Peer, now: Timestamp) -> Self {
        let (member, health) = (entry.signed.record(), &entry.health);
        Self {
            peer: peer.to_string(),
            operator: member.operator.key.to_string(),
            operator_label: member.operator.label.clone(),
            addresses: member.addresses().map(|address| address.to_string()).collect(),
            live: health.live,
            changed_ms: health.changed.as_millis(),
            seen_ms: health.seen.map(Timestamp::as_millis),
            rtt_us: health.round_trip.map(|round_trip| micros(round_trip.time)),
            rtt_by: health.round_trip.map(|round_trip| round_trip.by),
            missed: health.missed,
            free: member.free,
            holds: health.holds.keys().map(ToString::to_string).collect(),
            dropped: health.dropped.as_ref().filter(|_| !health.is_trusted(now)).map(|dropped| dropped.reason.clone()),
            trouble: health.trouble.clone(),
        }
    }
}

impl PlacementView {
    fn of(state: &State, site: &SiteId, placed: &Placed, me: &PeerId) -> Self {
        let placement = placed.signed.record();
        let standing = Standing::of(&state.table, site, placed);
        let holding = || {
            let live = state.table.members.iter().filter(|(_, entry)| entry.health.live);
            live.filter(|(_, entry)| entry.health.holds.contains_key(&placement.root))
        };
        let holders: Vec<String> = holding().map(|(peer, _)| peer.to_string()).collect();
        let operators: std::collections::BTreeSet<_> =
            holding().map(|(_, entry)| entry.signed.record().operator.key).collect();
        let copies = holders.len() as u64;
        Self {
            site: site.to_string(),
            name: Name::of(placed.signed.signer()).map(|name| name.to_string()).unwrap_or_default(),
            root: placement.root.to_string(),
            bundle: placement.bundle().map(|bundle| bundle.to_string()),
            target: placement.n,
            seq: placement.seq,
            expires_ms: Timestamp::from_secs(placement.exp).as_millis(),
            holders,
            copies,
            operators: operators.len() as u64,
            below_target: copies < placement.n,
            ranked: standing.holders().iter().map(ToString::to_string).collect(),
            role: Role::of(state, site, placed, &standing, me),
        }
    }
}

impl Role {
    fn of(state: &State, site: &SiteId, placed: &Placed, standing: &Standing, me: &PeerId) -> Self {
        let doing = state.sites.get(site);
        match doing.map(|doing| &doing.pull) {
            Some(PullState::Running { progress, .. }) => {
                let blocks = progress.blocks.load(Ordering::Relaxed);
                return Self::Pulling { blocks, bytes: progress.bytes.load(Ordering::Relaxed) };
            }
            Some(PullState::Failed { cause, retry_at, .. }) => {
                return Self::Failed { cause: cause.clone(), retry_ms: retry_at.as_millis() };
            }
            _ => {}
        }
        if let Some(since) = doing.and_then(|doing| doing.out_since) {
            return Self::Leaving { since_ms: since.as_millis() };
        }
        let holds = state.pins.contains_key(&placed.signed.record().root);
        match (holds, standing.is_holder(me)) {
            (true, _) => Self::Holds,
            (false, true) => Self::Waiting,
            (false, false) => Self::None,
        }
    }
}
