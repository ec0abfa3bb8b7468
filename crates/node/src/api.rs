//! What a node tells its CLI and its operator: the JSON of the socket and of the admin listener.

mod certs;
mod purge;
mod sites;

use atoll_content::import::{self, Profile, UnknownProfile};
pub use atoll_swarm::PeerView;
use serde::{Deserialize, Serialize};

pub use certs::{RevokeRequest, Revoked};
pub use purge::{PurgeRequest, Purged};
pub use sites::{
    CONTENT_SOURCE, ContentStatus, Drill, DrillStep, FaultKind, FaultRequest, KnownPurges, OriginStatus, PublishedView,
    PurgeState, PurgedNode, PurgedNodes, SiteStatus,
};

/// Printed once the node serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Always true.
    pub ready: bool,
    /// The node's peer id.
    pub peer_id: String,
    /// URL of the public gateway, without a trailing slash.
    pub gateway: String,
    /// Its URLs with TLS, by address.
    #[serde(default)]
    pub secure: Vec<String>,
    /// Its URLs with HTTP/3, by address.
    #[serde(default)]
    pub http3: Vec<String>,
    /// URL of the admin listener, without a trailing slash.
    pub admin: String,
    /// Path of the CLI's socket.
    pub socket: String,
    /// Addresses of the swarm, each with the peer id; empty without one.
    #[serde(default)]
    pub swarm: Vec<String>,
    /// URLs on which Delegated Routing is answered, without a trailing slash; empty if it is not.
    #[serde(default)]
    pub delegated: Vec<String>,
    /// URLs of the pinning service, without a trailing slash; empty without one.
    #[serde(default)]
    pub pinning: Vec<String>,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The node's peer id.
    pub peer_id: String,
    /// The operator's public key.
    pub operator: String,
    /// The operator's label, which anybody may claim.
    pub operator_label: String,
    /// URL of the public gateway.
    pub gateway: String,
    /// URL of the admin listener.
    pub admin: String,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Whether it takes requests: started and not draining.
    pub ready: bool,
    /// The block store.
    pub store: StoreStatus,
    /// The public listener.
    pub traffic: Traffic,
    /// The node's id on signed answers: the hash of its answer key.
    #[serde(default)]
    pub node_id: String,
    /// The public half of the key that it signs answers, and requests to servers, with: PEM.
    #[serde(default)]
    pub answer_key: String,
    /// Sites whose answers are signed, or are refused to be.
    #[serde(default)]
    pub bundles: Vec<BundleView>,
    /// Pinned roots.
    pub pins: Vec<PinStatus>,
    /// Members and placements, as this node sees them.
    pub network: atoll_routing::Snapshot,
    /// Sites whose content comes from servers elsewhere.
    #[serde(default)]
    pub sites: Vec<SiteStatus>,
    /// Of what is held here, the sites that name their servers themselves.
    #[serde(default)]
    pub published: Vec<PublishedView>,
    /// The last drill of each of them.
    #[serde(default)]
    pub drills: Vec<Drill>,
    /// Connections over libp2p; `null` without a swarm.
    #[serde(default)]
    pub swarm: Option<atoll_swarm::Snapshot>,
    /// Announcing to the DHTs what this node holds, one for each that the swarm takes part in.
    #[serde(default)]
    pub providing: Vec<atoll_routing::SweepView>,
    /// URLs on which Delegated Routing is answered.
    #[serde(default)]
    pub delegated: Vec<String>,
    /// Routers that are asked, and how they did.
    #[serde(default)]
    pub routers: Vec<atoll_routing::RouterView>,
    /// The pinning service; `null` without one.
    #[serde(default)]
    pub pinning: Option<atoll_pinning::Snapshot>,
}

/// `POST /v1/pinning/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRequest {
    /// Name of the publisher.
    pub name: String,
    /// The most bytes of its DAGs.
    pub quota: u64,
    /// `any`, or the roots that it may pin; empty is `any`.
    #[serde(default)]
    pub allow: Vec<String>,
}

/// A new token, which is shown this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenMade {
    /// Name of the publisher.
    pub name: String,
    /// The token.
    pub token: String,
    /// The most bytes of its DAGs.
    pub quota: u64,
    /// URLs of the service.
    pub urls: Vec<String>,
}

/// `DELETE /v1/pinning/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRevoke {
    /// Name of the publisher.
    pub name: String,
    /// Whether all that it pinned is let go, and the publisher forgotten.
    #[serde(default)]
    pub pins: bool,
}

/// A token that counts no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRevoked {
    /// Name of the publisher.
    pub name: String,
    /// How many pins were let go.
    pub released: usize,
}

/// `POST /v1/bundles`: make the bundle of a root now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleRequest {
    /// The root.
    pub root: String,
}

/// A site's bundle, as the node signs by it or refuses to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleView {
    /// The root.
    pub root: String,
    /// Whether it is signed for.
    pub state: BundleState,
    /// Its id, once it is made.
    pub bundle: Option<String>,
    /// Paths in its manifest.
    pub entries: u64,
    /// Leaves of its CAR, of 256 bytes each.
    pub leaves: u64,
    /// Why it is refused.
    pub why: Option<String>,
}

/// What a node does about a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BundleState {
    /// It signs by it.
    Signed,
    /// The site is served unsigned.
    Refused,
}

/// The block store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Blocks held.
    pub blocks: u64,
    /// Their bytes.
    pub block_bytes: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// The budget (`store.bytes_max`).
    pub bytes_max: u64,
    /// Pack files.
    pub packs: u64,
    /// Damaged blocks met since the start.
    pub damaged: u64,
    /// Bytes of verified blocks in memory.
    pub cache_bytes: u64,
}

/// The public listener since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests answered.
    pub requests: u64,
    /// Of these, answered from memory.
    pub hits: u64,
    /// Of these, answered with 5xx.
    pub errors: u64,
    /// Bytes of bodies sent.
    pub bytes: u64,
    /// Median time to the head of the answer over the last minutes, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The same, 99th percentile.
    pub p99_ms: Option<f64>,
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinStatus {
    /// Root.
    pub root: String,
    /// Why it is pinned.
    pub name: String,
}

/// How files are cut, and what of a folder is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Take hidden files too.
    #[serde(default)]
    pub hidden: bool,
    /// Profile of IPIP-499; empty for the default.
    #[serde(default)]
    pub profile: String,
    /// Bytes of a chunk, if not the profile's.
    #[serde(default)]
    pub chunk_bytes: Option<usize>,
}

impl Cut {
    /// As the importer takes it.
    ///
    /// # Errors
    /// [`UnknownProfile`].
    pub fn options(&self) -> Result<import::Options, UnknownProfile> {
        let profile = if self.profile.is_empty() { Profile::default() } else { self.profile.parse()? };
        Ok(import::Options { profile, chunk_bytes: self.chunk_bytes, hidden: self.hidden })
    }
}

/// `POST /v1/import`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportRequest {
    /// Absolute path of the file or folder.
    pub path: String,
    /// How it is cut.
    #[serde(flatten)]
    pub cut: Cut,
    /// Name of the pin.
    pub name: String,
}

/// `POST /v1/import/stream?REQUEST`, percent-encoded JSON; what is imported is the body.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamRequest {
    /// What the body is.
    pub kind: StreamKind,
    /// How it is cut.
    pub cut: Cut,
    /// Name of the pin.
    pub name: String,
}

/// What can be imported from a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamKind {
    /// One file, in a folder if it has a name.
    File(Option<String>),
    /// A tar archive.
    Tar,
}

/// The end of an import.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Imported {
    /// Root.
    pub root: String,
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes of all blocks of the DAG, repeats counted: no holder needs more.
    pub dag_bytes: u64,
}

/// `POST /v1/import/kubo`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KuboRequest {
    /// Absolute path of the repository.
    pub path: String,
}

/// The end of an import of a Kubo repository.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KuboImported {
    /// Blocks taken.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files of the repository that are not the block they are called; the first hundred.
    pub refused: Vec<String>,
    /// Pins that were made.
    pub pins: Vec<PinStatus>,
    /// Pins that could not be made, and why.
    pub unpinned: Vec<Unpinned>,
}

/// A pin that could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpinned {
    /// Root.
    pub root: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub error: String,
}

/// The end of a CAR import.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CarImported {
    /// The roots, which are pinned unless no name of a pin was given.
    pub roots: Vec<String>,
    /// Blocks read.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The body of the call that reads a copy back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadBackRequest {
    /// Peer id of the member.
    pub peer: String,
    /// Root.
    pub cid: String,
}

/// A copy that was read back whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBack {
    /// Blocks of it.
    pub blocks: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// The body of the pin calls.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PinRequest {
    /// Root.
    pub cid: String,
    /// Name of the pin.
    pub name: String,
}

/// The end of a garbage collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Blocks removed.
    pub blocks: u64,
    /// Bytes of disk given back.
    pub bytes: u64,
}

/// The end of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Blocks read and hashed.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The damaged ones: CID, pack and offset.
    pub damaged: Vec<Damaged>,
    /// How many blocks under pinned roots were then fetched again from members.
    pub mended: u64,
}

/// A damaged block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damaged {
    /// Multihash, as a raw CIDv1.
    pub block: String,
    /// Pack number.
    pub pack: u64,
    /// Where its record starts in the pack.
    pub offset: u64,
}

/// One line of `GET /v1/ls/…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Name in the directory.
    pub name: String,
    /// CID.
    pub cid: String,
    /// Total size as its directory says, in bytes; unverified until the entry is read.
    pub size: u64,
}

/// An IPNS record that the node keeps: `GET /v1/names`, `GET /v1/names/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRecord {
    /// The name, in base36.
    pub name: String,
    /// Site whose key it is, if it is an Ed25519 key.
    pub site: Option<String>,
    /// What it points at; none when the record is not valid.
    pub value: Option<String>,
    /// Its version.
    pub sequence: Option<u64>,
    /// Its end of life, in milliseconds since the Unix epoch.
    pub ends_ms: Option<u64>,
    /// How long it may be cached, in seconds.
    pub ttl_seconds: Option<u64>,
    /// Whether it is valid and has not expired.
    pub live: bool,
    /// Whether this node stands for it: it came from its operator or a publisher, not from members.
    pub own: bool,
    /// What is wrong with it.
    pub invalid: Option<String>,
    /// Its length.
    pub bytes: u64,
}

/// `POST /v1/names/NAME`: what became of a publisher's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamePublished {
    /// Whether it is kept and passed on.
    pub accepted: bool,
    /// The last known sequence: the record's own, or another publisher's.
    pub sequence: Option<u64>,
}

/// `GET /v1/names/NAME?resolve`: what a name stands for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameResolved {
    /// `/ipfs/CID/path`.
    pub path: String,
    /// How long it may be shown before it is asked for again, in seconds.
    pub fresh_seconds: u64,
    /// When the first record on the way expires, in milliseconds since the Unix epoch.
    pub ends_ms: Option<u64>,
}

/// `POST /v1/deny/reload`: the deny lists that serve now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenyLists {
    /// The lists, from the first asked last to the last asked first.
    pub lists: Vec<DenyList>,
    /// What was refused just now, and why; what it was before serves on.
    pub refused: Vec<String>,
}

/// A deny list that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenyList {
    /// Its file.
    pub path: String,
    /// Its name, if it says one.
    pub name: String,
    /// Rules that it holds.
    pub rules: usize,
    /// Rules that were not understood.
    pub skipped: usize,
    /// Memory that it takes.
    pub memory_bytes: usize,
}
