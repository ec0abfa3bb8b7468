//! The placement record: what a publisher wants held, signed with the site key.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::RECORD_VERSION;
use crate::block::Cid;
use crate::bundle::BundleId;
use crate::envelope::{Record, RecordError, Signed};
use crate::id::{PeerId, PublicKey, SiteId};
use crate::keys::Site;

/// The most copies that a placement may ask for.
pub const REPLICAS_MAX: u64 = 64;
/// The most members that a placement may name.
pub const ALLOWED_MEMBERS_MAX: usize = 64;

/// The version of a placement that names a bundle.
const WITH_BUNDLE: u64 = 2;

/// Which root a site has now, how many members hold it, and which of them may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// Format version: [`RECORD_VERSION`], or 2 with a bundle.
    pub v: u64,
    /// Sequence: the highest wins. By convention milliseconds since the Unix epoch at signing.
    pub seq: u64,
    /// Expiry, in seconds since the Unix epoch.
    pub exp: u64,
    /// Root of the site.
    pub root: Cid,
    /// Copies wanted, 1 to [`REPLICAS_MAX`].
    pub n: u64,
    /// Members that may hold it, as peer id bytes; `None` means any.
    members: Option<Vec<ByteBuf>>,
    /// The most bytes that a holder needs to keep for it. A larger DAG is refused.
    pub quota: u64,
    /// The bundle that the publisher's node has made of the root, 32 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bundle: Option<ByteBuf>,
}

impl Placement {
    /// A placement of `root` on `n` members, of `quota` bytes at most, held by anyone.
    pub fn new(root: Cid, n: u64, quota: u64) -> Self {
        Self { v: RECORD_VERSION, seq: 0, exp: 0, root, n, members: None, quota, bundle: None }
    }

    /// Restricts it to `members`.
    #[must_use]
    pub fn only(mut self, members: &[PeerId]) -> Self {
        self.members = Some(members.iter().map(|peer| ByteBuf::from(peer.to_bytes())).collect());
        self
    }

    /// Names the bundle that is to be signed for.
    #[must_use]
    pub fn with_bundle(mut self, bundle: &BundleId) -> Self {
        (self.v, self.bundle) = (WITH_BUNDLE, Some(ByteBuf::from(bundle.0)));
        self
    }

    /// The bundle that the publisher names.
    pub fn bundle(&self) -> Option<BundleId> {
        self.bundle.as_ref().and_then(|bundle| bundle.as_slice().try_into().ok()).map(BundleId)
    }

    /// Whether the member of these peer id bytes may hold it.
    pub fn allows(&self, peer: &[u8]) -> bool {
        self.members.as_ref().is_none_or(|members| members.iter().any(|allowed| allowed.as_ref() == peer))
    }
}

impl Signed<Placement> {
    /// The site that the signer speaks for.
    pub fn site(&self) -> SiteId {
        SiteId::of(self.signer())
    }
}

impl Record for Placement {
    type Signer = Site;
    const DOMAIN: &'static str = "atoll-placement-1";
    const PAYLOAD_TYPE: &'static str = "/atoll/placement";

    fn check(&self, _signer: &PublicKey) -> Result<(), RecordError> {
        match (self.v, &self.bundle) {
            (RECORD_VERSION, None) => {}
            (WITH_BUNDLE, Some(bundle)) if bundle.len() == 32 => {}
            (RECORD_VERSION | WITH_BUNDLE, _) => return Err(RecordError::Bounds("bundle")),
            (other, _) => return Err(RecordError::Version(other)),
        }
        if !(1..=REPLICAS_MAX).contains(&self.n) {
            return Err(RecordError::Bounds("n"));
        }
        let well_formed = |peer: &ByteBuf| PeerId::from_bytes(peer).is_ok();
        match &self.members {
            Some(members) if members.len() > ALLOWED_MEMBERS_MAX || !members.iter().all(well_formed) => {
                Err(RecordError::Bounds("members"))
            }
            _ => Ok(()),
        }
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn expires(&self) -> u64 {
        self.exp
    }
}
