//! Sites whose content comes from servers elsewhere: how they are, and drills.

use serde::{Deserialize, Serialize};

/// A site whose content comes from servers elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStatus {
    /// The first of its hosts.
    pub host: String,
    /// What was published of it; `null` if nothing was.
    #[serde(default)]
    pub content: Option<ContentStatus>,
    /// Its servers.
    pub origins: Vec<OriginStatus>,
}

/// How what was published of a site is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentStatus {
    /// Whether answers come from it now; else they come from the servers.
    pub leads: bool,
    /// Whether it is asked when it is its turn.
    pub ready: bool,
    /// What a drill makes of it now.
    pub fault: Option<FaultKind>,
}

/// What a site that is held here says of its servers (`atoll.toml`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedView {
    /// Its id.
    pub site: String,
    /// Its name (IPNS), in base36.
    pub name: String,
    /// The version that was read.
    pub root: String,
    /// How many servers are asked for it.
    pub servers: usize,
    /// Why what that version says is refused; what an earlier one said stands then.
    pub refused: Option<String>,
}

/// One of its servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginStatus {
    /// What it is called.
    pub name: String,
    /// Whether it is asked before those that are not.
    pub ready: bool,
    /// What a drill makes of it now.
    pub fault: Option<FaultKind>,
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests that were sent to it since the start.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Those that were sent to it after another origin had failed.
    pub retries: u64,
    /// Those that were sent to it because another's answer was late.
    pub hedges: u64,
    /// How often it was left out.
    pub ejections: u64,
}

/// What drills call what was published of a site.
pub const CONTENT_SOURCE: &str = atoll_edge::front::CONTENT;

/// How a drill has a source fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// Nobody is there.
    Dead,
    /// It takes requests and never answers.
    Hangs,
}

/// `POST /v1/faults`: a source of a site is to fail, or no longer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    /// A host of its site.
    pub site: String,
    /// What it is called; [`CONTENT_SOURCE`] for what was published.
    pub origin: String,
    /// How it is to fail; none: it is to be as it is.
    pub fault: Option<FaultKind>,
    /// For how long, so that it does not fail for ever if nobody takes that back; at most 600.
    #[serde(default)]
    pub seconds: u64,
}

/// What a drill has found; `POST /v1/drills` has the node remember it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// The site.
    pub site: String,
    /// When it ended, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Requests in all.
    pub requests: u64,
    /// Those of them that were answered with 500 or more, or not at all.
    pub failed: u64,
    /// What was done, in this order.
    pub steps: Vec<DrillStep>,
}

/// One thing that a drill did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillStep {
    /// What: `calm`, or `NAME dead`.
    pub name: String,
    /// Requests that began meanwhile.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Seconds from its beginning to the first answer to a request that began after it; none, if there was no answer.
    pub switch_seconds: Option<f64>,
    /// Seconds that the slowest answer took.
    pub slowest_seconds: f64,
    /// Seconds until the server was asked again, once it was back.
    pub back_seconds: Option<f64>,
}

/// `GET /v1/purges/SITE`: the signed purges of a site that the node knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KnownPurges {
    /// The signed envelope in hexadecimal digits; none, if there were no purges.
    pub envelope: Option<String>,
}

/// What became of a site's purge; the end of `POST /v1/purges`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PurgedNodes {
    /// The site.
    pub site: String,
    /// The purge's sequence.
    pub seq: u64,
    /// Every member that is known, by peer id.
    pub nodes: Vec<PurgedNode>,
}

/// What one node did about it; a line of `POST /v1/purges`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PurgedNode {
    /// Its peer id.
    pub peer: String,
    /// The label of its operator.
    pub operator_label: String,
    /// What it did.
    pub state: PurgeState,
    /// Whether it holds the site, or has what its servers answer, by its own word.
    pub shows: bool,
    /// How long it took.
    pub seconds: f64,
}

/// What a node did about a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PurgeState {
    /// It has signed that nothing of it is shown any more, whatever happens to it.
    Purged,
    /// It lives, and has not said so in time.
    Silent,
    /// It is not seen; it is told when it is back.
    Away,
}
